"""Jump hosts: what pyinfra's ssh client does with ssh's configuration, as far as can be seen without a network."""

from pathlib import Path
from typing import Any

import pytest
from paramiko import SSHException
from pyinfra.connectors.sshuserclient import client

from kubeproof.access import jumps

CONFIG = """
Host first
    HostName 192.0.2.1
    Port 2201
    User jump
    ProxyJump none
Host second
    Port 2202
    ProxyJump none
Host near far
    User admin
Host far
    ProxyJump first,second
Host *
    ProxyJump first
    StrictHostKeyChecking yes
"""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    for owner, name in ((client, "SSHConfig"), (client.SSHClient, "_ssh_config")):
        monkeypatch.setattr(owner, name, getattr(owner, name, None), raising=False)
    jumps.follow_ssh()
    (tmp_path / "config").write_text(CONFIG)
    return str(tmp_path / "config")


@pytest.fixture
def went(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Jump hosts that are connected to, each with its user and what it was asked to pass on to."""
    made: list[tuple[Any, ...]] = []

    def connect(self: Any, hostname: str, _pyinfra_ssh_config_file: str, **kwargs: Any) -> None:
        name, config, _, policy, *_ = self.parse_config(hostname, kwargs, ssh_config_file=_pyinfra_ssh_config_file)
        assert isinstance(policy, client.StrictPolicy)
        made.append((name, config["port"], config["username"]))

    monkeypatch.setattr(client.SSHClient, "connect", connect)
    monkeypatch.setattr(client.SSHClient, "gateway", lambda _self, _name, _port, *to, **_: made.append(to))
    return made


def test_one_jump(config: str, went: list[tuple[Any, ...]]) -> None:
    client.SSHClient().parse_config("near", ssh_config_file=config)
    assert went == [("192.0.2.1", 2201, "jump"), ("near", 22)]


def test_two_jumps_with_ports(config: str, went: list[tuple[Any, ...]]) -> None:
    client.SSHClient().parse_config("far", ssh_config_file=config)
    assert [entry[:2] for entry in went] == [("192.0.2.1", 2201), ("second", 2202), ("second", 2202), ("far", 22)]


def test_a_host_that_is_no_jump_away(config: str, went: list[tuple[Any, ...]]) -> None:
    _, found, *_ = client.SSHClient().parse_config("first", ssh_config_file=config)
    assert (found["port"], "sock" in found, went) == (2201, False, [])


def test_a_host_that_is_its_own_jump_host(config: str) -> None:
    Path(config).write_text("Host *\n    ProxyJump root@bastion:2201\n")
    with pytest.raises(SSHException, match="bastion is its own jump host"):
        client.SSHClient().parse_config("near", ssh_config_file=config)


CIRCLE = """
Host near
    ProxyJump {first}
Host a
    ProxyJump root@b:2202
Host b
    ProxyJump c,a
"""


@pytest.mark.parametrize("first", ["a", "x,a"])
def test_jump_hosts_that_lead_in_a_circle(config: str, first: str, went: list[tuple[Any, ...]]) -> None:
    """Found before anybody is connected to."""
    Path(config).write_text(CIRCLE.format(first=first))
    with pytest.raises(SSHException, match=r"lead in a circle \(a -> b -> a\), set `ProxyJump none`"):
        client.SSHClient().parse_config("near", ssh_config_file=config)
    assert went == []


def test_the_same_jump_host_on_two_ways_is_no_circle(config: str, went: list[tuple[Any, ...]]) -> None:
    hosts = "Host far\n ProxyJump first,second\nHost second\n ProxyJump first\n"
    Path(config).write_text(f"{hosts}Host *\n User u\n StrictHostKeyChecking yes\n")
    client.SSHClient().parse_config("far", ssh_config_file=config)
    assert went[-1] == ("far", 22)


def test_a_changed_key_of_a_jump_host_can_be_told(config: str) -> None:
    assert config
    assert client.SSHClient()._ssh_config.get("port", 22) == 22
