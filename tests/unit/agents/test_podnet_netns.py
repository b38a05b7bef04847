"""podnet for real: three nodes in network namespaces, held against what flannel leaves on a node."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.unit.agents.netns import POD_CIDR, Lan, NodeSpace, eventually, ip, run

pytestmark = pytest.mark.netns

DEBIAN_PYTHON = "/usr/bin/python3"
"""In the images podnet runs with Debian's interpreter and pyroute2, which are older than the development ones."""


def _has_pyroute2(python: str) -> bool:
    return Path(python).exists() and not subprocess.run([python, "-c", "import pyroute2"], check=False).returncode


PYTHONS = [
    pytest.param(sys.executable, id="newest"),
    pytest.param(
        DEBIAN_PYTHON,
        id="debian",
        marks=pytest.mark.skipif(not _has_pyroute2(DEBIAN_PYTHON), reason="python3-pyroute2 is not installed"),
    ),
]


@pytest.fixture(scope="module", params=PYTHONS)
def shared_lan(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lan]:
    with Lan(tmp_path_factory.mktemp("lan"), request.param) as lan:
        yield lan


@pytest.fixture
def lan(shared_lan: Lan) -> Lan:
    """The three nodes with their networks as planned."""
    shared_lan.settle()
    return shared_lan


def mac(node: NodeSpace) -> str:
    return str(node.json("link", "show", "flannel.1")[0]["address"])


def others(lan: Lan, node: NodeSpace) -> list[NodeSpace]:
    return [other for other in lan.nodes if other is not node]


def routes(node: NodeSpace) -> list[str]:
    return [line.strip() for line in ip("route", "show", "dev", "flannel.1", namespace=node.namespace).splitlines()]


def neighbours(node: NodeSpace) -> dict[str, str]:
    found = node.json("-4", "neigh", "show", "dev", "flannel.1", "nud", "permanent")
    return {entry["dst"]: entry["lladdr"] for entry in found}


def fdb(node: NodeSpace) -> dict[str, str]:
    return {entry["mac"]: entry["dst"] for entry in node.json("fdb", "show", "dev", "flannel.1") if "dst" in entry}


def state(node: NodeSpace) -> tuple[Any, ...]:
    rules = node.shell("iptables-save", "-t", "nat"), node.shell("iptables", "-S", "FORWARD")
    kept = [line for text in rules for line in text.splitlines() if line.startswith("-A")]
    return mac(node), routes(node), neighbours(node), fdb(node), kept


def test_device_is_as_flannel_makes_it(lan: Lan) -> None:
    for node in lan.nodes:
        link = node.json("link", "show", "flannel.1")[0]
        data = link["linkinfo"]["info_data"]
        assert link["mtu"] == 1450
        assert "UP" in link["flags"]
        assert (data["id"], data["port"], data["local"], data["link"]) == (1, 8472, node.address, "eth0")
        assert data["learning"] is False
        addresses = [
            entry for entry in node.json("addr", "show", "flannel.1")[0]["addr_info"] if entry["family"] == "inet"
        ]
        assert [(entry["local"], entry["prefixlen"], entry["scope"]) for entry in addresses] == [
            (f"{node.subnet}.0", 32, "global")
        ]


def test_entries_for_every_other_node(lan: Lan) -> None:
    for node in lan.nodes:
        rest = others(lan, node)
        assert routes(node) == [f"{other.subnet}.0/24 via {other.subnet}.0 onlink" for other in rest]
        assert neighbours(node) == {f"{other.subnet}.0": mac(other) for other in rest}
        assert fdb(node) == {mac(other): other.address for other in rest}
        for line in run("bridge", "-n", node.namespace, "fdb", "show", "dev", "flannel.1").splitlines():
            assert line.split()[1::2] != []
            assert line.strip().endswith("self permanent"), line


def test_rules_files_and_annotations(lan: Lan) -> None:
    for node in lan.nodes:
        forward = node.shell("iptables", "-S", "FORWARD").splitlines()
        assert forward == [
            "-P FORWARD DROP",
            f"-A FORWARD -s {POD_CIDR} -j ACCEPT",
            f"-A FORWARD -d {POD_CIDR} -j ACCEPT",
        ]
        assert node.shell("iptables", "-t", "nat", "-S", "POSTROUTING").splitlines() == [
            "-P POSTROUTING ACCEPT",
            f"-A POSTROUTING -s {POD_CIDR} -d {POD_CIDR} -j RETURN",
            f"-A POSTROUTING -s {POD_CIDR} ! -d 224.0.0.0/4 -j MASQUERADE --random-fully",
            f"-A POSTROUTING ! -s {POD_CIDR} -d {node.subnet}.0/24 -j RETURN",
            f"-A POSTROUTING ! -s {POD_CIDR} -d {POD_CIDR} -j MASQUERADE --random-fully",
        ]
        assert (node.directory / "subnet.env").read_text().splitlines() == [
            f"FLANNEL_NETWORK={POD_CIDR}",
            f"FLANNEL_SUBNET={node.subnet}.1/24",
            "FLANNEL_MTU=1450",
            "FLANNEL_IPMASQ=true",
        ]
        assert json.loads((node.directory / "net.d/10-podnet.conflist").read_text())["name"] == "podnet"
        assert node.annotations == {
            "podnet.kubeproof.dev/vtep-mac": mac(node),
            "podnet.kubeproof.dev/public-ip": node.address,
        }


