"""podnet's plan, differences and rules as pure functions."""

import struct
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.podnet.__main__ import read_config
from agents.podnet.differences import (
    Bridge,
    CreateDevice,
    DeleteLink,
    Device,
    FdbEntry,
    Neighbour,
    Observed,
    Set,
    SetMtu,
    differences,
    stale_bridge,
)
from agents.podnet.events import HEADER, messages, table_of
from agents.podnet.files import Files, files_before_ours, write_if_changed, wrong_sysctls
from agents.podnet.nodes import Node, read_node
from agents.podnet.plan import Config, Plan, PodnetError, Underlay, make_plan
from agents.podnet.rules import earlier_rules, mend, restore_text, stale_returns

CONFIG = Config("one", IPv4Network("10.244.0.0/16"), 1, 8472)
UNDERLAY = Underlay(2, "host0", IPv4Address("192.168.200.11"), 1500)


def node(name: str, number: int, **changes: Any) -> Node:
    address = IPv4Address("192.168.200.11") + number
    subnet = IPv4Network(f"10.244.{number}.0/24")
    return replace(Node(name, address, subnet, address, f"02:00:00:00:00:0{number}"), **changes)


NODES = {item.name: item for item in (node("one", 0), node("two", 1), node("three", 2))}


def planned(nodes: dict[str, Node] = NODES) -> Plan:
    return make_plan(CONFIG, nodes, UNDERLAY)


def as_planned(plan: Plan) -> Device:
    return Device(
        vxlan=plan.vxlan,
        mac="02:00:00:00:00:00",
        mtu=plan.mtu,
        up=True,
        addresses=frozenset({plan.address}),
        routes=plan.routes,
        neighbours=frozenset(Neighbour(*entry) for entry in plan.neighbours.items()),
        fdb=frozenset(FdbEntry(*entry) for entry in plan.fdb.items()),
    )


def test_plan() -> None:
    plan = planned()
    assert plan.mtu == 1450
    assert plan.address == IPv4Interface("10.244.0.0/32")
    assert {str(route.destination): str(route.gateway) for route in plan.routes} == {
        "10.244.1.0/24": "10.244.1.0",
        "10.244.2.0/24": "10.244.2.0",
    }
    assert plan.neighbours[IPv4Address("10.244.1.0")] == "02:00:00:00:00:01"
    assert plan.fdb["02:00:00:00:00:02"] == IPv4Address("192.168.200.13")
    assert plan.skipped == ()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"vtep_mac": None}, "until"),
        ({"public_ip": None}, "until"),
        ({"pod_cidr": None}, "until"),
        ({"pod_cidr": IPv4Network("10.9.0.0/24")}, "not part of"),
        ({"pod_cidr": IPv4Network("10.244.0.0/24")}, "overlaps"),
        ({"pod_cidr": IPv4Network("10.244.2.0/24")}, "cloned"),
        ({"vtep_mac": "02:00:00:00:00:02"}, "cloned"),
    ],
)
def test_a_node_that_cannot_be_reached_is_left_out_with_a_reason(changes: dict[str, Any], reason: str) -> None:
    plan = planned({**NODES, "two": node("two", 1, **changes)})
    assert len(plan.routes) == len(plan.fdb) == len(plan.neighbours) == 1
    assert len(plan.skipped) == 1
    assert reason in plan.skipped[0]


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"pod_cidr": None}, "--allocate-node-cidrs"),
        ({"pod_cidr": IPv4Network("10.9.0.0/24")}, "podSubnet"),
    ],
)
def test_own_node_without_a_usable_pod_cidr(changes: dict[str, Any], advice: str) -> None:
    with pytest.raises(PodnetError, match=advice):
        planned({"one": node("one", 0, **changes)})


@given(st.lists(st.tuples(st.integers(0, 63), st.integers(22, 32), st.integers(0, 20)), max_size=30))
def test_peers_that_are_left_out_are_those_that_meet_one_before(found: list[tuple[int, int, int]]) -> None:
    nodes = {
        name: node(name, 0, pod_cidr=IPv4Network((0x0AF41000 + part * 8, prefix), strict=False), vtep_mac=mac)
        for number, (part, prefix, last) in enumerate(found)
        for name, mac in [(f"n{number:02}", f"02:00:00:00:01:{last:02x}")]
    }
    kept: dict[str, Node] = {}
    expected = []
    for name, other in nodes.items():
        assert other.pod_cidr is not None
        clashes = [
            before
            for before, peer in kept.items()
            if peer.vtep_mac == other.vtep_mac or (peer.pod_cidr is not None and peer.pod_cidr.overlaps(other.pod_cidr))
        ]
        if clashes:
            expected.append((name, clashes[0]))
        else:
            kept[name] = other
    plan = planned({"one": NODES["one"], **nodes})
    assert {route.destination for route in plan.routes} == {peer.pod_cidr for peer in kept.values()}
    told = [line.split("; ")[0] for line in plan.skipped]
    assert told == [f"node {name} is left out: it has the podCIDR or VTEP MAC of {first}" for name, first in expected]


