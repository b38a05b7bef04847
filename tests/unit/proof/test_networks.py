"""Every check of every pod network holds on a good state of it, and fails on each mutation that matters."""

from collections.abc import Callable
from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest

from kubeproof.config.tables.version_traits import PROXY_MODES
from kubeproof.networks.registry import NETWORKS
from kubeproof.proof.checks import ALL_CHECKS, BY_ASPECT, EVERY, by_name, held_to, run_all
from kubeproof.proof.probe import judged
from kubeproof.proof.probes import Matrix
from kubeproof.proof.report import cni_line
from kubeproof.rules.result import Status
from kubeproof.state.iptables import parse_iptables_save
from kubeproof.state.model import Address, Link, Route
from kubeproof.state.node import NodeState
from kubeproof.state.verdict import Packet, verdict
from tests.unit.proof import good, networks, test_probes, test_proxies
from tests.unit.proof.networks import FELIX_FORWARD, KUBE_FORWARD, link_name
from tests.unit.proof.test_checks import IN_API, ON_NODE_B, Change, in_pod, less, link, more, without_link

BY_NETWORK = {
    (network.name, backend.name): held_to(backend) for network in NETWORKS.values() for backend in network.backends
}
OTHERS = [network for network in BY_NETWORK if network[0] != "podnet"]
CASES = [
    pytest.param(*network, check, id=f"{'-'.join(network)}-{check.id}")
    for network in OTHERS
    for check in BY_NETWORK[network]
]
LINK = link_name("node-b", 2)
POD = IPv4Network("10.98.1.2/32")
KUBE_POSTROUTING = '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING\n'
TO_C = Route(good.subnet("node-c"), "eth9", via=good.address("node-c"))


def rules(cni: str, *changes: tuple[str, str]) -> Change:
    return lambda state: replace(state, iptables=networks.rules(state.name, cni, *changes))