def test_no_pod_starts_before_policies_are_in_force(lan: Lan) -> None:
    node = lan.nodes[0]
    conflist = node.directory / "net.d/10-podnet.conflist"
    conflist.unlink()
    assert "waiting for policies" in node.tell(not_enforced="waiting for policies", reconcile=True)["problem"]
    assert not conflist.exists()
    assert node.tell(not_enforced=None, reconcile=True)["changes"] == 1
    # What is there already stays: other pods of this node depend on it.
    node.tell(not_enforced="nft fails", reconcile=True)
    assert conflist.exists()
    node.tell(not_enforced=None, reconcile=True)


def test_pods_reach_each_other_with_packets_of_full_size(lan: Lan) -> None:
    for node in lan.nodes:
        for other in others(lan, node):
            assert node.reaches(other)
            assert node.reaches(other, size=1450 - 28)


def test_a_second_round_changes_nothing(lan: Lan) -> None:
    for node in lan.nodes:
        before = state(node)
        assert node.tell(reconcile=True)["changes"] == 0
        assert state(node) == before


def test_a_restart_changes_nothing(lan: Lan) -> None:
    for node in lan.nodes:
        before = state(node)
        node.stop()
        assert state(node) == before
        node.start()
        assert node.tell(nodes=lan.items(), reconcile=True)["changes"] == 0
        assert state(node) == before


@pytest.mark.parametrize(
    "damage",
    [
        "ip route del {other}.0/24",
        "ip route replace {other}.0/24 via {other}.7 dev flannel.1 onlink",
        "ip route add 10.99.100.0/24 via 10.99.100.0 dev flannel.1 onlink",
        "ip neigh del {other}.0 dev flannel.1",
        "ip neigh replace {other}.0 lladdr 02:00:00:00:00:01 dev flannel.1",
        "ip neigh add 10.99.100.0 lladdr 02:00:00:00:00:01 nud permanent dev flannel.1",
        "bridge fdb del {mac} dst {node} dev flannel.1 self",
        "bridge fdb replace {mac} dst 10.99.0.77 dev flannel.1 self",
        "bridge fdb append 02:00:00:00:00:01 dst 10.99.0.77 dev flannel.1 self permanent",
        "ip addr del {own}.0/32 dev flannel.1",
        "ip addr add 10.99.100.0/32 dev flannel.1",
        "ip link set flannel.1 mtu 1400",
        "ip link set flannel.1 down",
        "ip link del flannel.1",
        "iptables -D FORWARD 1",
        "iptables -A FORWARD -s 10.99.64.0/18 -j ACCEPT",
        "iptables -t nat -F POSTROUTING",
        "iptables -t nat -D POSTROUTING 2",
        "iptables -t nat -A POSTROUTING ! -s 10.99.64.0/18 -d 10.99.99.0/24 -j RETURN",
    ],
)
def test_damage_is_mended(lan: Lan, damage: str) -> None:
    node, other = lan.nodes[0], lan.nodes[1]
    before = state(node)
    words = damage.format(other=other.subnet, own=node.subnet, mac=mac(other), node=other.address).split()
    node.shell(*words)
    assert node.tell(reconcile=True)["changes"] > 0
    assert state(node) == before
    assert node.tell(reconcile=True)["changes"] == 0
    assert node.reaches(other)


def test_rules_of_others_stay(lan: Lan) -> None:
    node = lan.nodes[0]
    foreign = ["-s", "10.99.200.0/24", "-j", "ACCEPT"]
    node.shell("iptables", "-A", "FORWARD", *foreign)
    node.shell("iptables", "-D", "FORWARD", "-s", POD_CIDR, "-j", "ACCEPT")
    node.tell(reconcile=True)
    assert "-A FORWARD -s 10.99.200.0/24 -j ACCEPT" in node.shell("iptables", "-S", "FORWARD").splitlines()
    node.shell("iptables", "-D", "FORWARD", *foreign)


@pytest.mark.parametrize(
    "attributes",
    [
        "id 2 dstport 8472 local {address} dev eth0 nolearning",
        "id 1 dstport 4789 local {address} dev eth0 nolearning",
        "id 1 dstport 8472 local 10.99.0.99 dev eth0 nolearning",
        "id 1 dstport 8472 local {address} dev eth0",
    ],
)
def test_a_device_that_does_not_fit_is_made_anew(lan: Lan, attributes: str) -> None:
    node = lan.nodes[0]
    before = state(node)
    ip("link", "del", "flannel.1", namespace=node.namespace)
    words = attributes.format(address=node.address).split()
    ip("link", "add", "flannel.1", "type", "vxlan", *words, namespace=node.namespace)
    node.tell(reconcile=True)
    assert state(node) == before
    assert node.reaches(lan.nodes[1])


