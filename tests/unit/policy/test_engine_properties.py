"""What holds of the engine in every world."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address
from random import Random
from typing import TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from kubeproof.policy.engine import Decision, NodeEnd, OutsideEnd, PodEnd, Verdict, judge
from kubeproof.policy.model import DIRECTIONS, PROTOCOLS, Direction, IpBlock, Peer, Policy, PortSpec, Rule, World
from kubeproof.policy.selectors import Requirement, Selector
from tests.unit.policy import strategies
from tests.unit.policy.strategies import Cell, questions, wider

# Each example is hundreds of connections in one world.
bounded = settings(max_examples=12, deadline=None)
T = TypeVar("T")
Question = tuple[World, list[Cell]]


def with_policies(world: World, policies: tuple[Policy, ...]) -> World:
    return replace(world, policies=policies)


def mapped(world: World, change: Callable[[Rule], Rule]) -> World:
    """A world with each rule changed."""
    return with_policies(
        world,
        tuple(
            replace(policy, ingress=tuple(map(change, policy.ingress)), egress=tuple(map(change, policy.egress)))
            for policy in world.policies
        ),
    )


def in_one_direction(policy: Policy, name: str, direction: Direction, rules: tuple[Rule, ...]) -> Policy:
    """A policy for the same pods that isolates in a single direction."""
    ingress, egress = (rules, ()) if direction == "Ingress" else ((), rules)
    return replace(policy, name=name, types=(direction,), ingress=ingress, egress=egress)


def same(one: World, other: World, cells: list[Cell]) -> None:
    for cell in cells:
        assert judge(one, *cell).allowed == judge(other, *cell).allowed


def as_empty(selector: Selector | None) -> Selector | None:
    return None if selector is None else Selector()


def singles(items: tuple[T, ...]) -> list[tuple[T, ...]]:
    return [(item,) for item in items]


def never_less(narrow: World, wide: World, cells: list[Cell]) -> None:
    for cell in cells:
        assert judge(wide, *cell).allowed >= judge(narrow, *cell).allowed


@bounded
@given(questions(), st.randoms(use_true_random=False))
def test_order_of_policies_rules_peers_and_ports_does_not_matter(asked: Question, random: Random) -> None:
    world, cells = asked

    def shuffled(items: tuple[T, ...]) -> tuple[T, ...]:
        return tuple(random.sample(items, len(items)))

    def reordered(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        return shuffled(tuple(Rule(shuffled(rule.peers), shuffled(rule.ports)) for rule in rules))

    changed = tuple(
        replace(
            policy, types=shuffled(policy.types), ingress=reordered(policy.ingress), egress=reordered(policy.egress)
        )
        for policy in world.policies
    )
    same(world, with_policies(world, shuffled(changed)), cells)


@bounded
@given(questions(), strategies.policies)
def test_a_policy_allows_an_isolated_pod_no_more_than_the_union(asked: Question, policy: Policy) -> None:
    world, cells = asked
    added = replace(policy, name="added")
    alone, together = with_policies(world, (added,)), with_policies(world, (*world.policies, added))
    for cell in cells:
        before, by_itself, after = judge(world, *cell), judge(alone, *cell), judge(together, *cell)
        for old, own, new in zip(_verdicts(before), _verdicts(by_itself), _verdicts(after), strict=True):
            if old.policies and own.policies:
                assert new.allowed == (old.allowed or own.allowed)
            elif own.policies:
                assert new.allowed == own.allowed
            else:
                assert new.allowed == old.allowed


def _verdicts(decision: Decision) -> tuple[Verdict, Verdict]:
    return decision.egress, decision.ingress


@bounded
@given(questions())
def test_splitting_policies_by_rule_and_by_direction_changes_nothing(asked: Question) -> None:
    world, cells = asked
    parts = [
        in_one_direction(policy, f"{policy.name}-{direction}-{index}", direction, part)
        for policy in world.policies
        for direction in policy.types
        for index, part in enumerate([(), *singles(policy.rules(direction))])
    ]
    same(world, with_policies(world, tuple(parts)), cells)


@bounded
@given(questions())
def test_splitting_a_rule_by_peers_and_ports_changes_nothing(asked: Question) -> None:
    world, cells = asked

    def split(rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        return tuple(
            Rule(peers, ports)
            for rule in rules
            for peers in singles(rule.peers) or [()]
            for ports in singles(rule.ports) or [()]
        )

    changed = tuple(replace(p, ingress=split(p.ingress), egress=split(p.egress)) for p in world.policies)
    same(world, with_policies(world, changed), cells)


@bounded
@given(questions())
def test_without_policies_everything_is_allowed(asked: Question) -> None:
    world, cells = asked
    assert all(judge(with_policies(world, ()), *cell).allowed for cell in cells)


@bounded
@given(questions())
def test_an_empty_selector_equals_all(asked: Question) -> None:
    """{} is as good as listing what exists, and as two expressions of which one always holds."""
    world, cells = asked
    either = [
        Selector({}, (Requirement("k", "Exists"),)),
        Selector({}, (Requirement("k", "DoesNotExist"),)),
    ]

    def emptied(peer: Peer) -> Peer:
        return peer if peer.ip_block else Peer(as_empty(peer.pod_selector), as_empty(peer.namespace_selector))

    def spelled_out(peer: Peer) -> list[Peer]:
        if peer.ip_block:
            return [peer]
        pods = either if peer.pod_selector else [None]
        namespaces = either if peer.namespace_selector else [None]
        return [Peer(*both) for both in itertools.product(pods, namespaces)]

    empty = mapped(world, lambda rule: replace(rule, peers=tuple(map(emptied, rule.peers))))
    listed = mapped(world, lambda rule: replace(rule, peers=tuple(p for peer in rule.peers for p in spelled_out(peer))))
    same(empty, listed, cells)
    never_less(world, empty, cells)


@bounded
@given(questions())
def test_a_policy_for_all_pods_equals_one_for_each_half(asked: Question) -> None:
    world, cells = asked
    whole = tuple(replace(policy, pod_selector=Selector()) for policy in world.policies)
    halves = tuple(
        replace(
            policy, name=f"{policy.name}-{operator.lower()}", pod_selector=Selector({}, (Requirement("k", operator),))
        )
        for policy in world.policies
        for operator in ("Exists", "DoesNotExist")
    )
    same(with_policies(world, whole), with_policies(world, halves), cells)


@bounded
@given(questions())
def test_widening_a_network_never_denies_and_widening_what_is_excepted_never_allows(asked: Question) -> None:
    world, cells = asked

    def with_blocks(change: Callable[[IpBlock], IpBlock]) -> World:
        return mapped(
            world,
            lambda rule: replace(
                rule, peers=tuple(Peer(ip_block=change(p.ip_block)) if p.ip_block else p for p in rule.peers)
            ),
        )

    never_less(world, with_blocks(lambda block: replace(block, cidr=wider(block.cidr))), cells)
    never_less(world, with_blocks(lambda block: replace(block, excepts=())), cells)
    more = with_blocks(lambda block: replace(block, excepts=tuple(map(wider, block.excepts))))
    never_less(more, world, cells)


@bounded
@given(questions(), strategies.rules)
def test_a_rule_more_never_denies(asked: Question, rule: Rule) -> None:
    world, cells = asked
    more = tuple(replace(p, ingress=(*p.ingress, rule), egress=(rule, *p.egress)) for p in world.policies)
    never_less(world, with_policies(world, more), cells)


@bounded
@given(questions())
def test_wider_ports_never_deny(asked: Question) -> None:
    world, cells = asked

    def widened(spec: PortSpec) -> PortSpec:
        if isinstance(spec.port, int):
            return replace(spec, end_port=(spec.end_port or spec.port) + 1)
        return replace(spec, port=None)

    never_less(world, mapped(world, lambda rule: replace(rule, ports=tuple(map(widened, rule.ports)))), cells)
    without = mapped(world, lambda rule: replace(rule, ports=()))
    never_less(world, without, cells)
    every = tuple(PortSpec(protocol) for protocol in PROTOCOLS)
    same(without, mapped(world, lambda rule: replace(rule, ports=every)), [cell for cell in cells if cell[2] != "ICMP"])


@bounded
@given(questions())
def test_a_range_equals_its_ports(asked: Question) -> None:
    world, cells = asked

    def listed(spec: PortSpec) -> list[PortSpec]:
        if not isinstance(spec.port, int) or spec.end_port is None:
            return [spec]
        return [PortSpec(spec.protocol, port) for port in range(spec.port, spec.end_port + 1)]

    same(world, mapped(world, lambda rule: replace(rule, ports=tuple(p for s in rule.ports for p in listed(s)))), cells)


@bounded
@given(questions())
def test_the_named_rule_allows_and_the_named_policies_isolate(asked: Question) -> None:
    world, cells = asked
    for cell in cells:
        decision = judge(world, *cell)
        assert decision.allowed == (decision.egress.allowed and decision.ingress.allowed)
        for direction, verdict in zip(DIRECTIONS, (decision.ingress, decision.egress), strict=True):
            isolating = tuple(policy for policy in world.policies if policy.full_name in verdict.policies)
            assert len(isolating) == len(verdict.policies)
            if verdict.rule is None:
                # Denied, or nobody isolates: with any other policies away it stays so.
                assert verdict.allowed == (not verdict.policies)
                continue
            assert verdict.rule.direction == direction
            named = next(policy for policy in isolating if policy.full_name == verdict.rule.policy)
            rule = named.rules(direction)[verdict.rule.index]
            only = in_one_direction(named, "only", direction, (rule,))
            assert judge(with_policies(world, (only,)), *cell).allowed
            assert str(verdict.rule) in verdict.reason


@bounded
@given(questions())
def test_only_policies_of_a_pods_namespace_isolate_it(asked: Question) -> None:
    world, cells = asked
    for cell in cells:
        decision = judge(world, *cell)
        for end, verdict in ((cell[0], decision.egress), (cell[1], decision.ingress)):
            if not isinstance(end, PodEnd) or end.pod.host_network:
                assert verdict.policies == ()
            else:
                assert {name.split("/")[0] for name in verdict.policies} <= {end.pod.namespace}


@bounded
@given(questions())
def test_a_denial_gives_a_reason_for_each_rule(asked: Question) -> None:
    world, cells = asked
    by_name = {policy.full_name: policy for policy in world.policies}
    for cell in cells:
        decision = judge(world, *cell)
        for direction, verdict in zip(DIRECTIONS, (decision.ingress, decision.egress), strict=True):
            if verdict.allowed:
                continue
            for name in verdict.policies:
                rules = by_name[name].rules(direction)
                lines = verdict.reason.split("; ")[2:]
                expected = [f"{name} {direction.lower()}[{index}]: " for index in range(len(rules))] or [
                    f"{name} has no "
                ]
                assert [line for line in lines if line.startswith(f"{name} ")] == [
                    next(line for line in lines if line.startswith(start)) for start in expected
                ]
                assert not any(line.endswith(": ") for line in lines)


@bounded
@given(questions())
def test_a_pod_with_host_network_is_judged_as_its_node(asked: Question) -> None:
    world, cells = asked
    for source, destination, protocol, port in cells:
        if isinstance(source, PodEnd) and source.pod.host_network:
            assert source.pod.ip is not None
            node = NodeEnd(str(source.pod.node), source.pod.ip)
            assert judge(world, source, destination, protocol, port) == judge(world, node, destination, protocol, port)


@bounded
@given(questions())
def test_labels_of_who_is_outside_do_not_exist(asked: Question) -> None:
    """Nodes and outside pass by address alone: with no ipBlock and no rule for everybody they never do."""
    world, cells = asked

    def selectors_only(rule: Rule) -> Rule:
        return replace(rule, peers=tuple(p for p in rule.peers if not p.ip_block) or (Peer(Selector()),))

    strict = mapped(world, selectors_only)
    outside = OutsideEnd(IPv4Address("10.244.1.2"))
    for _, destination, protocol, port in cells:
        decision = judge(strict, outside, destination, protocol, port)
        assert decision.allowed == (not decision.ingress.policies)


@bounded
@given(questions())
def test_the_answer_is_the_same_twice(asked: Question) -> None:
    world, cells = asked
    again = World.of(world.namespaces.values(), world.pods.values(), world.policies)
    for cell in cells:
        first = judge(world, *cell)
        assert first == judge(world, *cell) == judge(again, *cell)
        assert str(first).startswith("allowed: " if first.allowed else "denied: ")
