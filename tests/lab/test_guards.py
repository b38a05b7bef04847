"""Nothing of the lab's traffic can leave its machine, whatever the machine's own settings are."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import network, shell
from lab.paths import SSH_CONFIG
from lab.settings import load

NAMESPACE = "kubeproof-outside"
OUTSIDE = "198.51.100.1"
"""A documentation address (RFC 5737) that exists only in this test's own network namespace."""
UPLINK = "198.51.100.2"
FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")


@pytest.fixture
def outside() -> Iterator[None]:
    """A host beyond a second link of this machine, which forwards for everyone as a laptop with Docker does."""
    forwarding = FORWARDING.read_text()
    shell.run(["ip", "netns", "add", NAMESPACE])
    try:
        shell.run(["ip", "link", "add", "kp-out0", "type", "veth", "peer", "name", "kp-out1", "netns", NAMESPACE])
        shell.run(["ip", "addr", "add", f"{UPLINK}/30", "dev", "kp-out0"])
        shell.run(["ip", "link", "set", "kp-out0", "up"])
        inside = ("ip", "-n", NAMESPACE)
        shell.run([*inside, "addr", "add", f"{OUTSIDE}/30", "dev", "kp-out1"])
        shell.run([*inside, "link", "set", "kp-out1", "up"])
        shell.run([*inside, "route", "add", str(load().node_network), "via", UPLINK])
        FORWARDING.write_text("1")
        yield
    finally:
        FORWARDING.write_text(forwarding)
        shell.run(["ip", "netns", "delete", NAMESPACE])


def _node_reaches_outside() -> bool:
    words = ["ssh", "-F", str(SSH_CONFIG), load().nodes[0].name, "ping", "-c", "1", "-W", "2", OUTSIDE]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.mark.usefixtures("running_lab", "outside")
def test_a_node_reaches_nothing_beyond_its_machine() -> None:
    assert not _node_reaches_outside()
    # The same packet passes where the guard makes an exception, so it is the guard that stops it.
    for direction in ("daddr", "saddr"):
        rule = ["inet", network.TABLE, "forward", "ip", direction, OUTSIDE, "accept"]
        shell.run(["nft", "insert", "rule", *rule])
    try:
        assert _node_reaches_outside()
    finally:
        shell.run(["nft", "-f", "-"], stdin=network.render_table(load()))
    assert not _node_reaches_outside()


@pytest.mark.usefixtures("running_lab", "outside")
def test_nobody_outside_reaches_the_mirror() -> None:
    """A neighbour with a route to the gateway's address must not get in by another link (Linux' weak host model)."""
    inside = ["ip", "netns", "exec", NAMESPACE]
    target = f"</dev/tcp/{load().gateway}/{load().registry_port}"
    assert not shell.succeeds([*inside, "timeout", "2", "bash", "-c", target])
    with socket.create_server((UPLINK, 0)) as reachable:
        port = reachable.getsockname()[1]
        assert shell.succeeds([*inside, "timeout", "2", "bash", "-c", f"</dev/tcp/{UPLINK}/{port}"])


@pytest.mark.usefixtures("running_lab")
def test_a_node_reaches_only_the_mirror_on_its_machine() -> None:
    lab = load()
    with socket.create_server((str(lab.gateway), 0)) as other:
        ports = [other.getsockname()[1], lab.registry_port, lab.apt_port]
        tries = [
            f"timeout 2 bash -c '</dev/tcp/{lab.gateway}/{port}' 2>/dev/null && echo reached {port}" for port in ports
        ]
        words = ["ssh", "-F", str(SSH_CONFIG), lab.nodes[0].name, f"{'; '.join(tries)}; true"]
        done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"reached {lab.registry_port}", f"reached {lab.apt_port}"]