def test_a_new_mac_is_published_and_followed(lan: Lan) -> None:
    node, other = lan.nodes[0], lan.nodes[1]
    ip("link", "set", "flannel.1", "address", "02:00:00:00:0a:0b", namespace=node.namespace)
    lan.settle()
    assert neighbours(other)[f"{node.subnet}.0"] == "02:00:00:00:0a:0b"
    assert fdb(other)["02:00:00:00:0a:0b"] == node.address
    assert len(fdb(other)) == 2
    assert other.reaches(node)


def test_a_node_that_is_gone_is_forgotten(lan: Lan) -> None:
    node, gone = lan.nodes[0], lan.nodes[2]
    remaining = [other.item() for other in lan.nodes if other is not gone]
    assert node.tell(nodes=remaining, reconcile=True)["changes"] == 3
    assert f"{gone.subnet}.0/24 via {gone.subnet}.0 onlink" not in routes(node)
    assert len(neighbours(node)) == len(fdb(node)) == 1


def test_a_new_node_address_is_followed(lan: Lan) -> None:
    node, other = lan.nodes[0], lan.nodes[1]
    ip("addr", "add", "10.99.0.50/24", "dev", "eth0", namespace=node.namespace)
    item = node.item()
    item["status"]["addresses"][0]["address"] = "10.99.0.50"
    before = mac(node)
    node.tell(nodes=[item, *(rest.item() for rest in others(lan, node))], reconcile=True)
    assert mac(node) == before
    assert node.json("link", "show", "flannel.1")[0]["linkinfo"]["info_data"]["local"] == "10.99.0.50"
    assert node.annotations["podnet.kubeproof.dev/public-ip"] == "10.99.0.50"
    assert other.tell(nodes=lan.items(), reconcile=True)["changes"] == 1
    assert fdb(other)[mac(node)] == "10.99.0.50"
    assert other.reaches(node)
    ip("addr", "del", "10.99.0.50/24", "dev", "eth0", namespace=node.namespace)


def test_a_stale_bridge_in_use_is_refused_with_a_mend(lan: Lan) -> None:
    node = lan.nodes[0]
    ip("addr", "del", f"{node.subnet}.1/24", "dev", "cni0", namespace=node.namespace)
    ip("addr", "add", "10.99.200.1/24", "dev", "cni0", namespace=node.namespace)
    problem = node.tell(reconcile=True)["problem"]
    assert "vethpod" in problem
    assert "ip link delete cni0" in problem
    ip("link", "set", "vethpod", "nomaster", namespace=node.namespace)
    assert node.tell(reconcile=True)["changes"] == 1
    assert not [link for link in node.json("link", "show") if link["ifname"] == "cni0"]
    ip("link", "del", "vethpod", namespace=node.namespace)
    ip("netns", "del", node.pod_namespace)
    node.add_pod()


def test_an_address_that_no_interface_has(lan: Lan) -> None:
    item = lan.nodes[0].item()
    item["status"]["addresses"][0]["address"] = "10.99.0.200"
    assert "--node-ip" in lan.nodes[0].tell(nodes=[item], reconcile=True)["problem"]


def _comes_back(file: Path, text: str) -> None:
    """podnet looks at its files each second, well before the round that comes after ten anyway."""
    eventually(lambda: file.exists() and file.read_text() == text, seconds=5)


def test_the_running_agent_mends_within_two_seconds(lan: Lan) -> None:
    node, other = lan.nodes[0], lan.nodes[1]
    before = state(node)
    node.tell(run=True)
    eventually((node.directory / "ready").exists)
    for damage in (
        f"ip route del {other.subnet}.0/24",
        f"ip neigh del {other.subnet}.0 dev flannel.1",
        f"ip neigh replace {other.subnet}.0 lladdr 02:00:00:00:00:01 dev flannel.1",
        f"bridge fdb del {mac(other)} dst {other.address} dev flannel.1 self",
        f"bridge fdb replace {mac(other)} dst 10.99.0.77 dev flannel.1 self",
        "iptables -D FORWARD 1",
        "iptables -t nat -D POSTROUTING 1",
        "ip link del flannel.1",
    ):
        node.shell(*damage.split())
        eventually(lambda: "flannel.1" in str(node.json("link", "show")) and state(node) == before, seconds=2)
    for file in (node.directory / "subnet.env", *(node.directory / "net.d").iterdir()):
        text = file.read_text()
        file.unlink()
        _comes_back(file, text)
        file.write_text("")
        _comes_back(file, text)
    eventually(lambda: node.reaches(other))
    gone = [item for item in lan.items() if item["metadata"]["name"] != "three"]
    node.tell(nodes=gone)
    eventually(lambda: len(routes(node)) == 1, seconds=2)
    node.stop()
    assert node.reaches(other)
    node.start()
