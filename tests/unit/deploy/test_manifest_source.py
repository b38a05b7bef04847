"""Fetching and verifying manifests, against a server of this process."""

import hashlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kubeproof.deploy import manifest_source
from kubeproof.deploy.manifest_source import Wanted, cache_folder, verified, wanted_manifest
from kubeproof.networks.manifest import Pinned
from kubeproof.terminal.errors import UserError
from tests.unit.node.example import cluster
from tests.unit.serving import serving

CONTENT = b"apiVersion: v1\n"
SUM = hashlib.sha256(CONTENT).hexdigest()


class _Handler(BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:  # named by http.server
        self.asked.append(self.path)
        found = self.path.endswith("/manifest.yaml")
        self.send_response(200 if found else 404)
        self.end_headers()
        self.wfile.write(CONTENT if found else b"")

    def log_message(self, *_: Any) -> None:
        """Tests are silent."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """URL of a server, and what it was asked for; the cache is a new one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    asked: list[str] = []
    handler = type("Handler", (_Handler,), {"asked": asked})
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), handler)) as running:
        yield f"http://127.0.0.1:{running.server_port}", asked


def test_fetched_once_and_verified_each_time(server: tuple[str, list[str]]) -> None:
    url, asked = server
    wanted = Wanted(f"{url}/manifest.yaml", SUM, "it")
    assert verified(wanted) == verified(wanted) == CONTENT
    assert asked == ["/manifest.yaml"]
    cached = cache_folder() / f"{SUM}.yaml"
    cached.write_bytes(b"something else")
    with pytest.raises(UserError) as error:
        verified(wanted)
    (line,) = error.value.problems
    assert SUM in line
    assert hashlib.sha256(b"something else").hexdigest() in line
    assert "nothing is applied" in line
    assert str(cached) in line


def test_wrong_sum_shows_both_and_keeps_nothing(server: tuple[str, list[str]]) -> None:
    url, _ = server
    wanted = Wanted(f"{url}/manifest.yaml", "0" * 64, "it")
    with pytest.raises(UserError) as error:
        verified(wanted)
    (line,) = error.value.problems
    assert SUM in line
    assert "0" * 64 in line
    assert "nothing is applied" in line
    assert not list(cache_folder().glob("*"))


def test_what_cannot_be_had_is_one_line(server: tuple[str, list[str]]) -> None:
    url, _ = server
    for address, reason in (
        (f"{url}/absent.yaml", "HTTP Error 404: Not Found"),
        ("http://127.0.0.1:9/manifest.yaml", "[Errno 111] Connection refused"),
        ("http://no-such-host.invalid/x", "[Errno -"),
    ):
        with pytest.raises(UserError) as error:
            verified(Wanted(address, SUM, "it"))
        (line,) = error.value.problems
        assert f"{address} cannot be had ({reason}" in line
        assert "name it in cni_manifest" in line
        assert "\n" not in line


def test_proxy_of_the_environment_is_asked(server: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    url, asked = server
    monkeypatch.setenv("http_proxy", url)
    assert verified(Wanted("http://manifests.example.net/manifest.yaml", SUM, "it")) == CONTENT
    assert asked == ["http://manifests.example.net/manifest.yaml"]


def test_too_large(server: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_source, "LARGEST_BYTES", 3)
    with pytest.raises(UserError, match="it is something else"):
        verified(Wanted(f"{server[0]}/manifest.yaml", SUM, "it"))


def test_cache_that_cannot_be_written_costs_a_download(
    server: tuple[str, list[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocker))
    wanted = Wanted(f"{server[0]}/manifest.yaml", SUM, "it")
    assert verified(wanted) == verified(wanted) == CONTENT
    assert len(server[1]) == 2


def test_cache_is_where_the_user_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/kubeproof/manifests")
    for unset in ("", "relative"):
        monkeypatch.setenv("XDG_CACHE_HOME", unset)
        monkeypatch.setenv("HOME", "/home/u")
        assert cache_folder() == Path("/home/u/.cache/kubeproof/manifests")


def test_file_of_the_user(tmp_path: Path) -> None:
    file = tmp_path / "manifest.yaml"
    file.write_bytes(CONTENT)
    settings = cluster(cni="flannel", cni_manifest=str(file), cni_manifest_sha256=SUM).settings
    assert verified(wanted_manifest(settings)) == CONTENT
    file.write_bytes(b"changed")
    with pytest.raises(UserError, match=f"has SHA-256 [0-9a-f]{{64}}, expected {SUM}; nothing is applied"):
        verified(wanted_manifest(settings))


def test_file_without_sum_must_be_a_known_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "manifest.yaml"
    file.write_bytes(CONTENT)
    settings = cluster(cni="flannel", cni_manifest=str(file)).settings
    with pytest.raises(UserError, match=f"cni_manifest_sha256: is empty.*{SUM}"):
        wanted_manifest(settings)
    known = Pinned("flannel", "v9", "https://example.net/", SUM, "1.20")
    monkeypatch.setattr("kubeproof.networks.registry.PINNED", (known,))
    assert wanted_manifest(settings) == Wanted(str(file), SUM, "flannel v9")
    with pytest.raises(UserError, match="cannot be read"):
        wanted_manifest(cluster(cni="flannel", cni_manifest=str(tmp_path / "absent")).settings)


def test_known_manifests_for_something_else_are_refused() -> None:
    for cni, url, said in (
        (
            "canal",
            "flannel-io/flannel/v0.20.2/Documentation/kube-flannel.yml",
            "is flannel v0.20.2, but cni is 'canal'",
        ),
        ("flannel", "flannel-io/flannel/v0.28.9/Documentation/kube-flannel.yml", "is for Kubernetes 1.25 and later"),
        ("canal", "projectcalico/calico/v3.32.1/manifests/canal.yaml", "is for Kubernetes 1.31 and later, not 1.20"),
    ):
        settings = cluster(cni=cni, cni_manifest=f"https://raw.githubusercontent.com/{url}").settings
        with pytest.raises(UserError, match=said):
            wanted_manifest(settings)
    old = "https://raw.githubusercontent.com/flannel-io/flannel/v0.14.0/Documentation/kube-flannel.yml"
    later = cluster(cni="flannel", kubernetes_version="1.30.0", cni_manifest=old).settings
    assert wanted_manifest(later).title == "flannel v0.14.0"


def test_known_manifests_need_no_setting() -> None:
    assert wanted_manifest(cluster(cni="flannel").settings).title == "flannel v0.20.2"
    pinned = "https://raw.githubusercontent.com/flannel-io/flannel/v0.14.0/Documentation/kube-flannel.yml"
    assert wanted_manifest(cluster(cni="flannel", cni_manifest=pinned).settings).title == "flannel v0.14.0"
