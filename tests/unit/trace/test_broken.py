"""States with one fault: the walk ends at it, and names it."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from kubeproof.trace.model import Direction, End, Place, Walk
from tests.unit.trace.lab import (
    FAR,
    HTTPD,
    KUARD,
    NODE1,
    NODE2,
    changed,
    healthy,
    inside,
    listed,
    predicted,
    way,
    with_objects,
    without_lines,
)

Change = Callable[[str], str]


def replaced(old: str, new: str) -> Change:
    return lambda text: text.replace(old, new)


def neighbour(device: str, address: str, **new: Any) -> Change:
    """An entry with other values; without any it is missing."""

    def change(item: dict[str, Any]) -> dict[str, Any] | None:
        if (item.get("dev"), item.get("dst")) != (device, address):
            return item
        return {**item, **new} if new else None

    return listed(change)


def route(destination: str, **new: Any) -> Change:
    def change(item: dict[str, Any]) -> dict[str, Any] | None:
        if item.get("dst") != destination:
            return item
        return {**item, **new} if new else None

    return listed(change)


def link(name: str, **new: Any) -> Change:
    return listed(lambda item: {**item, **new} if item.get("ifname") == name else item)


def fdb(device: str, destination: str, **new: Any) -> Change:
    def change(item: dict[str, Any]) -> dict[str, Any] | None:
        if (item.get("ifname"), item.get("dst")) != (device, destination):
            return item
        return {**item, **new} if new else None

    return listed(change)


ACCEPT = "-A FORWARD -s 10.244.0.0/16 -j ACCEPT"
FAULTS: dict[str, tuple[str, str, Change, Place, End, str]] = {
    "no rule accepts pods' packets": (
        NODE1,
        "iptables",
        without_lines("-A FORWARD", "10.244.0.0/16"),
        Place.FORWARD,
        End.DROPPED,
        "policy is DROP",
    ),
    "somebody drops": (
        NODE2,
        "iptables",
        replaced(ACCEPT, f"-A FORWARD -d 10.244.3.10/32 -j DROP\n{ACCEPT}"),
        Place.FORWARD,
        End.DROPPED,
        "dropped",
    ),
    "the node's firewall refuses the tunnel": (
        NODE2,
        "iptables",
        replaced("-A INPUT -j KUBE-FIREWALL", "-A INPUT -p udp -m udp --dport 8472 -j DROP\n-A INPUT -j KUBE-FIREWALL"),
        Place.INPUT,
        End.DROPPED,
        "dropped",
    ),
    "no route": (
        NODE1,
        "routes",
        route("10.244.3.0/24"),
        Place.ROUTE,
        End.DROPPED,
        "there is no route to 10.244.3.10 by flannel.1",
    ),
    "no ARP entry": (
        NODE1,
        "neighbours",
        neighbour("flannel.1", "10.244.3.0"),
        Place.NEIGHBOUR,
        End.REFUSED,
        "flannel.1 has no ARP entry for 10.244.3.0",
    ),
    "no FDB entry": (NODE1, "fdb", fdb("flannel.1", "192.168.200.13"), Place.FDB, End.DROPPED, "no FDB entry"),
    "a pod's ARP entry with another MAC": (
        NODE2,
        "neighbours",
        neighbour("cni0", "10.244.3.10", lladdr="02:00:00:00:00:98", state=["PERMANENT"]),
        Place.NEIGHBOUR,
        End.DROPPED,
        "not at 02:00:00:00:00:98",
    ),
    "a veth in no bridge": (
        NODE1,
        "links",
        link("veth2d9704a6", master=None),
        Place.VETH,
        End.DROPPED,
        "which is in no bridge",
    ),
    "an FDB entry with another node": (
        NODE1,
        "fdb",
        fdb("flannel.1", "192.168.200.13", dst="192.168.200.11"),
        Place.DECAPSULATION,
        End.DROPPED,
        "another host's",
    ),
    "an FDB entry with nobody": (
        NODE1,
        "fdb",
        fdb("flannel.1", "192.168.200.13", dst="192.168.200.99"),
        Place.NIC,
        End.DROPPED,
        "192.168.200.99 is no node",
    ),
    "no forwarding": (
        NODE2,
        "kernel",
        replaced("/proc/sys/net/ipv4/ip_forward:1", "/proc/sys/net/ipv4/ip_forward:0"),
        Place.ROUTE,
        End.DROPPED,
        "does not forward",
    ),
    "a bridge that is down": (
        NODE1,
        "links",
        link("cni0", flags=["BROADCAST", "MULTICAST"]),
        Place.BRIDGE,
        End.DROPPED,
        "cni0 is down",
    ),
    "a tunnel device that is down": (
        NODE2,
        "links",
        link("flannel.1", flags=["BROADCAST"]),
        Place.DECAPSULATION,
        End.DROPPED,
        "no VXLAN device takes",
    ),
    "strict rp_filter and another way back": (
        NODE2,
        "kernel",
        replaced("conf/flannel.1/rp_filter:0", "conf/flannel.1/rp_filter:1"),
        Place.RP_FILTER,
        End.DROPPED,
        "the route back",
    ),
    "nothing listens": (
        NODE2,
        "namespaces",
        inside("10.244.3.10", lambda parts: parts.update(sockets=[])),
        Place.SOCKET,
        End.REFUSED,
        "nothing listens",
    ),
    "a rule that is not understood": (
        NODE1,
        "iptables",
        replaced(ACCEPT, f"-A FORWARD -s 10.244.0.0/16 -m string --string x --algo bm -j DROP\n{ACCEPT}"),
        Place.FORWARD,
        End.UNDECIDED,
        "a rule is not understood: --string x",
    ),
    "a table that iptables cannot show": (
        NODE1,
        "other_iptables",
        lambda _text: "# Table `filter' is incompatible, nothing is installed to read it\n",
        Place.VETH,
        End.UNDECIDED,
        "cannot show its table filter",
    ),
}


def ended(walk: Walk, place: Place, end: End, reason: str) -> None:
    assert walk.outcome.end is end
    assert walk.hops[-1].place is place
    assert reason in walk.outcome.reason


@pytest.mark.parametrize("name", FAULTS)
def test_the_walk_ends_at_the_fault(name: str) -> None:
    node, command, change, place, end, reason = FAULTS[name]
    state = changed(healthy(), node, command, change)
    if name.startswith("strict"):
        state = changed(state, node, "routes", route("10.244.1.0/24", dev="host0", gateway="192.168.200.12"))
    walk = way(state, KUARD, FAR, "80")
    assert walk.hops[-1].direction is Direction.FORWARD
    ended(walk, place, end, reason)


@pytest.mark.parametrize(
    ("node", "device", "to", "told"),
    [
        (NODE1, "flannel.1", FAR, "takes 1400 bytes: larger packets are refused by ICMP"),
        (NODE1, "host0", FAR, "takes 1400 bytes: what is larger with its tunnel is sent in pieces"),
        (NODE2, "veth1377b16a", FAR, "takes 1400 bytes: larger frames are dropped, and nobody is told"),
        (NODE2, "cni0", FAR, "takes 1400 bytes: larger packets are refused by ICMP"),
        (NODE1, "veth56244007", HTTPD, "takes 1400 bytes: larger frames are dropped, and nobody is told"),
    ],
)
def test_where_larger_packets_end_is_told(node: str, device: str, to: str, told: str) -> None:
    walk = way(changed(healthy(), node, "links", link(device, mtu=1400)), KUARD, to, "80")
    assert walk.succeeds
    found = [hop for hop in walk.hops if hop.place is Place.MTU]
    assert (found[0].node, found[0].device, found[0].what) == (node, device, told)


def test_an_answer_that_is_lost_is_told_as_that() -> None:
    state = changed(healthy(), NODE2, "fdb", fdb("flannel.1", "192.168.200.12"))
    walk = way(state, KUARD, FAR, "80")
    assert walk.there.end is End.ARRIVED
    assert walk.hops[-1].direction is Direction.REPLY
    ended(walk, Place.FDB, End.DROPPED, "no FDB entry")


def test_a_router_between_nodes_forwards_the_tunnel() -> None:
    state = changed(healthy(), NODE1, "routes", route("192.168.200.0/24", gateway="192.168.200.254"))
    walk = way(state, KUARD, FAR, "80")
    assert walk.succeeds
    assert any(hop.what.startswith("forwarded by the router 192.168.200.254") for hop in walk.hops)


def physdev(condition: str) -> Change:
    return replaced(ACCEPT, f"-A FORWARD -m physdev {condition} -j DROP\n{ACCEPT}")


def test_the_port_of_a_bridge_is_known_where_the_packet_is_routed_and_on_no_other_node() -> None:
    state = changed(healthy(), NODE1, "iptables", physdev("--physdev-in veth2d9704a6"))
    ended(way(state, KUARD, FAR, "80"), Place.FORWARD, End.DROPPED, "dropped")
    state = changed(healthy(), NODE2, "iptables", physdev("--physdev-is-in"))
    assert way(state, KUARD, FAR, "80").there.end is End.ARRIVED


def test_an_entry_of_a_node_that_failed_before_is_asked_for_again() -> None:
    def failed(item: dict[str, Any]) -> dict[str, Any]:
        if (item.get("dev"), item.get("dst")) != ("host0", "192.168.200.13"):
            return item
        return {"dst": item["dst"], "dev": item["dev"], "state": ["FAILED"]}

    walk = way(changed(healthy(), NODE1, "neighbours", listed(failed)), KUARD, FAR, "80")
    assert walk.succeeds
    assert any(hop.what == "asks by ARP for 192.168.200.13" for hop in walk.hops)


def test_a_node_answers_arp_for_others_where_it_is_told_to() -> None:
    """Pods of Calico have such a gateway."""

    def by_gateway(parts: dict[str, Any]) -> None:
        parts["routes"] = [{**each, "gateway": "169.254.1.1"} for each in parts["routes"] if each["dst"] == "default"]
        parts["neighbours"] = []

    state = changed(healthy(), NODE1, "namespaces", inside("10.244.1.46", by_gateway))
    ended(way(state, KUARD, FAR, "80"), Place.NEIGHBOUR, End.REFUSED, "nobody answers ARP for 169.254.1.1")
    proxy = "/proc/sys/net/ipv4/conf/veth2d9704a6/proxy_arp:1\n"
    walk = way(changed(state, NODE1, "kernel", lambda text: proxy + text), KUARD, FAR, "80")
    assert any(hop.what.startswith("asks by ARP: 169.254.1.1 is at ") for hop in walk.hops)
    assert walk.there.end is End.ARRIVED


def test_rules_of_legacy_iptables_in_a_pod_are_not_passed_over() -> None:
    state = changed(
        healthy(), NODE1, "namespaces", inside("10.244.1.46", lambda parts: parts.update(ip_tables_names=["nat"]))
    )
    walk = way(state, KUARD, FAR, "80")
    assert (walk.there.end, walk.there.reason) == (
        End.UNDECIDED,
        f"pod {KUARD}: what its tables of legacy iptables hold is not read (nat)",
    )


def test_without_br_netfilter_an_answer_on_the_same_bridge_keeps_the_pods_address() -> None:
    state = changed(healthy(), NODE1, "kernel", replaced("bridge-nf-call-iptables:1", "bridge-nf-call-iptables:0"))
    prediction = predicted(state, KUARD, "httpd-svc")
    (lost,) = [walk for walk in prediction.walks if not walk.succeeds]
    ended(lost, Place.SOCKET, End.REFUSED, "the answer comes from 10.244.1.47, but 10.1.250.37 was asked")


def test_without_hairpin_mode_a_pod_does_not_reach_itself_by_its_service() -> None:
    def off(item: dict[str, Any]) -> dict[str, Any]:
        data = item.get("linkinfo", {}).get("info_slave_data", {})
        if "hairpin" in data:
            data["hairpin"] = False
        return item

    state = changed(healthy(), NODE1, "links", listed(off))
    (lost,) = [walk for walk in predicted(state, HTTPD, "httpd-svc").walks if not walk.succeeds]
    ended(lost, Place.BRIDGE, End.DROPPED, "no hairpin mode")


def test_a_service_without_endpoints_is_rejected_by_kube_proxys_rule() -> None:
    rule = (
        '-A KUBE-SERVICES -d 10.1.250.37/32 -p tcp -m comment --comment "default/httpd-svc:http has no endpoints" '
        "-m tcp --dport 8080 -j REJECT --reject-with icmp-port-unreachable"
    )
    state = changed(healthy(), NODE1, "iptables", without_lines("10.1.250.37/32"))
    state = changed(
        state, NODE1, "iptables", replaced("-A KUBE-FIREWALL -m comment", f"{rule}\n-A KUBE-FIREWALL -m comment")
    )
    walk = way(state, KUARD, "httpd-svc")
    ended(walk, Place.FORWARD, End.REFUSED, "rejected with icmp-port-unreachable")
    assert walk.outcome.owner == "kube-proxy"


def test_an_endpoint_that_no_pod_has_any_more_costs_its_share() -> None:
    gone = "10.244.1.99"
    state = changed(healthy(), NODE1, "iptables", replaced("10.244.1.47", gone))
    prediction = predicted(state, KUARD, "httpd-svc")
    (lost,) = [walk for walk in prediction.walks if not walk.succeeds]
    assert round(lost.probability, 3) == 0.333
    ended(lost, Place.NEIGHBOUR, End.REFUSED, f"nobody answers ARP for {gone}")


POLICY = {
    "apiVersion": "networking.k8s.io/v1",
    "kind": "NetworkPolicy",
    "metadata": {"name": "deny", "namespace": "default"},
    "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
}


def isolated(*addresses: str, home: str) -> Change:
    """What podnet loads for pods that a policy isolates and lets nothing reach."""

    def change(text: str) -> str:
        found = json.loads(text)
        table = {"family": "inet", "table": "podnet"}
        verdict = {"jump": {"target": "ingress_pods_x"}}
        for item in found["nftables"]:
            if item.get("map", {}).get("name") == "ingress_pods":
                item["map"]["elem"] = [
                    [address, verdict if address in addresses else old] for address, old in item["map"]["elem"]
                ]
        reply = {"ct": {"key": "ip saddr", "dir": "reply"}}
        prefix = {"prefix": {"addr": home.partition("/")[0], "len": 24}}
        expressions = [
            ("ingress_pods_x", [{"drop": None}]),
            ("ingress", [{"vmap": {"key": reply, "data": "@ingress_pods"}}]),
            ("ingress", [{"match": {"op": "==", "left": reply, "right": prefix}}, {"drop": None}]),
        ]
        found["nftables"].append({"chain": {**table, "name": "ingress_pods_x", "handle": 90}})
        found["nftables"] += [
            {"rule": {**table, "chain": chain, "handle": 91 + number, "expr": expression}}
            for number, (chain, expression) in enumerate(expressions)
        ]
        return json.dumps(found)

    return change


def test_a_policy_is_named_in_the_words_of_explain() -> None:
    state = with_objects(changed(healthy(), NODE2, "nft", isolated("10.244.3.10", home="10.244.3.0/24")), POLICY)
    walk = way(state, KUARD, FAR, "80")
    ended(walk, Place.FORWARD, End.DROPPED, f"ingress of {FAR}: isolated by default/deny; no rule allows TCP 80")
    assert walk.outcome.owner == "podnet"
    assert "inet podnet ingress_pods_x" in walk.outcome.decided_by


def test_an_answer_of_an_isolated_pod_passes() -> None:
    state = changed(healthy(), NODE1, "nft", isolated("10.244.1.46", home="10.244.1.0/24"))
    assert way(state, KUARD, FAR, "80").succeeds
    assert not way(state, FAR, KUARD, "8080").succeeds


def nft_drop(family: str, hook: str, **more: Any) -> Change:
    """A table of which the only rule drops what goes to kuard's and httpd's ports."""

    def change(text: str) -> str:
        found, of = json.loads(text), {"family": family, "table": "own"}
        port = {"payload": {"protocol": "tcp", "field": "dport"}}
        drop = [{"match": {"op": "==", "left": port, "right": {"set": [80, 8080]}}}, {"drop": None}]
        found["nftables"] += [
            {"table": {"family": family, "name": "own"}},
            {"chain": {**of, "name": "c", "type": "filter", "hook": hook, "prio": -300, "policy": "accept", **more}},
            {"rule": {**of, "chain": "c", "handle": 7, "expr": drop}},
        ]
        return json.dumps(found)

    return change


@pytest.mark.parametrize(
    ("node", "family", "hook", "device", "to", "place"),
    [
        (NODE1, "bridge", "prerouting", "", FAR, Place.BRIDGE),
        (NODE1, "bridge", "input", "", FAR, Place.BRIDGE),
        (NODE1, "bridge", "forward", "", HTTPD, Place.BRIDGE),
        (NODE2, "bridge", "output", "", FAR, Place.BRIDGE),
        (NODE2, "bridge", "postrouting", "", FAR, Place.BRIDGE),
        (NODE1, "netdev", "ingress", "veth2d9704a6", FAR, Place.INGRESS),
        (NODE1, "netdev", "ingress", "cni0", FAR, Place.INGRESS),
        (NODE1, "netdev", "egress", "flannel.1", FAR, Place.EGRESS),
        (NODE2, "netdev", "ingress", "flannel.1", FAR, Place.INGRESS),
        (NODE2, "netdev", "egress", "veth1377b16a", FAR, Place.EGRESS),
    ],
)
def test_rules_that_see_frames_drop(node: str, family: str, hook: str, device: str, to: str, place: Place) -> None:
    state = changed(healthy(), node, "nft", nft_drop(family, hook, **({"dev": device} if device else {})))
    walk = way(state, KUARD, to, "80")
    ended(walk, place, End.DROPPED, "dropped")
    assert walk.hops[-1].node == node
    assert walk.outcome.decided_by.startswith(f"nft {family} own c (handle 7)")


@pytest.mark.parametrize(
    ("family", "hook", "device"),
    [("bridge", "forward", ""), ("netdev", "ingress", "docker0"), ("netdev", "ingress", "host0")],
)
def test_rules_that_see_other_frames_drop_nothing(family: str, hook: str, device: str) -> None:
    """What is routed is at no bridge's forward hook, and what is in the tunnel has its ports."""
    state = changed(healthy(), NODE2, "nft", nft_drop(family, hook, **({"dev": device} if device else {})))
    assert way(state, KUARD, FAR, "80").succeeds
