"""Rulesets by example."""

from ipaddress import IPv4Address, IPv4Network
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.podnet.plan import PodnetError
from agents.podnet.policy import spans
from agents.podnet.policy.nft import ATTRIBUTE, MESSAGE, read_generation
from agents.podnet.policy.ruleset import Here, Ruleset, make_ruleset
from agents.podnet.policy.table import chain_name
from tests.unit.agents.policy.objects import Item, namespace, pod, policy, world
from tests.unit.agents.policy.simulator import Packet, Simulator

HERE = Here("one", IPv4Network("10.99.1.0/24"))
A = pod("a", "10.99.1.2", {"app": "a"}, ports=[{"name": "web", "containerPort": 80}])
B = pod("b", "10.99.1.3", {"app": "b"})
FAR = pod("far", "10.99.2.2", {"app": "a"}, node="two")
SELECT_A = {"podSelector": {"matchLabels": {"app": "a"}}}


def ruleset(pods: list[Item], *policies: Item, namespaces: tuple[Item, ...] = ()) -> Ruleset:
    return make_ruleset(world(pods, list(policies), list(namespaces)), HERE)


def rules(found: Ruleset, chain: str) -> tuple[str, ...]:
    return found.table.chains[chain].rules


def elements(found: Ruleset, name: str) -> tuple[str, ...]:
    return found.table.sets[name].elements


def passes(
    found: Ruleset, client: str, endpoint: str, protocol: str = "TCP", port: int = 80, state: str = "new"
) -> bool:
    packet = Packet(IPv4Address(client), IPv4Address(endpoint), protocol, port, state)
    return Simulator(found.table.text()).passes(packet)


def test_without_policies_nothing_is_closed() -> None:
    found = ruleset([A, B])
    assert rules(found, "ingress") == ("ct state related meta l4proto icmp accept",)
    assert set(found.table.chains) == {"egress", "ingress"}
    assert passes(found, "10.99.1.200", "10.99.1.201")


def test_one_policy() -> None:
    found = ruleset(
        [A, B, FAR], policy("allow", {**SELECT_A, "ingress": [{"from": [SELECT_A], "ports": [{"port": 80}]}]})
    )
    assert rules(found, "ingress_x/allow") == (
        "meta l4proto tcp ct reply proto-src 80 ct original ip saddr @peers_f3dac35b3757 accept "
        'comment "x/allow ingress 0"',
    )
    assert elements(found, "peers_f3dac35b3757") == ("10.99.1.2", "10.99.2.2")
    (group,) = [name for name in found.table.chains if name.startswith("ingress_pods_")]
    assert rules(found, group) == ("jump ingress_x/allow", "drop")
    assert elements(found, "ingress_pods") == (
        "10.99.1.0 : accept",
        "10.99.1.1 : accept",
        f"10.99.1.2 : jump {group}",
        "10.99.1.3 : accept",
    )
    assert elements(found, "egress_pods")[2:] == ("10.99.1.2 : accept", "10.99.1.3 : accept")
    assert rules(found, "ingress") == (
        "ct state related meta l4proto icmp accept",
        "ct state invalid,untracked goto ingress_unjudged",
        'oifname "cni0" ip daddr 224.0.0.0-255.255.255.255 drop',
        "ct original ip saddr . ct reply ip saddr @itself accept",
        "ct reply ip saddr vmap @ingress_pods",
        "ct reply ip saddr 10.99.1.0/24 drop",
    )


def test_pods_of_the_same_policies_share_a_chain_and_rules_the_same_peers() -> None:
    pods = [pod(f"p{number}", f"10.99.1.{number + 10}", {"app": "a"}) for number in range(20)]
    rule: Item = {"from": [{"podSelector": {}}]}
    found = ruleset(
        [*pods, B, FAR],
        *(policy(f"n{number}", {**SELECT_A, "ingress": [rule, {**rule, "ports": [{}]}]}) for number in range(5)),
    )
    assert len([name for name in found.table.chains if name.startswith("ingress_pods_")]) == 1
    (peers,) = [name for name in found.table.sets if name.startswith("peers_")]
    # One range for what touches: the addresses of twenty pods.
    assert elements(found, peers) == ("10.99.1.3", "10.99.1.10-10.99.1.29", "10.99.2.2")


def test_policies_for_pods_of_other_nodes_only_close_what_is_not_known() -> None:
    found = ruleset([B, FAR], policy("deny", SELECT_A))
    assert passes(found, "10.99.2.2", "10.99.1.3")
    assert not passes(found, "10.99.2.2", "10.99.1.9")
    assert passes(found, "10.99.1.9", "10.99.2.2")
    assert [name for name in found.table.chains if "deny" in name] == []


