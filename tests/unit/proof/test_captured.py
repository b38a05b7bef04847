"""The checks on nodes of healthy clusters with the real flannel and Canal, and on those with one thing broken."""

import json
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from kubeproof.proof.checks import by_name
from kubeproof.state.iproute import parse_fdb
from kubeproof.state.node import NodeState
from tests.unit.proof import captures
from tests.unit.proof.captures import context, states

VXLAN = ("flannel-v0.14.0-vxlan", "flannel-v0.20.2-vxlan", "canal-v3.24.6")
HOST_GW = "flannel-v0.20.2-host-gw"
TUNNEL = ("flannel-device", "flannel-address", "cni-mtu", "routes-to-other-nodes", "arp-entries", "fdb-entries")
BRIDGE = ("subnet-env", "subnet-of-node-object", "cni0-address", "cni-mtu", "route-to-own-pods")
RULES = ("forward-verdicts", "postrouting-verdicts")
FIRST = "k8s-node1"
"""The node whose rules the captures have."""
CASES = [
    *((capture, name, check) for capture in VXLAN for name in captures.NAMES for check in (*TUNNEL, "docker0-down")),
    *((capture, name, check) for capture in VXLAN[:2] for name in captures.NAMES for check in BRIDGE),
    *((capture, FIRST, check) for capture in (*VXLAN, HOST_GW) for check in RULES),
    *((capture, FIRST, "policy-chains-first") for capture in (*VXLAN[:2], HOST_GW)),
    *((HOST_GW, FIRST, check) for check in ("no-tunnel", "routes-by-nodes", "docker0-down", *BRIDGE)),
    *((VXLAN[2], name, "no-bridge") for name in captures.NAMES),
    (VXLAN[2], FIRST, "iptables-mixed"),
    (VXLAN[2], FIRST, "felix-first"),
    (VXLAN[2], FIRST, "felix-chains"),
]


@pytest.mark.parametrize(("capture", "name", "check"), CASES)
def test_what_a_healthy_cluster_shows_holds(capture: str, name: str, check: str) -> None:
    result = by_name(check).check(context(name, capture))
    assert result.ok, f"expected {result.expected}\nfound {result.found}"


def without(part: str, place: int = 0) -> Callable[[NodeState], NodeState]:
    """The state without one entry of flannel.1, or without one rule of a chain (table/chain)."""

    def change(state: NodeState) -> NodeState:
        if part == "fdb":
            return replace(state, fdb=state.fdb[1:])
        if "/" in part:
            table, chain = part.split("/")
            ruleset, tables = state.iptables, dict(state.iptables.tables)
            chains = dict(tables[table].chains)
            rules = ruleset.rules(table, chain)
            chains[chain] = replace(chains[chain], rules=(*rules[:place], *rules[place + 1 :]))
            tables[table] = replace(tables[table], chains=chains)
            return replace(state, iptables=replace(ruleset, tables=tables))
        entries = list(getattr(state.network, part))
        entries.remove(next(item for item in entries if item.device == "flannel.1" and getattr(item, "via", 1)))
        return replace(state, network=replace(state.network, **{part: tuple(entries)}))

    return change


@pytest.mark.parametrize("capture", VXLAN)
@pytest.mark.parametrize(
    ("check", "part"), [("routes-to-other-nodes", "routes"), ("arp-entries", "neighbours"), ("fdb-entries", "fdb")]
)
def test_one_entry_less_is_noticed(capture: str, check: str, part: str) -> None:
    changed = without(part)(states(capture)[FIRST])
    result = by_name(check).check(context(FIRST, capture, k8s_node1=changed))
    assert not result.ok
    assert "missing: " in result.found


@pytest.mark.parametrize(
    ("capture", "chain", "place", "check"),
    [
        ("flannel-v0.20.2-vxlan", "filter/FORWARD", 0, "forward-verdicts"),
        ("flannel-v0.20.2-vxlan", "filter/FLANNEL-FWD", 1, "forward-verdicts"),
        (HOST_GW, "nat/FLANNEL-POSTRTG", 3, "postrouting-verdicts"),
        ("canal-v3.24.6", "filter/FORWARD", 0, "felix-first"),
        ("canal-v3.24.6", "filter/INPUT", 0, "felix-chains"),
    ],
)
def test_one_rule_less_is_noticed(capture: str, chain: str, place: int, check: str) -> None:
    changed = without(chain, place)(states(capture)[FIRST])
    assert not by_name(check).check(context(FIRST, capture, k8s_node1=changed)).ok


