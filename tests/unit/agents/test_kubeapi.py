"""The list-and-watch client against a server that behaves, hangs up and forgets as an API server does."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from agents.kubeapi import Api, ApiError, Follower, key
from tests.unit.agents.netns import eventually
from tests.unit.serving import serving

Json = dict[str, Any]


def item(name: str, version: int, value: str = "", namespace: str = "") -> Json:
    where = {"namespace": namespace} if namespace else {}
    return {"metadata": {"name": name, "resourceVersion": str(version), **where}, "value": value}


class FakeServer(ThreadingHTTPServer):
    """Answers lists with ``items``, and each watch with the next of ``watches``; then watches hang until ``close``."""

    daemon_threads = True

    def __init__(self) -> None:
        self.items: list[Json] = []
        self.watches: list[list[Json]] = []
        self.requests: list[tuple[str, str, Json]] = []
        self.failures = 0
        self.closing = threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    def lists(self) -> int:
        return sum(1 for method, path, _ in self.requests if method == "GET" and "watch=1" not in path)

    def watched_versions(self) -> list[str]:
        return [
            parse_qs(urlsplit(path).query)["resourceVersion"][0] for _, path, _ in self.requests if "watch=1" in path
        ]


class Handler(BaseHTTPRequestHandler):
    server: FakeServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.server.requests.append(("GET", self.path, dict(self.headers)))
        if self.server.failures:
            self.server.failures -= 1
            self._send(503, {"message": "etcd is away"})
        elif "watch=1" in self.path:
            self._watch()
        else:
            self._send(200, {"metadata": {"resourceVersion": "10"}, "items": self.server.items})

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append(("PATCH", self.path, {**body, "type": self.headers["Content-Type"]}))
        self._send(200, body)

    def _watch(self) -> None:
        events = self.server.watches.pop(0) if self.server.watches else None
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for event in events or ():
            data = json.dumps(event).encode() + b"\n"
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        if events is None:
            self.server.closing.wait()
        self.wfile.write(b"0\r\n\r\n")

    def _send(self, status: int, answer: Json) -> None:
        data = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with serving(FakeServer()) as server:
        yield server
        server.closing.set()


@pytest.fixture
def api(server: FakeServer, tmp_path: Path) -> Api:
    (tmp_path / "token").write_text("let-me-in\n")
    host, port = "127.0.0.1", server.server_address[1]
    return Api(lambda: http.client.HTTPConnection(host, port, timeout=5), tmp_path / "token", f"{host}:{port}")


class Count:
    """How often something was called."""

    def __init__(self) -> None:
        self.value = 0

    def __call__(self) -> None:
        self.value += 1


@pytest.fixture
def follow(api: Api) -> Iterator[Callable[[], tuple[Follower[str], Count]]]:
    started: list[Follower[str]] = []

    def start() -> tuple[Follower[str], Count]:
        changes = Count()
        follower: Follower[str] = Follower(api, "/api/v1/things", lambda item: str(item["value"]), changes)
        started.append(follower)
        assert follower.objects() is None
        follower.start()
        return follower, changes

    yield start
    for follower in started:
        follower.stop()


Follow = Callable[[], tuple[Follower[str], Count]]


def ignore(_: Json) -> None:
    pass


def event(kind: str, thing: Json) -> Json:
    return {"type": kind, "object": thing}


def test_key() -> None:
    assert key(item("web", 1)) == "web"
    assert key(item("web", 1, namespace="default")) == "default/web"


def test_lists_then_follows(server: FakeServer, follow: Follow) -> None:
    server.items = [item("a", 5, "old"), item("b", 6)]
    server.watches = [
        [event("MODIFIED", item("a", 11, "new")), event("ADDED", item("c", 12)), event("DELETED", item("b", 13))]
    ]
    follower, changes = follow()
    eventually(lambda: follower.objects() == {"a": "new", "c": ""})
    assert changes.value == 4
    eventually(lambda: server.watched_versions() == ["10", "13"])
    assert server.requests[0][2]["Authorization"] == "Bearer let-me-in"


def test_what_does_not_matter_wakes_nobody(server: FakeServer, follow: Follow) -> None:
    server.items = [item("a", 5, "same")]
    server.watches = [
        [event("MODIFIED", item("a", 11, "same")), event("BOOKMARK", {"metadata": {"resourceVersion": "20"}})]
    ]
    _, changes = follow()
    eventually(lambda: server.watched_versions() == ["10", "20"])
    assert changes.value == 1
    assert server.lists() == 1


def test_lists_again_when_the_version_is_gone(server: FakeServer, follow: Follow) -> None:
    server.watches = [[event("ERROR", {"code": 410, "message": "too old resource version"})]]
    follow()
    eventually(lambda: server.lists() == 2)


def test_tries_again_while_the_server_is_away(server: FakeServer, follow: Follow) -> None:
    server.failures = 2
    follower, _ = follow()
    eventually(lambda: follower.objects() == {})


def test_survives_an_object_it_does_not_understand(server: FakeServer, follow: Follow) -> None:
    server.watches = [[event("ADDED", {"metadata": {"name": "a", "resourceVersion": "11"}})]]
    follower, _ = follow()
    eventually(lambda: server.lists() == 2)
    assert follower.objects() == {}


def test_errors_name_request_and_reason(server: FakeServer, api: Api) -> None:
    server.failures = 1
    with pytest.raises(ApiError, match=r"GET /api/v1/things at .*: 503 etcd is away") as caught:
        api.list("/api/v1/things", ignore)
    assert caught.value.status == 503


def test_unreachable_server_is_an_api_error(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("x")
    api = Api(lambda: http.client.HTTPConnection("127.0.0.1", 1, timeout=1), tmp_path / "token")
    with pytest.raises(ApiError, match="refused"):
        api.list("/api/v1/things", ignore)
    with pytest.raises(ApiError, match="refused"):
        next(api.watch("/api/v1/things", "1"))


def test_merge_patch(server: FakeServer, api: Api) -> None:
    api.merge_patch("/api/v1/nodes/a", {"metadata": {"annotations": {"x": "y"}}})
    assert server.requests == [
        (
            "PATCH",
            "/api/v1/nodes/a",
            {"metadata": {"annotations": {"x": "y"}}, "type": "application/merge-patch+json"},
        )
    ]


def test_outside_of_a_pod() -> None:
    with pytest.raises(ApiError, match="service account"):
        Api.in_cluster({})
