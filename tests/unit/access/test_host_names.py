"""Names of hosts that lead ssh nowhere are told before anybody connects."""

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from kubeproof.access import openssh
from kubeproof.config.cluster import Cluster, LoadedInventory, Node, SshAccess
from kubeproof.terminal.errors import UserError
from tests.unit.node.example import cluster

CONFIG = """
Host configured
    HostName 127.0.0.1
Host behind
    HostName name.invalid
    ProxyJump 127.0.0.1
Host piped
    HostName name.invalid
    ProxyCommand nc %h %p
"""


@pytest.mark.parametrize(
    ("hostname", "fine"),
    [
        ("localhost", True),
        ("192.0.2.11", True),
        ("2001:db8::1", True),
        ("configured", True),
        ("behind", True),
        ("piped", True),
        ("worker-1.invalid", False),  # RFC 6761: never resolves
    ],
)
def test_names(tmp_path: Path, hostname: str, fine: bool) -> None:
    (tmp_path / "config").write_text(CONFIG)
    node = Node("worker-1", IPv4Address("192.0.2.21"), "control-plane")
    access = SshAccess(hostname, tmp_path / "config", user="admin")
    loaded = LoadedInventory(Path("mine.py"), Cluster(cluster().settings, (node,)), {"worker-1": access})
    if fine:
        openssh.check(loaded)
        return
    with pytest.raises(UserError) as error:
        openssh.check(loaded)
    (line,) = error.value.problems
    openssh.check(loaded, left_out=("worker-1",))
    assert line.startswith(f"worker-1: ssh finds no address of {hostname}, have it resolve")
    assert '"ssh_hostname": "192.0.2.21"' in line


CIRCLE = "Host node\n ProxyJump a\nHost a\n ProxyJump root@b:2202\nHost b\n ProxyJump a\n"


def test_jump_hosts_that_lead_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(CIRCLE)
    node = Node("worker-1", IPv4Address("192.0.2.21"), "control-plane")
    loaded = LoadedInventory(
        Path("mine.py"), Cluster(cluster().settings, (node,)), {"worker-1": SshAccess("node", tmp_path / "config")}
    )
    with pytest.raises(UserError) as error:
        openssh.check(loaded)
    (line,) = error.value.problems
    assert line.startswith("worker-1: ")
    assert "jump hosts lead in a circle (a -> b -> a)" in line
    with pytest.raises(UserError) as again:
        openssh.check_jumps(loaded)
    assert again.value.problems == (line,)
    openssh.check_jumps(loaded, ["another"])