ON_CANAL: list[tuple[str, Change, str]] = [
    ("no-bridge", more("links", Link(50, "cni0", "", 1450, "DOWN", kind="bridge")), "cni0 of kind bridge"),
    ("calico-links", link(LINK, name="veth7"), "veth veth7"),
    ("calico-links", link(LINK, flags=frozenset()), "down"),
    ("calico-links", link(LINK, master="docker0"), "in docker0"),
    ("calico-links", without_link(LINK), "no eth0 with an end on the node"),
    (
        "cni-mtu",
        in_pod("web-b2", links=(Link(2, "eth0", "", 1500, "UP", good.UP, kind="veth", peer_index=12),)),
        "1500",
    ),
    ("routes-to-pods", less("routes", lambda r: r.destination == POD), f"missing: {POD} dev {LINK}"),
    ("routes-to-pods", more("routes", Route(good.subnet("node-b"), "cni0")), "not expected: 10.98.1.0/24 dev cni0"),
    ("routes-to-pods", more("routes", Route(IPv4Network("10.98.1.9/32"), "cali00000000000")), "10.98.1.9/32"),
    ("pod-single-addresses", in_pod("web-b2", addresses=()), "no address on eth0"),
    (
        "pod-single-addresses",
        in_pod("web-b2", addresses=(Address("eth0", IPv4Interface("10.98.1.2/24"), "global"),)),
        "found 10.98.1.2/24",
    ),
    ("pod-link-local-gateways", in_pod("web-b3", routes=()), "missing: 0.0.0.0/0 via 169.254.1.1 dev eth0"),
    (
        "pod-link-local-gateways",
        in_pod("web-b3", routes=(Route(IPv4Network("0.0.0.0/0"), "eth0", via=IPv4Address("10.98.1.1")),)),
        "not expected: 0.0.0.0/0 via 10.98.1.1",
    ),
    ("felix-chains", rules("canal", (FELIX_FORWARD, "")), "missing: FORWARD -> cali-FORWARD"),
    ("felix-chains", rules("canal", (f"-A cali-to-wl-dispatch -o {LINK} -g cali-tw-{LINK}\n", "")), f"cali-tw-{LINK}"),
    ("felix-chains", rules("canal", ("-A cali-FORWARD -i cali+ -j cali-from-wl-dispatch\n", "")), f"cali-fw-{LINK}"),
    ("felix-first", rules("canal", (FELIX_FORWARD, "")), "no jump to cali-FORWARD"),
    (
        "felix-first",
        rules("canal", (FELIX_FORWARD, ""), ("-A FLANNEL-FWD -s", f"{FELIX_FORWARD}-A FLANNEL-FWD -s")),
        "before it: -A FLANNEL-FWD -s 10.98.0.0/16 -j ACCEPT",
    ),
    (
        "felix-first",
        rules("canal", (FELIX_FORWARD, f"-A FORWARD -s 10.0.0.0/8 -j ACCEPT\n{FELIX_FORWARD}")),
        "before it: -A FORWARD -s 10.0.0.0/8 -j ACCEPT",
    ),
    ("forward-verdicts", rules("canal", ("-j FLANNEL-FWD\n", "-j DOCKER-USER\n")), "no rule accepts it"),
    ("flannel-device", without_link("flannel.1"), "there is no link flannel.1"),
    ("routes-to-other-nodes", less("routes", lambda r: r.device == "flannel.1"), "missing: 10.98.2.0/24 via"),
]
ON_FLANNEL: list[tuple[str, Change, str]] = [
    (
        "forward-verdicts",
        rules("flannel", ("-A FLANNEL-FWD -d 10.98.0.0/16", "-A FLANNEL-FWD -d 10.9.0.0/16")),
        "no rule",
    ),
    (
        "forward-verdicts",
        rules("flannel", (KUBE_FORWARD, f"{KUBE_FORWARD}-A FORWARD -i cni0 -j REJECT\n")),
        "refused by -A FORWARD -i cni0 -j REJECT",
    ),
    (
        "postrouting-verdicts",
        rules(
            "flannel", ("-A FLANNEL-POSTRTG -s SUBNET -d 10.98.0.0/16", "-A FLANNEL-POSTRTG -s SUBNET -d 10.9.0.0/16")
        ),
        "pod to a pod of another node: masqueraded",
    ),
    ("postrouting-verdicts", rules("flannel", ('masq" -j FLANNEL-POSTRTG', 'masq" -j DOCKER')), "unchanged"),
    (
        "postrouting-verdicts",
        rules(
            "flannel",
            (
                '-A POSTROUTING -m comment --comment "kube',
                '-A POSTROUTING -o flannel.1 -j MASQUERADE\n-A POSTROUTING -m comment --comment "kube',
            ),
        ),
        "masqueraded",
    ),
    ("cni-mtu", link("cni0", mtu=1500), "1500"),
]
ON_HOST_GW: list[tuple[str, Change, str]] = [
    ("no-tunnel", more("links", Link(60, "flannel.1", "", 1450, "UP", good.UP, kind="vxlan")), "flannel.1"),
    ("routes-by-nodes", less("routes", lambda r: r == TO_C), "missing: 10.98.2.0/24 via 10.99.0.13 dev eth9"),
    ("routes-by-nodes", more("routes", replace(TO_C, via=IPv4Address("10.99.0.99"))), "via 10.99.0.99"),
    (
        "routes-by-nodes",
        more("routes", Route(IPv4Network("10.98.9.0/24"), "eth9", via=good.address("node-c"))),
        "10.98.9.0",
    ),
    ("cni-mtu", link("cni0", mtu=1450), "1450"),
    (
        "postrouting-verdicts",
        rules("flannel", (KUBE_POSTROUTING, f"-A POSTROUTING -o eth9 -j MASQUERADE\n{KUBE_POSTROUTING}")),
        "pod to a pod of another node: masqueraded",
    ),
    ("route-to-own-pods", less("routes", lambda r: r.device == "cni0"), "missing: 10.98.1.0/24 dev cni0"),
]
C_BLOCK, B_BLOCK = networks.blocks("node-c")[0], networks.blocks("node-b")[1]
ON_CALICO: list[tuple[str, Change, str]] = [
    ("routes-to-blocks", less("routes", lambda r: r.destination == C_BLOCK), f"missing: {C_BLOCK} via"),
    ("routes-to-blocks", less("routes", lambda r: r.destination == B_BLOCK), f"missing: blackhole {B_BLOCK}"),
    ("routes-to-blocks", more("routes", Route(IPv4Network("10.98.9.0/26"), "eth9", via=good.address("node-c"))), "9.0"),
    ("routes-to-pods", less("routes", lambda r: r.destination == POD), f"missing: {POD} dev {LINK}"),
    ("routes-to-pods", more("routes", Route(IPv4Network("10.98.1.9/32"), "cali00000000000")), "10.98.1.9/32"),
    ("pod-single-addresses", in_pod("web-b2", addresses=()), "no address on eth0"),
    ("forward-verdicts", rules("calico", (networks.FELIX_ACCEPTS, "")), "no rule accepts it"),
    (
        "felix-first",
        rules("calico", (FELIX_FORWARD, ""), (KUBE_FORWARD, KUBE_FORWARD + FELIX_FORWARD)),
        "before cali-FORWARD: KUBE-FORWARD",
    ),
    ("postrouting-verdicts", rules("calico", (networks.FELIX_MASQUERADES, "")), "pod to elsewhere: unchanged"),
]
ON_CALICO_VXLAN: list[tuple[str, Change, str]] = [
    ("flannel-device", without_link("vxlan.calico"), "there is no link vxlan.calico"),
    ("flannel-address", less("addresses", lambda a: a.device == "vxlan.calico"), "no IPv4 address"),
    ("arp-entries", less("neighbours", lambda n: n.device == "vxlan.calico"), "missing: 10.98.0.1 lladdr"),
    ("cni-mtu", link("vxlan.calico", mtu=1500), "vxlan.calico takes 1500"),
]
ON_CALICO_IPIP: list[tuple[str, Change, str]] = [
    ("ipip-device", link("tunl0", flags=frozenset()), "ipip, down"),
    ("flannel-address", less("addresses", lambda a: a.device == "tunl0"), "no IPv4 address"),
    ("cni-mtu", link("tunl0", mtu=1500), "tunl0 takes 1500"),
]
ON_UDP: list[tuple[str, Change, str]] = [
    ("tun-device", without_link("flannel0"), "there is no link flannel0"),
    ("tun-device", link("flannel0", kind="dummy"), "dummy, up"),
    ("flannel-address", less("addresses", lambda a: a.device == "flannel0"), "no IPv4 address"),
    ("route-to-flanneld", less("routes", lambda r: r.device == "flannel0"), "missing: 10.98.0.0/16 dev flannel0"),
    ("route-to-flanneld", more("routes", TO_C), "not expected: 10.98.2.0/24 via 10.99.0.13"),
    ("cni-mtu", link("flannel0", mtu=1500), "flannel0 takes 1500"),
]
MUTATIONS = [
    pytest.param(*network, name, change, words, id=f"{'-'.join(network)}-{name}-{number}")
    for network, cases in (
        (("canal", "vxlan"), ON_CANAL),
        (("flannel", "vxlan"), ON_FLANNEL),
        (("flannel", "host-gw"), ON_HOST_GW),
        (("flannel", "udp"), ON_UDP),
        (("calico", "vxlan"), [*ON_CALICO, *ON_CALICO_VXLAN]),
        (("calico", "ipip"), [*ON_CALICO, *ON_CALICO_IPIP]),
        (("calico", "none"), ON_CALICO),
    )
    for number, (name, change, words) in enumerate(cases)
]


