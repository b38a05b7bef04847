"""Preflight on hosts that are a cluster already: silent, and loud about what somebody has done to them since."""

import re
from collections.abc import Iterator

import pytest

from lab.settings import load
from tests.lab.commands import changes, inv, succeed
from tests.lab.remote import ssh

pytestmark = pytest.mark.usefixtures("running_lab")
FINDING = re.compile(r"\[(error|warning|ignored)\] (\S+) (\S+): .*; (.*)$", re.MULTILINE)
COMMAND = re.compile(r"`([^`]+)`")
ELSEWHERE = "198.51.100.9"
"""A documentation address (RFC 5737)."""
STATE = "cat /etc/hosts; ip -4 route; ls -l --time-style=full-iso /etc /etc/docker /var/lib/kubeproof-node"


def services() -> str:
    """The end of the Services' network, which no Service of the lab has an address of."""
    last = load().service_cidr.broadcast_address
    return f"{last}/32"


@pytest.fixture
def spoiled() -> Iterator[dict[str, str]]:
    """Two hosts that each have something wrong, by name with what the finding is called."""
    one, two = (node.name for node in load().nodes[:2])
    ssh(one, f"sed -i '1i {ELSEWHERE} {two}' /etc/hosts")
    ssh(two, f"ip link add kptest type bridge && ip link set kptest up && ip route add {services()} dev kptest")
    yield {one: "hosts-file", two: "cidr-conflict"}
    ssh(one, f"sed -i '/^{ELSEWHERE} {two}$/d' /etc/hosts")
    ssh(two, "[ ! -e /sys/class/net/kptest ] || ip link delete kptest")


def test_a_cluster_has_no_findings() -> None:
    output = succeed("plan")
    assert not FINDING.findall(output)
    assert changes(output) == 0


def test_all_hosts_are_told_of_at_once_and_none_is_changed(spoiled: dict[str, str]) -> None:
    before = {name: ssh(name, STATE) for name in spoiled}
    outcome = inv("apply")
    assert outcome.code == 2
    found = {host: (severity, name, mend) for severity, name, host, mend in FINDING.findall(outcome.output)}
    assert {host: (severity, name) for host, (severity, name, _) in found.items()} == {
        host: ("error", name) for host, name in spoiled.items()
    }
    assert "preflight: 2 errors, nothing has been changed on any host" in outcome.output
    assert {name: ssh(name, STATE) for name in spoiled} == before
    # What is printed mends it.
    one, two = spoiled
    command = COMMAND.search(found[one][2])
    assert command
    ssh(one, command[1])
    ssh(two, "ip link delete kptest")
    assert changes(succeed("apply")) == 0
