"""Configuration of the mirror's daemons, and what is read from the programs around them."""

import http.client
import socket
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
import yaml

from kubeproof.terminal.errors import UserError
from lab import apt_config, paths, settings, shell
from lab.mirror import apt, base_layer, daemons, registry, server, service, system_services
from lab.mirror.daemons import foreign_listeners
from lab.settings import LabSettings
from lab.wait import wait_until

GATEWAY = IPv4Address("10.99.1.1")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabSettings:
    """The lab as it comes, on a machine where nothing of it runs."""
    monkeypatch.setattr(paths, "RUN", tmp_path / "run")
    return settings.parse(settings.read_file(settings.FILE), {})


def test_stopping_and_showing_ask_nothing_of_apt(lab: LabSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_words: object, **_options: object) -> str:
        raise UserError("apt has no lists")

    monkeypatch.setattr(shell, "run", refuse)
    assert [state for _, _, state in service.status(lab)] == ["stopped", "stopped"]
    assert service.down(lab) == 0


@pytest.mark.parametrize(("runs", "served"), [(0, []), (4711, ["filled"])])
def test_what_is_built_is_served_at_once_if_the_registry_runs(
    lab: LabSettings, monkeypatch: pytest.MonkeyPatch, runs: int, served: list[str]
) -> None:
    filled: list[str] = []
    monkeypatch.setattr(daemons, "running_pid", lambda _daemon: runs)
    monkeypatch.setattr(service, "_build", lambda _, *, refresh: ((), 1 + refresh))

    def fill(*_shelves: object) -> int:
        filled.append("filled")
        return 2

    monkeypatch.setattr(registry, "fill", fill)
    assert service.build(lab) == 1 + 2 * len(served)
    assert filled == served