# After a worker was rebooted (flannel v0.14.0; the same flannel.1 captured from the other nodes) ----------------------

OLD, NEW = "da:db:c5:68:54:cf", "96:9a:d4:a9:71:5c"
AFTER_REBOOT = {
    "k8s-master": (
        f"{OLD} dst 192.168.200.13 self permanent",
        f"{NEW} dst 192.168.200.13 self permanent",
        "fe:a2:9a:de:2b:8c dst 192.168.200.12 self permanent",
    ),
    "k8s-node1": (
        f"{OLD} dst 192.168.200.13 self permanent",
        f"{NEW} dst 192.168.200.13 self permanent",
        "be:0e:b6:f2:d3:c2 dst 192.168.200.11 self permanent",
    ),
}


def after_reboot(name: str, *lines: str, capture: str = VXLAN[0]) -> str | None:
    """What fdb_entries says wrong of a node once k8s-node2 is back with another MAC; None where it holds."""
    found = states(capture)
    node2 = found["k8s-node2"]
    links = tuple(replace(link, mac=NEW) if link.name == "flannel.1" else link for link in node2.network.links)
    node2 = replace(node2, network=replace(node2.network, links=links))
    here = replace(found[name], fdb=parse_fdb(json.dumps(captures.fdb(list(lines)))))
    changed = {name.replace("-", "_"): here, "k8s_node2": node2}
    result = by_name("fdb-entries").check(context(name, capture, **changed))
    return None if result.ok else result.found


@pytest.mark.parametrize("name", AFTER_REBOOT)
def test_the_entry_of_an_earlier_mac_does_no_harm(name: str) -> None:
    assert after_reboot(name, *AFTER_REBOOT[name]) is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ((f"{OLD} dst 192.168.200.13", f"{OLD} dst 192.168.200.99"), f"not expected: {OLD} dst 192.168.200.99"),
        ((f"{NEW} dst 192.168.200.13", f"{NEW} dst 192.168.200.12"), f"missing: {NEW} dst 192.168.200.13"),
        ((f"{NEW} dst 192.168.200.13 self permanent", ""), f"missing: {NEW}"),
        ((OLD, "00:00:00:00:00:00"), "not expected: 00:00:00:00:00:00"),
        ((OLD, "fe:a2:9a:de:2b:8c"), "more than once|not expected: fe:a2:9a:de:2b:8c dst 192.168.200.13"),
        (("192.168.200.12 self permanent", "192.168.200.12 self static"), "missing: fe:a2:9a:de:2b:8c"),
    ],
)
def test_an_entry_that_leads_astray_is_noticed(change: tuple[str, str], words: str) -> None:
    lines = [line.replace(*change) for line in AFTER_REBOOT["k8s-master"]]
    found = after_reboot("k8s-master", *filter(None, lines))
    assert found is not None
    assert any(part in found for part in words.split("|"))


def test_an_arp_entry_that_no_route_leads_to_does_no_harm() -> None:
    """Of a node that is gone. A wrong MAC for a node that is there is not harmless, nor one with a route to it."""
    state = states(VXLAN[1])[FIRST]
    (first, *_) = (entry for entry in state.network.neighbours if entry.device == "flannel.1")
    gone = replace(first, address=IPv4Address("10.244.9.0"))
    left = replace(state.network, neighbours=(*state.network.neighbours, gone))
    assert by_name("arp-entries").check(context(FIRST, VXLAN[1], k8s_node1=replace(state, network=left))).ok
    (route, *_) = (item for item in left.routes if item.device == "flannel.1" and item.via)
    routed = replace(left, routes=(*left.routes, replace(route, via=gone.address)))
    assert not by_name("arp-entries").check(context(FIRST, VXLAN[1], k8s_node1=replace(state, network=routed))).ok
    wrong = tuple(replace(entry, mac=OLD) if entry == first else entry for entry in state.network.neighbours)
    changed = replace(state, network=replace(state.network, neighbours=wrong))
    assert not by_name("arp-entries").check(context(FIRST, VXLAN[1], k8s_node1=changed)).ok
