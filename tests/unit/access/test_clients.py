"""kubectl over ssh, and the demo's client."""

from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from threading import Thread

import pytest

from kubeproof.access import remote_kubectl
from kubeproof.config.cluster import Cluster, LoadedInventory, Node, SshAccess
from kubeproof.config.settings import parse
from kubeproof.proof import demo_client
from kubeproof.terminal.errors import UserError
from tests.unit.samples import SETTINGS

NODES = (
    Node("control-1", IPv4Address("192.168.200.11"), "control-plane"),
    Node("worker-1", IPv4Address("192.168.200.12"), "worker"),
)
CLUSTER = Cluster(parse(SETTINGS), NODES)


def loaded(*, sudo: bool) -> LoadedInventory:
    access = SshAccess("control-1", Path("/x/config"), sudo=sudo)
    return LoadedInventory(Path("x.py"), CLUSTER, {"control-1": access})


def test_kubectl_words_are_quoted_for_the_remote_shell() -> None:
    words = remote_kubectl.command(loaded(sudo=False), ["get", "pods", "-o", "jsonpath={.a b}"], terminal=False)
    assert words == [
        *("ssh", "-o", "BatchMode=yes", "-F", "/x/config", "control-1"),
        "kubectl --kubeconfig=/etc/kubernetes/admin.conf get pods -o 'jsonpath={.a b}'",
    ]


def test_kubectl_as_root_and_with_a_terminal() -> None:
    words = remote_kubectl.command(loaded(sudo=True), ["edit", "node"], terminal=True)
    assert words[-3:] == ["-t", "control-1", "sudo kubectl --kubeconfig=/etc/kubernetes/admin.conf edit node"]


def test_demo_is_asked_on_every_node(capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[str] = []

    def fetch(url: str) -> str:
        asked.append(url)
        return "<html><head><title>x</title></head><body><h1>It works</h1></body></html>"

    assert demo_client.show(CLUSTER, fetch) == 0
    assert asked == ["http://192.168.200.11:33000/", "http://192.168.200.12:33000/"]
    assert "It works" in capsys.readouterr().out


def test_demo_that_one_node_does_not_answer(capsys: pytest.CaptureFixture[str]) -> None:
    def fetch(url: str) -> str:
        if ".12:" in url:
            raise TimeoutError("timed out")
        return "page"

    assert demo_client.show(CLUSTER, fetch) == 1
    assert "worker-1: no answer" in capsys.readouterr().out


def test_demo_that_is_switched_off() -> None:
    quiet = Cluster(parse({**SETTINGS, "demo": False}), NODES)
    with pytest.raises(UserError, match="demo: is switched off"):
        demo_client.show(quiet, lambda url: "")


def test_demo_is_not_asked_by_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    page = b"<h1>It works</h1>"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.handle_request, daemon=True).start()
        assert demo_client._fetch(f"http://127.0.0.1:{server.server_port}/") == page.decode()