def test_ports_of_others_are_reported(lab: LabSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemons, "port_problem", lambda daemon: f"port {daemon.port}")
    assert service.check(lab) == ["port 3142", "port 5000"]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[str]:
    """URL of the folder ``tmp_path`` served on this machine, by the program that the mirror runs."""
    (tmp_path / "kubernetes").mkdir()
    (tmp_path / "kubernetes" / "InRelease").write_text("signed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [server.PROGRAM, "-I", str(server.SOURCE), "127.0.0.1", str(port), str(tmp_path)]
    with subprocess.Popen(words, stderr=subprocess.DEVNULL) as process:
        wait_until(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, seconds=10, what="the server")
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def test_files_are_served_and_nothing_else(served: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    # A client that says nothing, and one that stops in its request, keep nobody else waiting.
    address = (served.removeprefix("http://").partition(":")[0], int(served.rpartition(":")[2]))
    with socket.create_connection(address), socket.create_connection(address) as half:
        half.sendall(b"GET /kubernetes/InRelease HTTP/1.1\r\n")
        with opener.open(f"{served}/kubernetes/InRelease", timeout=5) as answer:
            assert answer.read() == b"signed"
    for path in ("", "/kubernetes/", "/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/no"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            opener.open(f"{served}{path}", timeout=5)


def test_several_requests_go_by_one_connection(served: str) -> None:
    connection = http.client.HTTPConnection(served.removeprefix("http://"), timeout=5)
    for path, status in (("/kubernetes/InRelease", 200), ("/no", 404)):
        connection.request("GET", path)
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (status, True)


def test_the_server_knows_the_folder_of_the_repositories(lab: LabSettings) -> None:
    daemon = server.daemon(lab)
    assert daemon.command[-3:] == ("192.168.200.1", "3142", str(paths.APT_ROOT))
    assert paths.APT_REPOSITORY.parent == paths.APT_ROOT


def test_the_registry_keeps_to_the_gateway() -> None:
    document = yaml.safe_load(registry.render(GATEWAY, 5000, Path("/cache/registry")))
    assert document["http"]["addr"] == "10.99.1.1:5000"
    assert document["storage"]["filesystem"]["rootdirectory"] == "/cache/registry"
    assert document["storage"]["delete"]["enabled"] is False


@pytest.mark.parametrize(
    ("held", "outdated"),
    [
        ({}, False),
        ({"r/a:1": "sha256:1"}, False),
        ({"r/a:1": "sha256:2"}, True),
        ({"r/a:1": "sha256:1", "r/a:0": "sha256:0"}, True),
    ],
)
def test_what_the_registry_should_not_hold(held: dict[str, str], outdated: bool) -> None:
    assert registry.is_outdated(held, {"r/a:1": "sha256:1", "r/b:1": "sha256:3"}) is outdated


def test_digests_of_a_layout() -> None:
    name = {"org.opencontainers.image.ref.name": "pause-1"}
    index = {"manifests": [{"digest": "sha256:1", "annotations": name}, {"digest": "sha256:2"}]}
    assert registry.layout_digests(index) == {"pause-1": "sha256:1"}


SS = """\
LISTEN 0 250  192.168.200.1:3142 0.0.0.0:* users:(("python3",pid=1,fd=12))
LISTEN 0 250      10.99.1.1:3142 0.0.0.0:* users:(("python3",pid=2,fd=11))
LISTEN 0 4096             *:5000       *:* users:(("docker-registry",pid=3,fd=3))
LISTEN 0 4096     127.0.0.1:5001 0.0.0.0:*
LISTEN 0 4096 10.99.1.1%br0:5002 0.0.0.0:*
"""


@pytest.mark.parametrize(
    ("port", "own", "found"),
    [
        (3142, 2, []),
        (3142, 0, ['users:(("python3",pid=2,fd=11))']),
        (5000, 0, ['users:(("docker-registry",pid=3,fd=3))']),
        (5001, 0, []),
        (5002, 0, ["an unknown program"]),
    ],
)
def test_who_else_holds_the_port(port: int, own: int, found: list[str]) -> None:
    assert foreign_listeners(SS, GATEWAY, port, own) == found


def test_the_key_in_gpgs_listing() -> None:
    listing = (
        "sec:u:255:22:ABC:1:::u:::sc:::\nfpr:::::::::0123ABC:\ngrp:::::::::X:\nuid:u::::1::Y::Kubeproof::::::::::0:\n"
    )
    assert apt.parse_fingerprint(listing) == "0123ABC"
    assert apt.parse_fingerprint("") == ""


def test_only_settings_of_fetching_are_passed_on() -> None:
    config = apt_config.parse(
        'Acquire "";\nAcquire::http::Proxy "http://p:1";\nAcquire::Check-Valid-Until "false";\nAcquire::Retries "3";\n'
        'Acquire::IndexTargets::deb::Packages::MetaKey "x";\nAcquire::https::Verify-Peer "";\n'
    )
    assert apt_config.render(config).splitlines() == [
        'Acquire::http::Proxy "http://p:1";',
        'Acquire::Check-Valid-Until "false";',
        'Acquire::Retries "3";',
    ]


def test_a_packages_version_in_dpkgs_status() -> None:
    status = (
        "Package: etcd\nVersion: 1\n\nPackage: etcd-server\nStatus: ok\nVersion: 3.4.23-4\n\nPackage: x\nVersion: 2\n"
    )
    assert base_layer.package_version(status, "etcd-server") == "3.4.23-4"
    assert base_layer.package_version(status, "etcd-client") == ""


def test_the_base_layers_key_follows_its_packages() -> None:
    assert base_layer.layer_key(["a", "b"]) == base_layer.layer_key(["b", "a"]) != base_layer.layer_key(["a"])


def test_services_to_come_are_masked_and_others_left(tmp_path: Path) -> None:
    (tmp_path / "mine.service").write_text("[Unit]")
    system_services.mask(["mine", "new"], tmp_path)
    system_services.mask(["mine", "new"], tmp_path)
    assert (tmp_path / "new.service").readlink() == Path("/dev/null")
    assert (tmp_path / "mine.service").read_text() == "[Unit]"


def test_the_policy_forbids_only_the_named() -> None:
    assert "a|b) exit 101 ;;" in system_services.policy_text(["a", "b"])