@pytest.mark.parametrize("node", good.NAMES)
@pytest.mark.parametrize(("cni", "backend", "check"), CASES)
def test_holds_on_a_good_state(cni: str, backend: str, check: Any, node: str) -> None:
    result = check.check(networks.context(node, cni, backend))
    assert result.ok, f"expected {result.expected}\nfound {result.found}"


@pytest.mark.parametrize(("cni", "backend", "name", "change", "words"), MUTATIONS)
def test_fails_when_the_node_is_otherwise(
    cni: str, backend: str, name: str, change: Callable[[NodeState], NodeState], words: str
) -> None:
    here = change(networks.state("node-b", cni, backend))
    assert by_name(name) in BY_NETWORK[cni, backend]
    result = by_name(name).check(networks.context("node-b", cni, backend, here=here))
    assert result.status is Status.FAILS
    assert words in f"{result.expected}\n{result.found}", result


def test_every_check_was_seen_failing() -> None:
    seen = [*ON_NODE_B, *IN_API, *ON_CANAL, *ON_FLANNEL, *ON_HOST_GW, *ON_UDP, *ON_CALICO, *ON_CALICO_IPIP]
    assert {check.id for check in ALL_CHECKS} == {name for name, *_ in [*seen, *test_proxies.ON_NODE_B]}


