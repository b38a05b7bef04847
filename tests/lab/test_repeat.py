"""What somebody has changed by hand: plan tells which host, which operation and why, and changes nothing itself; apply
mends it with just as many changes. (That nothing is to do after an apply, test_up asserts.)"""

import re
from pathlib import Path

import pytest

from lab.settings import load
from lab.wait import wait_until
from tests.lab import snapshot
from tests.lab.commands import changes, inv, last_changes, succeed
from tests.lab.remote import kubectl, ssh

pytestmark = pytest.mark.usefixtures("running_lab")

LEADER, OPEN, *_, DRIFTED = (node.name for node in load().nodes)
DRIFT = (
    'sed -i \'s/"max-size": "10m"/"max-size": "99m"/\' /etc/docker/daemon.json',
    "sysctl -q -w net.bridge.bridge-nf-filter-vlan-tagged=0",
    "sed -i '$d' /etc/sysctl.d/99-kubeproof.conf",
    "sed -i '/ k8s-none$/d; $i 192.0.2.99 k8s-none' /etc/hosts",
    "rm /etc/modules-load.d/kubeproof.conf",
    "apt-mark -qq unhold kubelet",
)
EXPECTED = {
    DRIFTED: {
        "Host preparation | Load the bridge's netfilter module at boot": "there is no /etc/modules-load.d/",
        "Host preparation | Set sysctls at boot": "+ net.ipv4.ip_forward = 1",
        "Host preparation | Set sysctls now": "net.bridge.bridge-nf-filter-vlan-tagged is 0, not 1",
        "Host preparation | Name all nodes in /etc/hosts": "- 192.0.2.99 k8s-none",
        "Container runtime | Configure Docker": '+     "max-size": "10m",',
        "Packages | Hold the Kubernetes packages": "would be upgraded with the system: kubelet",
        "Container runtime | Restart Docker if its configuration is newer than it": "docker.service runs since before",
    },
    OPEN: {"Container runtime | Drop forwarded packets by default, now": "the default of iptables' FORWARD is ACCEPT"},
    LEADER: {"Demo | Apply kuard": "spec.replicas\n- 2", "Control plane | Give root the admin kubeconfig": "not there"},
}
"""By host, each operation and a part of its reason."""
STILL = ("links", "addresses", "routes", "rules", "sysctls", "units", "files")
"""Sections in which a running cluster changes nothing without being asked."""
FOLDERS = ("etc", "opt", "root", "usr/local", "var/lib/kubeproof-node")


def told(output: str) -> dict[str, dict[str, str]]:
    """A plan's reasons by host and operation."""
    found: dict[str, dict[str, str]] = {}
    host = operation = ""
    for line in output.splitlines():
        if re.fullmatch(r"[a-z0-9-]+", line):
            host = line
        elif found_operation := re.fullmatch(r"  (\S.* \| .*)", line):
            operation = found_operation[1]
            found.setdefault(host, {})[operation] = ""
        elif line.startswith("      ") and operation:
            found[host][operation] += f"{line.strip()}\n"
    return found


@pytest.fixture(scope="module")
def drift() -> None:
    for command in DRIFT:
        ssh(DRIFTED, command)
    ssh(OPEN, "iptables --policy FORWARD ACCEPT")
    ssh(LEADER, "rm /root/.kube/config")
    kubectl("scale deployment kuard --replicas 2")
    pods = "get pods -l app=kuard -o name"
    wait_until(lambda: len(kubectl(pods).splitlines()) == 2, seconds=180, what="the third pod to go")


@pytest.fixture(scope="module")
def planned(drift: None) -> str:
    """A plan's output; that it changes nothing is seen from outside, on every node."""
    names = [node.name for node in load().nodes]
    before = {name: still(name) for name in names}
    generation = kubectl("get deployments -A -o jsonpath='{.items[*].metadata.generation}'")
    output = succeed("plan")
    assert {name: snapshot.difference(before[name], still(name)) for name in names} == {name: [] for name in names}
    assert kubectl("get deployments -A -o jsonpath='{.items[*].metadata.generation}'") == generation
    return output


def still(name: str) -> snapshot.Snapshot:
    """What of a node changes only if somebody changes it; kubectl's cache is nobody's."""
    taken = snapshot.take(name, STILL, FOLDERS)
    return {**taken, "files": [line for line in taken["files"] if not line.startswith("root/.kube/cache")]}


def test_plan_tells_what_would_change_on_which_host_and_why(planned: str) -> None:
    found = told(planned)
    assert {host: set(operations) for host, operations in found.items()} == {
        host: set(operations) for host, operations in EXPECTED.items()
    }
    for host, operations in EXPECTED.items():
        for operation, reason in operations.items():
            assert reason in found[host][operation], operation


def test_a_plan_of_one_host_tells_of_no_other(planned: str) -> None:
    output = succeed("plan", "--limit", DRIFTED)
    assert {host: set(operations) for host, operations in told(output).items()} == {DRIFTED: set(EXPECTED[DRIFTED])}
    others = ", ".join(node.name for node in load().nodes if node.name != DRIFTED)
    assert f"left out by --limit: {others}, so objects of the cluster are not looked at" in " ".join(output.split())


def test_plan_shows_no_secret(planned: str) -> None:
    secrets = Path("~/.kube/kubeproof").expanduser().read_text()
    keys = re.findall(r"(?:-data|token): (\S{16,})", secrets)
    assert keys
    log = Path("/var/log/kubeproof/deploy-plan.log").read_text()
    assert not [key for key in keys if key in planned or key in log]


def test_apply_mends_it_with_just_as_many_changes(planned: str) -> None:
    output = succeed("apply")
    assert changes(output) == changes(planned)
    assert {host: set(operations) for host, operations in last_changes().items()} == {
        host: set(operations) for host, operations in EXPECTED.items()
    }
    assert changes(succeed("plan")) == 0
    # Docker was restarted, and with it all pods of the node.
    wait_until(lambda: inv("verify").code == 0, seconds=90, what="the proof to hold")