def test_own_node_missing() -> None:
    with pytest.raises(PodnetError, match="no Node object"):
        planned({})


def test_read_node() -> None:
    item = {
        "metadata": {
            "name": "one",
            "annotations": {
                "podnet.kubeproof.dev/vtep-mac": "02:00:00:00:00:00",
                "podnet.kubeproof.dev/public-ip": "x",
            },
        },
        "spec": {"podCIDR": "10.244.0.0/24", "podCIDRs": ["fd00::/64", "10.244.0.0/24"]},
        "status": {
            "addresses": [
                {"type": "Hostname", "address": "one"},
                {"type": "InternalIP", "address": "fd00::1"},
                {"type": "InternalIP", "address": "192.168.200.11"},
            ]
        },
    }
    assert read_node(item) == node("one", 0, public_ip=None)
    assert read_node({"metadata": {"name": "new"}}) == Node("new")


def test_nothing_to_do() -> None:
    assert differences(planned(), Observed(as_planned(planned()))) == []


def test_from_nothing_the_device_comes_first_and_routes_last() -> None:
    actions = differences(planned(), Observed())
    assert isinstance(actions[0], CreateDevice)
    assert [type(action) for action in actions[-2:]] == [Set, Set]


def test_actions_read_as_sentences() -> None:
    assert [str(action) for action in differences(planned({"one": NODES["one"], "two": NODES["two"]}), Observed())] == [
        "create flannel.1: VNI 1, UDP 8472, local 192.168.200.11, MTU 1450",
        "set address 10.244.0.0/32 of flannel.1",
        "set flannel.1 up",
        "set FDB entry 02:00:00:00:00:01 dst 192.168.200.12",
        "set ARP entry 10.244.1.0 is at 02:00:00:00:00:01",
        "set route 10.244.1.0/24 via 10.244.1.0 dev flannel.1",
    ]


def test_a_device_made_for_another_vni_is_replaced_and_the_reason_is_told() -> None:
    plan = planned()
    device = replace(as_planned(plan), vxlan=replace(plan.vxlan, vni=7))
    assert str(differences(plan, Observed(device))[0]) == "delete flannel.1: vni is 7, not 1"


def test_another_mtu_is_set_in_place() -> None:
    device = replace(as_planned(planned()), mtu=1400)
    assert differences(planned(), Observed(device)) == [SetMtu(1450)]


def test_a_device_of_another_kind_is_replaced() -> None:
    actions = differences(planned(), Observed(replace(as_planned(planned()), vxlan=None)))
    assert isinstance(actions[0], DeleteLink)
    assert isinstance(actions[1], CreateDevice)


def test_arp_entries_of_the_kernel_stay() -> None:
    device = as_planned(planned())
    own = Neighbour(IPv4Address("224.0.0.22"), "01:00:5e:00:00:16", permanent=False)
    assert differences(planned(), Observed(replace(device, neighbours=device.neighbours | {own}))) == []


def test_stale_bridge() -> None:
    plan = planned()
    stale = frozenset({IPv4Interface("10.244.7.1/24")})
    assert stale_bridge(plan, None) == []
    assert stale_bridge(plan, Bridge(frozenset({plan.gateway}), ("veth1",))) == []
    assert stale_bridge(plan, Bridge(frozenset())) == []
    assert stale_bridge(plan, Bridge(stale)) == [DeleteLink("cni0")]
    with pytest.raises(PodnetError, match=r"10.244.7.1/24.*veth1.*ip link delete cni0"):
        stale_bridge(plan, Bridge(stale, ("veth1",)))


WANTED = planned().postrouting_rules
OTHERS = ["-A POSTROUTING -j KUBE-POSTROUTING", "-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE"]


def after(present: list[str], lines: list[str]) -> list[str]:
    """What iptables-restore would leave."""
    result = list(present)
    for line in lines:
        if line.startswith("-D "):
            result.remove(line.replace("-D ", "-A ", 1))
        else:
            result.append(line)
    return result


@given(st.lists(st.sampled_from([*WANTED, *OTHERS]), max_size=10))
def test_mend_leaves_ours_once_in_order_and_others_alone(present: list[str]) -> None:
    result = after(present, mend(present, WANTED))
    assert [line for line in result if line in WANTED] == list(WANTED)
    assert [line for line in result if line in OTHERS] == [line for line in present if line in OTHERS]
    assert mend(result, WANTED) == []