@pytest.mark.parametrize(("cni", "backend", "check"), CASES)
def test_what_cannot_be_read_holds_for_nobody(cni: str, backend: str, check: Any) -> None:
    blind = NodeState("node-b", unreadable=dict.fromkeys((item.name for item in fields(NodeState)), "no such program"))
    result = check.check(networks.context("node-b", cni, backend, here=blind, objects="no API"))
    assert result.status is Status.FAILS


def test_each_network_fails_the_checks_of_the_others() -> None:
    """A table that names the wrong checks would be seen."""
    for cni, backend in OTHERS:
        others = [check for network, checks in BY_NETWORK.items() if network != (cni, backend) for check in checks]
        foreign = [check for check in others if check not in BY_NETWORK[cni, backend]]
        failing = [check for check in foreign if not check.check(networks.context("node-b", cni, backend)).ok]
        assert failing, (cni, backend)


def test_only_the_networks_own_checks_are_run() -> None:
    for cni, backend in OTHERS:
        results = run_all([networks.context("node-b", cni, backend)])
        assert [result.name for result in results] == [check.id for check in BY_NETWORK[cni, backend]]
        assert all(result.ok for result in results)


def test_every_aspect_has_checks_and_every_check_a_network() -> None:
    of_networks = {aspect for network in NETWORKS.values() for item in network.backends for aspect in item.aspects}
    of_proxies = {f"proxy-{mode}" for mode in PROXY_MODES}
    assert {EVERY, *of_networks, *of_proxies} == {aspect for aspect, _ in BY_ASPECT}


def test_another_vni_and_interface() -> None:
    """flannel names its link after the VNI; the interface of the settings carries the tunnel."""
    other = IPv4Address("192.168.7.2")

    def changed(state: NodeState) -> NodeState:
        moved = more("links", Link(70, "eth1", "", 1400, "UP", good.UP))(state)
        moved = more("addresses", Address("eth1", IPv4Interface("192.168.7.2/24"), "global"))(moved)
        device = moved.network.link("flannel.1")
        assert device
        assert device.vxlan
        tunnel = replace(device.vxlan, vni=7, underlay="eth1", local=other)
        moved = link("flannel.1", name="flannel.7", mtu=1350, vxlan=tunnel)(moved)
        addresses = tuple(
            replace(item, device="flannel.7") if item.device == "flannel.1" else item
            for item in moved.network.addresses
        )
        return replace(moved, network=replace(moved.network, addresses=addresses))

    here = changed(networks.state("node-b", "flannel", "vxlan"))
    settings = {"vxlan_vni": 7, "cni_interface": "eth1"}
    context = networks.context("node-b", "flannel", "vxlan", here=here, settings=settings)
    for name in ("flannel-device", "flannel-address"):
        result = by_name(name).check(context)
        assert result.ok, result
    result = by_name("cni-mtu").check(context)
    assert result.expected.startswith("flannel.7 takes 1350\n")
    assert "flannel.7" not in result.found
    unnamed = networks.context("node-b", "flannel", "vxlan", settings={"cni_interface": ""})
    assert by_name("flannel-device").check(unnamed).ok
    missing = networks.context("node-b", "flannel", "vxlan", settings={"cni_interface": "eth5"})
    result = by_name("flannel-device").check(missing)
    assert "there is no interface eth5" in result.found


def test_smaller_packets_of_pods() -> None:
    here = link("cni0", mtu=1400)(networks.state("node-b", "flannel", "vxlan"))
    context = networks.context("node-b", "flannel", "vxlan", here=here, settings={"cni_mtu": 1400})
    assert by_name("cni-mtu").check(context).ok
    assert not by_name("cni-mtu").check(networks.context("node-b", "flannel", "vxlan", here=here)).ok


