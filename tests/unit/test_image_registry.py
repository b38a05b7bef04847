"""Asking a private registry for the images of the pod network, against a server of this process."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from kubeproof import image_registry
from kubeproof.cni.plan import PodNetwork, build, of_podnet
from kubeproof.image_registry import url_of
from kubeproof.settings import Settings
from tests.unit.cni import made_up
from tests.unit.node.example import cluster


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
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{running.server_port}", request.param
        running.shutdown()
        thread.join()


def network(repository: str) -> tuple[Settings, PodNetwork]:
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
    assert "./inv mirror.add example.net/flannel-io/plugin:v1`" in finding.mend


def test_a_registry_that_cannot_be_asked_is_the_nodes_affair() -> None:
    assert image_registry.missing(*network("127.0.0.1:9")) == []


def test_nothing_is_asked_without_a_repository_or_a_manifest() -> None:
    settings, planned = network("")
    assert image_registry.missing(settings, planned) == []
    podnet = cluster(cni_image_repository="127.0.0.1:9").settings
    assert image_registry.missing(podnet, of_podnet(podnet)) == []


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
