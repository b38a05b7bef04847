"""Asking a private registry for the images of the pod network, against a server of this process."""

import json
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kubeproof.config.settings import Settings
from kubeproof.networks.plan import NetworkPlan, build, of_template
from kubeproof.node import image_registry
from kubeproof.node.image_registry import url_of
from kubeproof.rules.before_deploy import sources
from kubeproof.rules.before_deploy.inspection import Asked
from tests.unit.networks import made_up
from tests.unit.node.example import cluster
from tests.unit.rules.fit import found, inspection
from tests.unit.serving import serving


class _Handler(BaseHTTPRequestHandler):
    status: int

    def do_HEAD(self) -> None:
        held = "/v2/flannel-io/flannel/manifests/v1" in self.path
        self.send_response(200 if held else self.status)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Tests are silent."""


@pytest.fixture(params=[404, 401])
def registry(request: pytest.FixtureRequest) -> Iterator[tuple[str, int]]:
    """host:port of a registry with one of the images, and what it says of any other."""
    handler = type("Handler", (_Handler,), {"status": request.param})
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as running:
        yield f"127.0.0.1:{running.server_port}", request.param


def network(repository: str) -> tuple[Settings, NetworkPlan]:
    settings = replace(
        cluster(cni="flannel").settings, cni_image_repository=repository, insecure_registries=(repository,)
    )
    return settings, build(made_up.FLANNEL, settings, "it")


def test_what_is_missing_is_one_finding_with_what_to_do(
    registry: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, status = registry
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    found = image_registry.missing(*network(address))
    if status == 401:
        assert found == []
        return
    (finding,) = found
    assert finding.found == f"{address} (cni_image_repository) lacks example.net/flannel-io/plugin:v1"
    assert "./inv mirror.add example.net/flannel-io/plugin:v1`" in finding.remedy


def test_a_registry_that_cannot_be_asked_is_the_nodes_affair() -> None:
    assert image_registry.missing(*network("127.0.0.1:9")) == []


def test_nothing_is_asked_without_a_repository_or_a_manifest() -> None:
    settings, planned = network("")
    assert image_registry.missing(settings, planned) == []
    podnet = cluster(cni_image_repository="127.0.0.1:9").settings
    assert image_registry.missing(podnet, of_template(podnet)) == []


@pytest.mark.parametrize(
    ("image", "url"),
    [
        ("r:5000/a/b:v1", "http://r:5000/v2/a/b/manifests/v1"),
        ("r:5000/a/b", "http://r:5000/v2/a/b/manifests/latest"),
        ("r/a@sha256:00", "http://r/v2/a/manifests/sha256:00"),
    ],
)
def test_where_a_manifest_is(image: str, url: str) -> None:
    assert url_of(image, "http") == url


class _WithTokens(BaseHTTPRequestHandler):
    """Has etcd:1 and a/b:1; of the rest it says 404, or 401 where that begins with private. Lets in who has a token."""

    closed = False

    def do_HEAD(self) -> None:
        if self.closed and self.headers.get("Authorization") != "Bearer given":
            self.send_response(401)
            realm = f"http://127.0.0.1:{self.server.server_port}/token"  # type: ignore[attr-defined]
            self.send_header("WWW-Authenticate", f'Bearer realm="{realm}",service="r",scope="repository:x:pull"')
        else:
            has = self.path in ("/v2/etcd/manifests/1", "/v2/a/b/manifests/1", "/v2/library/hub/manifests/1")
            self.send_response(200 if has else 401 if "private" in self.path else 404)
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/token?service=r&scope=repository%3Ax%3Apull" else 400)
        self.end_headers()
        self.wfile.write(b'{"token": "given"}')

    def log_message(self, *_: Any) -> None:
        """Tests are silent."""


@pytest.fixture(params=[False, True])
def images(request: pytest.FixtureRequest) -> Iterator[str]:
    """host:port of a registry, with and without tokens."""
    handler = type("Handler", (_WithTokens,), {"closed": request.param})
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as running:
        yield f"127.0.0.1:{running.server_port}"


def test_images_are_there_lacking_or_not_known(images: str) -> None:
    settings = cluster(insecure_registries=(images, "127.0.0.1:9")).settings
    names = ["etcd:1", "a/b:1", "coredns:7", "private/x:1"]
    asked = [*(f"{images}/{name}" for name in names), "127.0.0.1:9/etcd:1"]
    assert image_registry.lacking(settings, [*asked, *asked]) == (
        [f"{images}/coredns:7"],
        [f"{images}/private/x:1", "127.0.0.1:9/etcd:1"],
    )
    (finding,) = image_registry.absent([f"{images}/coredns:7", f"{images}/etcd:8"])
    assert finding.found == f"{images} lacks coredns:7, etcd:8"


def test_a_mirror_of_docker_hub_is_asked_before_it(images: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_registry, "DOCKER_HUB_SERVER", "127.0.0.1:9")
    settings = cluster(registry_mirrors=(f"http://{images}/",)).settings
    assert image_registry.places(settings, "hub:1") == [
        f"http://{images}/v2/library/hub/manifests/1",
        "https://127.0.0.1:9/v2/library/hub/manifests/1",
    ]
    assert image_registry.lacking(settings, ["hub:1", "other:1"]) == ([], ["other:1"])


def test_what_hosts_are_asked_for_is_one_finding_each() -> None:
    url = "https://r.example/v2/etcd/manifests/1"
    answers = {"404": 1, "200": 0, "401": 0, "untried": 0, "curl: (6) no such host": 0}
    for answer, wrong in answers.items():
        looked_at = inspection(sources={"node1": (Asked(url, "manifest", answer),)})
        assert found(sources.findings, looked_at) == [("missing-images", "node1", "error")] * wrong


INDEX = {
    "manifests": [
        {"platform": {"architecture": "amd64", "os": "linux"}},
        {"platform": {"architecture": "arm64", "os": "linux", "variant": "v8"}},
    ]
}
DOCUMENTS: dict[str, object] = {
    "/v2/both/manifests/1": INDEX,
    "/v2/one/manifests/1": {"config": {"digest": "sha256:00"}},
    "/v2/one/blobs/sha256:00": {"architecture": "amd64"},
    "/v2/bare/manifests/1": {"config": {"digest": "sha256:11"}},
    "/v2/odd/manifests/1": {"manifests": ["x"]},
    "/v2/list/manifests/1": ["x"],
}


class _WithDocuments(BaseHTTPRequestHandler):
    """A registry that has documents, and wants a token for them that it gives to anybody."""

    def do_GET(self) -> None:
        found = DOCUMENTS.get(self.path)
        if self.path.startswith("/token"):
            found = {"token": "given"}
        elif self.headers.get("Authorization") != "Bearer given":
            self.send_response(401)
            realm = f"http://127.0.0.1:{self.server.server_port}/token"  # type: ignore[attr-defined]
            self.send_header("WWW-Authenticate", f'Bearer realm="{realm}",service="r",scope="x"')
            self.end_headers()
            return
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(json.dumps(found).encode() if found else b"")

    def log_message(self, *_: Any) -> None:
        """Tests are silent."""


@pytest.fixture
def documents() -> Iterator[str]:
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), _WithDocuments)) as running:
        yield f"127.0.0.1:{running.server_port}"


def test_architectures_of_an_index_and_of_an_image_alone(documents: str) -> None:
    settings = cluster(insecure_registries=(documents, "127.0.0.1:9")).settings
    known = {name: image_registry.architectures(settings, f"{documents}/{name}:1") for name in ("both", "one")}
    assert known == {"both": {"amd64", "arm64"}, "one": {"amd64"}}
    for name in ("bare", "odd", "list", "none"):
        assert image_registry.architectures(settings, f"{documents}/{name}:1") == frozenset()
    assert image_registry.architectures(settings, "127.0.0.1:9/x:1") == frozenset()


def test_an_image_that_is_not_for_a_hosts_architecture_is_a_finding(documents: str) -> None:
    settings = cluster(insecure_registries=(documents,)).settings
    named = [f"{documents}/{name}:1" for name in ("both", "one", "one", "bare")]
    (finding,) = image_registry.unbuilt(settings, {"arm64": named})
    assert finding.name == "missing-images"
    assert finding.found == f"{documents}/one:1: not built for arm64, which hosts are"
    assert image_registry.unbuilt(settings, {"amd64": named}) == []