@pytest.mark.parametrize(
    ("packet", "decided"),
    [
        (Packet(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), "cali1"), "-A A -i cali+ -j ACCEPT"),
        (Packet(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), "eth0"), None),
        (Packet(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"), "eth1"), "-A D -j DROP"),
        (Packet(IPv4Address("10.0.0.9"), IPv4Address("10.0.0.2"), "eth2"), "-A C --mark 0x1/0x1 -j ACCEPT"),
    ],
)
def test_what_rules_decide(packet: Packet, decided: str | None) -> None:
    text = """*filter
:A - [0:0]
:B - [0:0]
:C - [0:0]
:D - [0:0]
:E - [0:0]
-A A -m set --match-set x src -j DROP
-A A -p udp -j DROP
-A A -i cali+ -j ACCEPT
-A A -i eth0 -j B
-A A -s 10.0.0.9/32 -j MARK --set-xmark 0x1/0x1
-A A -i eth2 -j C
-A A -i eth1 -j D
-A B ! -s 10.0.0.9/32 -g E
-A B -j DROP
-A C -m mark --mark 0x1/0x1 -j ACCEPT
-A D -j DROP
-A E -j RETURN
COMMIT
"""
    ruleset = parse_iptables_save(text)
    found = verdict(ruleset, "filter", ruleset.rules("filter", "A"), packet)
    assert (str(found) if found else None) == decided


