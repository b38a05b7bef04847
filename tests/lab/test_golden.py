"""podnet's contract on the host is flannel's: live state beside captures from a cluster with the real flannel.

The captures are not part of the project; without them these tests skip.
"""

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kubeproof.proof.snapshot import Snapshot
from lab.paths import REPOSITORY, SSH_CONFIG
from lab.settings import load

GOLDEN = REPOSITORY.parent / "shared" / "golden"
MAC = re.compile(r"\b[0-9a-f]{2}(?::[0-9a-f]{2}){5}\b")

pytestmark = [
    pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"there are no captures of the real flannel at {GOLDEN}"),
    pytest.mark.usefixtures("running_lab"),
]

SECTIONS = {
    "subnet.env": ("cat /run/flannel/subnet.env", r"^FLANNEL_"),
    "routes": ("ip route", r"flannel\.1|dev cni0"),
    "fdb": ("bridge fdb show dev flannel.1", r" dst .* self permanent"),
    "arp": ("ip neigh show dev flannel.1", r" lladdr .* PERMANENT"),
    "device": ("ip -d link show flannel.1", r"vxlan id"),
    "forward": ("iptables -S FORWARD", r"^-P FORWARD|^-A FORWARD .*10\.244\."),
    "postrouting": ("iptables -t nat -S POSTROUTING", r"^-A POSTROUTING .*10\.244\."),
}
"""A command, and which of its lines are flannel's."""
UNORDERED = ("routes", "fdb", "arp")


@pytest.fixture(scope="module")
def as_captured(snapshot: Snapshot) -> Callable[[str], str]:
    """Gives the lab's pod subnets the places that they had in the captures: workers that join at once race for them."""
    assert not isinstance(snapshot.objects, str), snapshot.objects
    places = {}
    for place, node in enumerate(load().nodes):
        found = snapshot.objects.node(node.name)
        assert found is not None, node.name
        assert found.pod_cidr is not None, node.name
        places[str(found.pod_cidr.network_address).removesuffix(".0")] = f"10.244.{place}"
    subnet = re.compile(rf"\b(?:{'|'.join(re.escape(place) for place in places)})(?=\.)")
    return lambda text: subnet.sub(lambda match: places[match[0]], text)


def _lines(text: str, pattern: str) -> list[str]:
    """Lines that match, without what differs from host to host: MAC addresses, and kernel defaults of the device."""
    found = [MAC.sub("MAC", line.strip()) for line in text.splitlines() if re.search(pattern, line)]
    return [re.sub(r" gso_max_size.*| tso_max_size.*", "", line) for line in found]


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("position", range(3))
def test_a_node_looks_as_with_flannel(as_captured: Callable[[str], str], position: int, section: str) -> None:
    node = load().nodes[position]
    capture = Path(GOLDEN, f"flannel-{str(node.address).rpartition('.')[2]}.txt")
    command, pattern = SECTIONS[section]
    done = subprocess.run(["ssh", "-F", SSH_CONFIG, node.name, command], capture_output=True, text=True, check=True)
    expected, found = _lines(capture.read_text(), pattern), _lines(as_captured(done.stdout), pattern)
    if section in UNORDERED:
        expected, found = sorted(expected), sorted(found)
    if section == "routes" and position == 0:
        # The captured control plane host ran no pod of its own subnet, so it had no cni0 yet.
        found = [line for line in found if "cni0" not in line]
    assert found == expected
