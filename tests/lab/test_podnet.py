"""podnet on the live nodes: a restart disturbs nothing, and what somebody deletes by hand comes back in seconds."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lab.settings import load
from lab.wait import wait_until
from tests.lab import snapshot
from tests.lab.commands import inv
from tests.lab.remote import kubectl, kubectl_process, ssh

REPAIR_SECONDS = 15
"""The agent looks at everything each ten seconds; what it is told about by the kernel, it mends at once."""
TRANSFER_BYTES = 45 * 1024 * 1024
BYTES_PER_SECOND = 1024 * 1024
PODS = "{range .items[*]}{.metadata.name} {.spec.nodeName} {.status.podIP}{'\\n'}{end}"


def _network(name: str) -> dict[str, list[str]]:
    return snapshot.take(name, snapshot.NETWORK)


@contextmanager
def _transfer() -> Iterator["subprocess.Popen[str]"]:
    """A slow download from one kuard by a pod of another node, which takes three quarters of a minute."""
    rows = kubectl(f'get pods -l app=kuard -o jsonpath="{PODS}"')
    pods = [row.split() for row in rows.splitlines()]
    client = pods[0]
    server = next(pod for pod in pods if pod[1] != client[1])
    curl = f"curl -sS --limit-rate {BYTES_PER_SECOND} -o /dev/null -w '%{{size_download}}'"
    words = f"exec {client[0]} -- {curl} http://{server[2]}:8080/bytes/{TRANSFER_BYTES}"
    with kubectl_process(words) as process:
        yield process
        process.kill()


@pytest.mark.usefixtures("running_lab")
def test_a_restart_of_the_agents_drops_no_connection_and_changes_nothing() -> None:
    names = [node.name for node in load().nodes]
    before = {name: _network(name) for name in names}
    with _transfer() as transfer:
        kubectl("-n kube-system rollout restart daemonset/podnet")
        kubectl("-n kube-system rollout status daemonset/podnet --timeout=60s")
        assert transfer.poll() is None, "the transfer ended before the restart did; it proves nothing"
        output, _ = transfer.communicate(timeout=90)
    assert output == str(TRANSFER_BYTES)
    assert {name: snapshot.difference(before[name], _network(name)) for name in names} == {name: [] for name in names}


def _subnet(position: int) -> str:
    return kubectl(f"get node {load().nodes[position].name} -o jsonpath='{{.spec.podCIDR}}'")


def _other_vtep() -> str:
    return ssh(load().nodes[2].name, "cat /sys/class/net/flannel.1/address")


DAMAGE: dict[str, Callable[[], str]] = {
    "route": lambda: f"ip route del {_subnet(2)}",
    "arp_entry": lambda: f"ip neigh del {_subnet(2).partition('/')[0]} dev flannel.1",
    "fdb_entry": lambda: f"bridge fdb del {_other_vtep()} dev flannel.1",
    "forward_rule": lambda: f"iptables -D FORWARD -d {load().pod_cidr} -j ACCEPT",
    "masquerade_rule": lambda: f"iptables -t nat -D POSTROUTING -s {load().pod_cidr} -d {load().pod_cidr} -j RETURN",
    "subnet_env": lambda: "rm /run/flannel/subnet.env",
    "device": lambda: "ip link del flannel.1",
}
"""What to break on the first worker; each is a command."""


@pytest.mark.usefixtures("running_lab")
@pytest.mark.parametrize("damage", DAMAGE)
def test_what_is_deleted_by_hand_comes_back(damage: str) -> None:
    name = load().nodes[1].name
    before = _network(name)
    ssh(name, DAMAGE[damage]())
    started = time.monotonic()
    wait_until(lambda: _differs(before, name) == [], seconds=REPAIR_SECONDS, what=f"podnet to repair {damage}")
    print(f"{damage}: repaired after {time.monotonic() - started:.1f}s")
    assert inv("verify").code == 0


def _differs(before: dict[str, list[str]], name: str) -> list[str]:
    """Differences but for the order of rules: one that comes back may stand elsewhere without harm; verify judges."""
    now = _network(name)
    same = {section: sorted(lines) for section, lines in before.items()}
    found = snapshot.difference(same, {section: sorted(lines) for section, lines in now.items()})
    return (
        found if ssh(name, "test -e /run/flannel/subnet.env && echo there || echo gone") == "there" else ["subnet.env"]
    )