def test_a_loop_of_jumps_ends() -> None:
    ruleset = parse_iptables_save("*filter\n:A - [0:0]\n-A A -j A\nCOMMIT\n")
    packet = Packet(IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2"))
    assert verdict(ruleset, "filter", ruleset.rules("filter", "A"), packet) is None


@pytest.mark.parametrize(
    ("cni", "backend", "words"),
    [
        ("podnet", "vxlan", "podnet, this project's own pod network, not flannel; it enforces NetworkPolicy"),
        ("flannel", "host-gw", "flannel, by host-gw; it enforces no NetworkPolicy: policies are accepted and have no"),
        ("canal", "vxlan", "Canal, flannel by vxlan with Calico's policies; it enforces NetworkPolicy"),
        ("calico", "ipip", "Calico, by ipip; it enforces NetworkPolicy"),
    ],
)
def test_what_is_said_of_the_network(cni: str, backend: str, words: str) -> None:
    assert words in cni_line(good.cluster(**networks.settings(cni, backend)))


@pytest.mark.parametrize("backend", ["vxlan", "ipip"])
def test_within_a_subnet_calico_can_route(backend: str) -> None:
    """CrossSubnet: as without a tunnel, but for nodes that are in another subnet."""
    wanted = {"settings": {"cni_cross_subnet": True}}
    wrapped = networks.state("node-b", "calico", backend)
    plain = networks.state("node-b", "calico", "none")
    near = replace(wrapped, network=replace(wrapped.network, routes=plain.network.routes))
    check = by_name("routes-to-blocks")
    assert check.check(networks.context("node-b", "calico", backend, here=near, **wanted)).ok
    assert not check.check(networks.context("node-b", "calico", backend, here=wrapped, **wanted)).ok
    narrow = tuple(
        replace(item, interface=IPv4Interface((item.ip, 32))) if item.device == "eth9" else item
        for item in wrapped.network.addresses
    )
    far = replace(wrapped, network=replace(wrapped.network, addresses=narrow))
    assert check.check(networks.context("node-b", "calico", backend, here=far, **wanted)).ok


def test_pods_that_the_network_outside_is_to_know() -> None:
    bare = networks.rules("node-b", "calico", (networks.FELIX_MASQUERADES, ""))
    here = replace(networks.state("node-b", "calico", "none"), iptables=bare)
    settings = {"cni_nat_outgoing": False}
    assert (
        by_name("postrouting-verdicts")
        .check(networks.context("node-b", "calico", "none", here=here, settings=settings))
        .ok
    )


def planned(cni: str, backend: str) -> Matrix:
    states = {name: networks.state(name, cni, backend) for name in good.NAMES}
    known = networks.api(cni)
    objects = replace(test_probes.demo(), nodes=known.nodes, blocks=known.blocks)
    loaded = good.loaded(**networks.settings(cni, backend))
    return test_probes.planned(loaded=loaded, states=states, objects=objects)


def test_no_capture_where_no_packet_is_wrapped() -> None:
    matrix = planned("flannel", "host-gw")
    assert not [probe for probe in matrix.probes if probe.name == "packet-on-the-wire"]
    reasons = {row.found: row.status for row in matrix.not_run if row.name == "packet-on-the-wire"}
    assert reasons == {"host-gw wraps no packet in VXLAN: the routes and the other rows show its way": Status.NOT_RUN}
    assert [probe for probe in planned("canal", "vxlan").probes if probe.name == "packet-on-the-wire"]


@pytest.mark.parametrize(
    ("cni", "backend", "label", "seen"),
    [
        ("flannel", "vxlan", "node-b to web-b2", "10.98.1.1"),
        ("flannel", "vxlan", "node-b to web-c2", "10.98.1.0"),
        ("flannel", "host-gw", "node-b to web-b2", "10.98.1.1"),
        ("flannel", "host-gw", "node-b to web-c2", "10.99.0.12"),
        ("flannel", "udp", "node-b to web-c2", "10.98.1.0"),
        ("canal", "vxlan", "node-b to web-b2", "10.99.0.12 or 172.17.0.1 or 10.98.1.0"),
        ("canal", "vxlan", "node-b to web-c2", "10.98.1.0"),
        ("calico", "vxlan", "node-b to web-c2", "10.98.1.1"),
        ("calico", "ipip", "node-b to web-c2", "10.98.1.1"),
        ("calico", "none", "node-b to web-c2", "10.99.0.12"),
    ],
)
def test_what_a_pod_sees_of_a_node(cni: str, backend: str, label: str, seen: str) -> None:
    probe = test_probes.find("node-to-pod", label, planned(cni, backend))
    assert f" sees {seen} with " in probe.expected


@pytest.mark.parametrize(
    ("label", "client", "port", "holds"),
    [
        # As seen with flannel v0.20.2: masqueraded with --random-fully, by rules of the node.
        ("node-b to web-c2", "10.99.0.12", 2811, True),
        ("node-b to web-c2", "10.99.0.13", 2811, False),
        ("node-b to web-b2", "10.98.1.1", 2811, False),
        ("node-b to web-b2", "10.98.1.1", 40000, True),
    ],
)
def test_with_host_gw_a_node_is_masqueraded_to_other_nodes_pods(
    label: str, client: str, port: int, holds: bool
) -> None:
    probe = test_probes.find("node-to-pod", label, planned("flannel", "host-gw"))
    node = {"web-b2": "node-b", "web-c2": "node-c"}[label.split()[-1]]
    ip = {"web-b2": "10.98.1.2", "web-c2": "10.98.2.2"}[label.split()[-1]]
    got = test_probes.whoami(label.split()[-1], ip, client, port=port, node=node, local=client)
    assert (judged(probe, got).status is Status.HOLDS) is holds


def test_without_the_rule_the_port_has_to_be_the_clients_own() -> None:
    """flannel without --ip-masq has no such rules."""
    states = {name: networks.state(name, "flannel", "host-gw") for name in good.NAMES}
    bare = networks.rules("node-b", "flannel", ("-j FLANNEL-POSTRTG", "-j DOCKER-USER"))
    states["node-b"] = replace(states["node-b"], iptables=bare)
    matrix = test_probes.planned(loaded=good.loaded(**networks.settings("flannel", "host-gw")), states=states)
    assert "with the client's own port" in test_probes.find("node-to-pod", "node-b to web-c2", matrix).expected
    assert "with any port" in test_probes.find("node-to-pod", "node-a to web-c2", matrix).expected


def test_packets_are_as_large_as_the_network_lets_them() -> None:
    for cni, backend, mtu in (("flannel", "vxlan", 1450), ("flannel", "host-gw", 1500), ("canal", "vxlan", 1450)):
        probe = test_probes.find("path-mtu", matrix=planned(cni, backend))
        assert probe.expected == f"packets of {mtu} bytes pass, {mtu + 1} bytes are refused as too long"