def test_everybody_needs_no_set() -> None:
    rule = {"from": [{"ipBlock": {"cidr": "0.0.0.0/0"}}], "ports": [{"protocol": "UDP"}]}
    found = ruleset([A], policy("p", {**SELECT_A, "ingress": [rule, {}]}))
    assert rules(found, "ingress_x/p") == (
        'meta l4proto udp accept comment "x/p ingress 0"',
        'accept comment "x/p ingress 1"',
    )


def test_a_namespace_that_is_not_known_yet_matches_nothing() -> None:
    lonely = pod("l", "10.99.2.9", namespace="not-listed")
    peer = {"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "DoesNotExist"}]}}
    found = ruleset([A, lonely], policy("p", {**SELECT_A, "ingress": [{"from": [peer]}]}))
    assert not passes(found, "10.99.2.9", "10.99.1.2")
    found = ruleset(
        [A, lonely], policy("p", {**SELECT_A, "ingress": [{"from": [peer]}]}), namespaces=(namespace("not-listed"),)
    )
    assert passes(found, "10.99.2.9", "10.99.1.2")


def test_an_address_of_two_pods_is_nobodys() -> None:
    twin = pod("twin", "10.99.1.2", {"app": "a"})
    everybody = policy("p", {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]})
    found = ruleset([A, twin, B], everybody)
    assert not passes(found, "10.99.1.2", "10.99.1.3")
    assert not passes(found, "10.99.1.3", "10.99.1.2")
    assert found.remarks == (
        "10.99.1.2 is claimed by x/a, x/twin: policies treat it as nobody's until only one of them has it",
    )
    host = pod("host", "10.99.1.2", host_network=True)
    assert ruleset([A, host], everybody).remarks == ()


def test_a_pod_beyond_the_nodes_pod_cidr_is_guarded_too() -> None:
    odd = pod("odd", "10.99.7.7", {"app": "a"})
    found = ruleset([odd, B], policy("deny", SELECT_A))
    assert not passes(found, "10.99.1.3", "10.99.7.7")
    assert rules(found, "ingress")[-2:] == ("ct reply ip saddr 10.99.1.0/24 drop", "ct reply ip saddr 10.99.7.7 drop")


@pytest.mark.parametrize("state", ["invalid", "untracked"])
def test_what_conntrack_knows_nothing_of(state: str) -> None:
    found = ruleset([A, B], policy("allow", {**SELECT_A, "ingress": [{}]}))
    assert not passes(found, "10.99.2.2", "10.99.1.2", state=state)
    assert not passes(found, "10.99.1.2", "10.99.2.2", state=state)
    assert not passes(found, "10.99.2.2", "10.99.1.77", state=state)
    assert passes(found, "10.99.2.2", "10.99.1.3", state=state)
    assert passes(found, "10.99.1.1", "10.99.1.3", state=state)


def test_inexpressible_policies_deny() -> None:
    odd = policy("odd", {"podSelector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}, "ingress": [{}]})
    found = ruleset([A, B], odd)
    assert not passes(found, "10.99.2.2", "10.99.1.2")
    assert not passes(found, "10.99.2.2", "10.99.1.3")


def test_order_does_not_matter() -> None:
    policies = [policy(f"p{number}", {**SELECT_A, "ingress": [{}]}) for number in range(3)]
    assert ruleset([A, B, FAR], *policies).table == ruleset([FAR, B, A], *policies[::-1]).table


def test_long_names_keep_apart() -> None:
    names = [chain_name("ingress", f"{'n' * 63}/{'p' * 252}{last}") for last in "ab"]
    assert len(set(names)) == 2
    assert max(map(len, names)) <= 128


def test_the_generation_is_read_from_the_kernels_answer() -> None:
    head = MESSAGE.pack(0, 0, 0, 0, 0, 0, 0, 0)
    answer = head + ATTRIBUTE.pack(5, 3) + b"x\0\0\0" + ATTRIBUTE.pack(8, 1) + b"\0\0\1\2"
    assert read_generation(answer) == 258
    with pytest.raises(PodnetError, match="nf_tables"):
        read_generation(head)


RANGES = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 30)).map(lambda pair: (min(pair), max(pair))), max_size=6
)


@given(RANGES, RANGES)
def test_spans_are_sets(first: list[tuple[int, int]], second: list[tuple[int, int]]) -> None:
    def numbers(ranges: list[tuple[int, int]]) -> set[int]:
        return {number for low, high in ranges for number in range(low, high + 1)}

    merged = spans.merge(first)
    assert {number for number in range(-1, 33) if spans.contains(merged, number)} == numbers(first)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(merged))
    left = spans.subtract(merged, spans.merge(second))
    assert {number for number in range(-1, 33) if spans.contains(left, number)} == numbers(first) - numbers(second)
