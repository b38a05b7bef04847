"""Configuration of the mirror's daemons, and what is read from the programs around them."""

from ipaddress import IPv4Address
from pathlib import Path

import pytest
import yaml

from kubeproof.errors import UserError
from lab import apt_config, archive, paths, settings, shell
from lab.archive import Source
from lab.mirror import apt, base_layer, daemons, proxy, registry, service, system_services
from lab.mirror.daemons import foreign_listeners
from lab.settings import LabSettings

GATEWAY = IPv4Address("10.99.1.1")
SOURCES = (
    Source("http://mirror.example/debian", "bookworm"),
    Source("http://mirror.example/debian", "bookworm-updates"),
    Source("http://mirror.example:8080/debian-security", "bookworm-security"),
)


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabSettings:
    """The lab as it comes, on a machine where nothing of it runs."""
    monkeypatch.setattr(paths, "RUN", tmp_path / "run")
    return settings.parse(settings.read_file(settings.FILE), {})


def acng(proxy_url: str = "") -> dict[str, str]:
    text = proxy.render(GATEWAY, 3142, proxy.backends(SOURCES), proxy_url, Path("/cache"), Path("/log"))
    return dict(line.split(": ", 1) for line in text.splitlines())


def test_the_proxy_serves_the_machines_own_archive() -> None:
    assert acng()["Remap-debian"] == "/debian ; http://mirror.example/debian"
    assert acng()["Remap-debian-security"] == "/debian-security ; http://mirror.example:8080/debian-security"


def test_the_proxy_is_open_to_nothing_else() -> None:
    settings = acng()
    assert settings["ForceManaged"] == "1"
    assert settings["AllowUserPorts"] == "80 8080"
    assert settings["BindAddress"] == "10.99.1.1"
    assert settings["ReportPage"] == ""


def test_the_proxy_goes_through_the_machines_proxy() -> None:
    assert "Proxy" not in acng()
    assert acng("http://proxy.example:3128")["Proxy"] == "http://proxy.example:3128"


def test_stopping_and_showing_ask_nothing_of_apt(lab: LabSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_words: object, **_options: object) -> str:
        raise UserError("apt has no lists")

    monkeypatch.setattr(shell, "run", refuse)
    assert [state for _, _, state in service.status(lab)] == ["stopped", "stopped"]
    assert service.down(lab) == 0


def test_a_proxy_without_an_archive_is_reported_and_so_are_the_ports(
    lab: LabSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "sources", lambda: (Source("file:/mnt/debian", "bookworm"),))
    monkeypatch.setattr(daemons, "port_problem", lambda daemon: f"port {daemon.port}")
    problems = service.check(lab)
    assert "not served by HTTP" in problems[0]
    assert problems[1:] == ["port 3142", "port 5000"]


@pytest.mark.parametrize(("text", "found"), [("http://p:1", "http://p:1"), ("DIRECT", ""), ("", "")])
def test_apts_proxy_setting(text: str, found: str) -> None:
    assert proxy.upstream_proxy(apt_config.parse(f'Acquire::http::Proxy "{text}";\n')) == found


def test_an_archive_on_a_disk_cannot_be_served() -> None:
    with pytest.raises(UserError, match="not served by HTTP"):
        proxy.backends([Source("file:/mnt/debian", "bookworm")])


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
LISTEN 0 250  192.168.200.1:3142 0.0.0.0:* users:(("apt-cacher-ng",pid=1,fd=12))
LISTEN 0 250      10.99.1.1:3142 0.0.0.0:* users:(("apt-cacher-ng",pid=2,fd=11))
LISTEN 0 4096             *:5000       *:* users:(("docker-registry",pid=3,fd=3))
LISTEN 0 4096     127.0.0.1:5001 0.0.0.0:*
LISTEN 0 4096 10.99.1.1%br0:5002 0.0.0.0:*
"""


@pytest.mark.parametrize(
    ("port", "own", "found"),
    [
        (3142, 2, []),
        (3142, 0, ['users:(("apt-cacher-ng",pid=2,fd=11))']),
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
