"""Walks through a healthy lab, line by line."""

import pytest

from kubeproof.trace.model import Direction, End, Place
from tests.unit.trace.lab import (
    FAR,
    HTTPD,
    KUARD,
    NODE1,
    NODE2,
    SERVICE,
    asked,
    healthy,
    predicted,
    sent_from,
    steps,
    way,
)

HOOKS = {"prerouting", "input", "forward", "output", "postrouting"}


def without_hooks(lines: list[str]) -> list[str]:
    return [line for line in lines if line.split()[1] not in HOOKS]


def test_a_pod_on_another_node_is_reached_through_the_tunnel_and_answers() -> None:
    walk = way(healthy(), KUARD, FAR, "80")
    assert walk.succeeds
    there = [hop for hop in walk.hops if hop.direction is Direction.FORWARD]
    assert without_hooks(steps(walk))[: len(without_hooks(steps(walk))) // 2] == [
        "node1* route eth0",
        "node1* neighbour eth0",
        "node1 veth veth2d9704a6",
        "node1 bridge cni0",
        "node1 route flannel.1",
        "node1 neighbour flannel.1",
        "node1 fdb flannel.1",
        "node1 encapsulation flannel.1",
        "node1 route host0",
        "node1 neighbour host0",
        "node1 interface host0",
        "node2 interface host0",
        "node2 route host0",
        "node2 decapsulation flannel.1",
        "node2 route cni0",
        "node2 neighbour cni0",
        "node2 bridge veth1377b16a",
        "node2* veth eth0",
        "node2* route eth0",
        "node2* socket",
    ]
    outer = next(hop.outer for hop in there if hop.place is Place.NIC)
    assert str(outer) == "192.168.200.12:? > 192.168.200.13:8472"
    assert {str(hop.packet) for hop in there} == {"10.244.1.46:40000 > 10.244.3.10:80"}
    assert "FORWARD -s 10.244.0.0/16 -j ACCEPT" in next(
        hop.decided_by for hop in there if (hop.node, hop.place) == (NODE1, Place.FORWARD)
    )


def test_a_pod_on_the_same_node_is_reached_by_the_bridge_which_sends_it_through_iptables() -> None:
    walk = way(healthy(), KUARD, HTTPD, "80")
    assert walk.succeeds
    assert [line for line in steps(walk) if line.startswith("node1 ")][:5] == [
        "node1 veth veth2d9704a6",
        "node1 prerouting cni0",
        "node1 forward cni0",
        "node1 postrouting cni0",
        "node1 bridge veth56244007",
    ]


@pytest.mark.parametrize("name", ["httpd-svc", "default/httpd-svc", SERVICE, "httpd-svc.default.svc"])
def test_a_service_leads_to_each_endpoint_with_its_probability_and_answers_by_its_own_address(name: str) -> None:
    prediction = predicted(healthy(), KUARD, name, "8080")
    assert prediction.succeeds
    assert [round(walk.probability, 3) for walk in prediction.walks] == [0.333] * 3
    reached = {str(hop.packet.destination) for walk in prediction.walks for hop in walk.hops if hop.what[:4] == "DNAT"}
    assert reached == {"10.244.1.47", "10.244.3.8", "10.244.3.10"}
    assert {str(walk.hops[-1].packet.source) for walk in prediction.walks} == {SERVICE}
    choosing = next(hop for hop in prediction.walks[0].hops if hop.what.startswith("DNAT"))
    assert (choosing.owner, round(choosing.probability, 3)) == ("kube-proxy", 0.333)


def test_the_only_port_of_a_service_need_not_be_named() -> None:
    assert predicted(healthy(), KUARD, "httpd-svc").start.packet.destination_port == 8080


def test_a_node_port_from_outside_is_translated_twice_and_back() -> None:
    prediction = predicted(healthy(), "outside", f"{NODE1}:33000")
    assert prediction.succeeds
    assert str(prediction.start.packet) == "192.168.200.1:40000 > 192.168.200.12:33000"
    for walk in prediction.walks:
        changes = [hop for hop in walk.hops if hop.what.startswith(("DNAT", "SNAT", "back", "source back"))]
        assert [hop.place for hop in changes] == [
            Place.PREROUTING,
            Place.POSTROUTING,
            Place.PREROUTING,
            Place.POSTROUTING,
        ]
        assert str(walk.hops[-1].packet) == "192.168.200.12:33000 > 192.168.200.1:40000"