@pytest.mark.parametrize("order", list(permutations(range(4)))[1:])
def test_wrong_order_is_mended(order: tuple[int, ...]) -> None:
    assert mend([WANTED[index] for index in order], WANTED)


def test_rules_of_an_earlier_subnet_env_are_stale() -> None:
    text = "FLANNEL_NETWORK=10.42.0.0/16\nFLANNEL_SUBNET=10.42.3.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"
    forward, postrouting = earlier_rules(text)
    assert forward == ("-A FORWARD -s 10.42.0.0/16 -j ACCEPT", "-A FORWARD -d 10.42.0.0/16 -j ACCEPT")
    assert "-A POSTROUTING ! -s 10.42.0.0/16 -d 10.42.3.0/24 -j RETURN" in postrouting
    assert mend(postrouting, WANTED, postrouting)[:4] == [line.replace("-A", "-D", 1) for line in postrouting]
    assert earlier_rules("") == earlier_rules("FLANNEL_NETWORK=x\nFLANNEL_SUBNET=y\n") == ((), ())


def test_return_rules_of_another_subnet_are_stale() -> None:
    stale = "-A POSTROUTING ! -s 10.244.0.0/16 -d 10.244.9.0/24 -j RETURN"
    foreign = "-A POSTROUTING ! -s 10.244.0.0/16 -d 192.168.0.0/24 -j RETURN"
    present = [*WANTED, stale, foreign, "-A POSTROUTING ! -s 10.244.0.0/16 -d x -j RETURN"]
    assert stale_returns(present, CONFIG.pod_cidr, IPv4Network("10.244.0.0/24")) == (stale,)


def test_restore_text() -> None:
    assert restore_text("nat", ["-A X -j Y"]) == "*nat\n-A X -j Y\nCOMMIT\n"


def test_write_if_changed(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "subnet.env"
    assert write_if_changed(path, "a\n")
    assert not write_if_changed(path, "a\n")
    assert write_if_changed(path, "b\n")
    assert [(entry.name, entry.read_text()) for entry in path.parent.iterdir()] == [("subnet.env", "b\n")]
    assert path.stat().st_mode & 0o777 == 0o644


def test_cni_configurations_that_win(tmp_path: Path) -> None:
    files = Files(cni_directory=tmp_path)
    for name in ("10-flannel.conflist", "10-podnet.conflist", "05-x.conf", "00-readme.txt", "99-loopback.conf"):
        (tmp_path / name).touch()
    assert files_before_ours(files) == ["05-x.conf", "10-flannel.conflist"]


def test_sysctls(tmp_path: Path) -> None:
    (tmp_path / "net/ipv4").mkdir(parents=True)
    (tmp_path / "net/ipv4/ip_forward").write_text("0\n")
    first, second, *others = wrong_sysctls(Files(sysctls=tmp_path))
    assert "net.ipv4.ip_forward is 0" in first
    assert "bridge-nf-call-iptables is missing" in second
    assert len(others) == 2


def test_messages_of_the_kernel() -> None:
    def message(kind: int, payload: bytes = b"") -> bytes:
        padded = payload + bytes(-len(payload) % 4)
        return HEADER.pack(HEADER.size + len(payload), kind, 0, 0, 0) + padded

    assert list(messages(message(16, b"abc") + message(25))) == [(16, b"abc"), (25, b"")]
    assert list(messages(b"\0" * 40)) == []


def test_table_that_a_message_is_about() -> None:
    def attribute(kind: int, value: bytes) -> bytes:
        return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)

    head = b"\x01\0\0\0"
    assert (
        table_of(head + attribute(2, b"egress\0") + attribute(1, b"podnet\0") + attribute(1, b"filter\0")) == "podnet"
    )
    assert table_of(head + attribute(2, b"egress\0")) == ""
    assert table_of(head + b"\0" * 8) == ""
    assert table_of(b"") == ""


def test_read_config() -> None:
    environment = {"NODE_NAME": "one", "POD_CIDR": "10.244.0.0/16", "VXLAN_VNI": "1", "VXLAN_PORT": "8472"}
    assert read_config(environment) == CONFIG
    assert read_config({**environment, "NETWORK_POLICY": "enforce"}).enforce
    assert not read_config({**environment, "NETWORK_POLICY": "off"}).enforce
    with pytest.raises(PodnetError, match=r"NETWORK_POLICY is 'no', must be one of: enforce, off"):
        read_config({**environment, "NETWORK_POLICY": "no"})
    with pytest.raises(PodnetError, match=r"(?s)NODE_NAME.*POD_CIDR"):
        read_config({})
    with pytest.raises(PodnetError, match="VXLAN_VNI"):
        read_config({**environment, "VXLAN_VNI": "one"})
