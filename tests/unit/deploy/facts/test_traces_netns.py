"""What the facts about pod networks read of a real kernel, in a network namespace of their own."""

import json
import os
import subprocess
import sys

import pytest

from kubeproof.terminal.exits import REPOSITORY

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a network namespace"),
]

MAKE = """
mount -t sysfs sysfs /sys
ip link add v0 type veth peer name v1
ip link set v0 up; ip link set v1 up; ip addr add 10.99.0.1/24 dev v0
ip link add flannel.7 type vxlan id 7 dev v0 local 10.99.0.1 dstport 8472 nolearning || exit 75
ip link set flannel.7 up; ip addr add 10.244.0.0/32 dev flannel.7
ip route add 10.244.1.0/24 via 10.244.1.0 dev flannel.7 onlink
ip route add 10.244.2.0/24 via 10.99.0.3 dev v0
ip link add cali0123456789a type veth peer name v3; ip link set cali0123456789a up
ip route add 10.244.0.5/32 dev cali0123456789a
exec "$@"
"""
READ = """
import json, subprocess
from kubeproof.networks import artifacts
from kubeproof.deploy.facts.hosts import Host
from kubeproof.deploy.facts.network import ClusterLinks, RoutesInto

def read(fact, *arguments):
    command = fact.command(*arguments)
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True)
    return fact.process(done.stdout.splitlines())

found = read(Host())
routes = read(RoutesInto(), ["10.244.0.0/16"])
for route in routes:
    subprocess.run(["sh", "-ec", f"ip -4 route delete {route}"], check=True)
print(json.dumps({
    "links": [link.name for link in found.network.links if artifacts.is_link(link.name)],
    "udp": found.udp_ports, "routes": routes, "left": read(RoutesInto(), ["10.244.0.0/16"]),
    "tunnels": [(link.name, link.vxlan.vni, link.vxlan.port) for link in found.network.links if link.vxlan],
    "addresses": [(item.device, str(item.ip), found.network.link(item.device).mtu) for item in found.network.addresses],
    "deleted": read(ClusterLinks(), list(artifacts.LINKS)),
}))
"""


def test_links_routes_and_ports_of_pod_networks() -> None:
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-ec", MAKE, "sh", sys.executable, "-c", READ],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 75:
        pytest.skip("the kernel makes no VXLAN device")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert set(found["links"]) == set(found["deleted"]) == {"flannel.7", "cali0123456789a"}
    assert found["tunnels"] == [["flannel.7", 7, 8472]]
    assert found["udp"] == [8472]
    assert found["addresses"] == [["v0", "10.99.0.1", 1500], ["flannel.7", "10.244.0.0", 1450]]
    # The routes of links go with those.
    assert found["routes"] == ["10.244.2.0/24 via 10.99.0.3 dev v0"]
    assert found["left"] == []