def test_what_leaves_the_cluster_is_masqueraded_and_comes_back() -> None:
    walk = way(healthy(), KUARD, "192.168.200.1", "5000")
    assert walk.succeeds
    masqueraded = next(hop for hop in walk.hops if "MASQUERADE" in hop.what)
    assert (str(masqueraded.packet), masqueraded.owner) == ("192.168.200.12:? > 192.168.200.1:5000", "podnet")
    assert any("outside of the cluster is not predicted" in note for note in walk.notes)


def test_a_node_reaches_a_service_from_the_address_of_its_tunnel_device() -> None:
    prediction = predicted(healthy(), NODE1, SERVICE, "8080")
    assert prediction.succeeds
    seen = {str(hop.packet.source) for walk in prediction.walks for hop in walk.hops if "MASQUERADE" in hop.what}
    assert seen == {"10.244.1.0", "10.244.1.1"}


def test_a_node_reaches_its_own_pod_itself_and_another_node() -> None:
    assert way(healthy(), NODE1, HTTPD, "80").succeeds
    assert way(healthy(), NODE1, NODE1, "10250").succeeds
    assert way(healthy(), NODE1, NODE2, "10250").succeeds
    assert way(healthy(), KUARD, NODE1, "10250").succeeds
    assert way(healthy(), KUARD, NODE2, "10250").succeeds


def test_a_node_reaches_itself_by_a_service_through_lo() -> None:
    walk = way(healthy(), "k8s-master", "kubernetes", "443")
    assert walk.succeeds
    assert next(hop.device for hop in walk.hops if "MASQUERADE" in hop.what) == "lo"


def test_a_pod_that_is_chosen_by_its_own_service_is_masqueraded_and_leaves_by_the_port_it_came_by() -> None:
    prediction = predicted(healthy(), HTTPD, "httpd-svc")
    assert prediction.succeeds
    itself = next(walk for walk in prediction.walks if any("10.244.1.47:80" in hop.what for hop in walk.hops))
    assert any("SNAT to 10.244.1.1" in hop.what for hop in itself.hops)


def test_echo_and_datagrams() -> None:
    assert way(healthy(), KUARD, FAR, protocol="icmp").succeeds
    walk = way(healthy(), KUARD, "kube-system/kube-dns", "53", "udp")
    assert walk.succeeds
    assert any("its own affair" in note for note in walk.notes)


def test_a_port_that_nothing_listens_on_and_no_container_names_is_refused() -> None:
    prediction = predicted(healthy(), KUARD, FAR, "4711")
    assert prediction.notes == (f"no container of {FAR} names port 4711/tcp: it is traced all the same",)
    (walk,) = prediction.walks
    assert walk.there.end is End.REFUSED
    assert walk.there.reason == "nothing listens on tcp port 4711: the kernel answers RST"


def test_whether_hosts_outside_know_a_way_to_pods_is_undecided() -> None:
    assert way(healthy(), "outside", FAR, "80").there.end is End.UNDECIDED


def test_the_machine_outside_that_was_read_sends_by_its_routes() -> None:
    state = sent_from(
        "192.168.200.1",
        {"type": "unreachable", "dst": "10.244.3.0/24"},
        {"dst": "10.244.1.0/24", "gateway": "192.168.200.12", "dev": "br0"},
        {"dst": "192.168.200.0/24", "dev": "br0"},
    )
    refused = way(state, "outside", FAR, "80")
    assert (refused.there.end, refused.there.decided_by) == (End.REFUSED, "route unreachable 10.244.3.0/24")
    assert way(state, "outside", HTTPD, "80").succeeds
    assert predicted(state, "outside", f"{NODE1}:33000").succeeds


BEHIND_A_ROUTER = ("172.31.0.9", {"dst": "default", "gateway": "172.31.0.1", "dev": "br0"})


def test_a_router_between_a_machine_outside_and_the_nodes_forwards() -> None:
    state = sent_from(*BEHIND_A_ROUTER)
    walk = way(state, "172.31.0.9", f"{NODE1}:33000")
    assert walk.succeeds
    assert walk.hops[2].what == "forwarded by the router 172.31.0.1, as is taken for granted"
    assert NODE1 in {hop.node for hop in walk.hops}


def test_whether_a_router_outside_knows_a_way_to_services_is_undecided() -> None:
    walk = way(sent_from(*BEHIND_A_ROUTER), "172.31.0.9", SERVICE, "8080")
    assert (walk.there.end, walk.there.reason) == (
        End.UNDECIDED,
        f"whether 172.31.0.1 knows a way to {SERVICE} is not known",
    )


def test_the_packet_starts_from_the_address_that_the_route_chooses() -> None:
    assert str(asked(healthy(), NODE1, FAR, "80").starts[0].packet.source) == "10.244.1.0"
    assert str(asked(healthy(), NODE1, HTTPD, "80").starts[0].packet.source) == "10.244.1.1"
