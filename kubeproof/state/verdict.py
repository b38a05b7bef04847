"""What a chain of iptables rules decides about one packet, worked out rule by rule (iptables(8)). Pure.

A rule with a condition that the model has no field for, such as a match on an ipset, is passed over: what is decided
holds for packets that it does not match. :func:`doubtful` names such rules.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from typing import TypeVar

from kubeproof.state.iptables import Match, Rule, Ruleset

T = TypeVar("T")

TERMINAL = ("ACCEPT", "DROP", "REJECT", "MASQUERADE", "SNAT", "DNAT")
DEEPEST = 16
"""Jumps within jumps: iptables refuses loops, a text need not."""


@dataclass(frozen=True)
class Packet:
    """The first packet of a connection. Interfaces are names; "" is none."""

    source: IPv4Address
    destination: IPv4Address
    in_interface: str = ""
    out_interface: str = ""
    protocol: str = "tcp"
    mark: int = 0
    state: str = "NEW"


def verdict(ruleset: Ruleset, table: str, rules: tuple[Rule, ...], packet: Packet) -> Rule | None:
    """The rule that decides over a packet that goes through ``rules``; None if it comes out at their end."""
    return _walk(ruleset, table, rules, packet, DEEPEST, [])[0]


def doubtful(ruleset: Ruleset, table: str, rules: tuple[Rule, ...], packet: Packet) -> tuple[Rule, ...]:
    """Rules that were passed over on the way and match the packet as far as their conditions are understood."""
    passed_over: list[Rule] = []
    _walk(ruleset, table, rules, packet, DEEPEST, passed_over)
    return tuple(passed_over)


def _walk(
    ruleset: Ruleset, table: str, rules: tuple[Rule, ...], packet: Packet, depth: int, passed_over: list[Rule]
) -> tuple[Rule | None, Packet]:
    """The deciding rule, if any, and the packet with its mark as it comes out."""
    for rule in rules:
        if rule.other and matches(replace(rule, other=()), packet):
            passed_over.append(rule)
        if not matches(rule, packet):
            continue
        if rule.target in TERMINAL:
            return rule, packet
        if rule.target == "RETURN":
            return None, packet
        if rule.target == "MARK" and rule.set_mark is not None:
            packet = replace(packet, mark=(packet.mark & ~rule.set_mark.mask) ^ rule.set_mark.value)
            continue
        inner = ruleset.rules(table, rule.target)
        if inner and depth > 0:
            decided, packet = _walk(ruleset, table, inner, packet, depth - 1, passed_over)
            if decided is not None or rule.goto:
                return decided, packet
    return None, packet


def matches(rule: Rule, packet: Packet) -> bool:
    """Whether a packet meets all conditions of a rule, and all of them are known."""
    if rule.other:
        return False
    unknown = (rule.source_port, rule.destination_port, rule.source_type, rule.destination_type, rule.probability)
    if any(condition is not None for condition in unknown):
        return False
    return (
        _holds(rule.source, lambda network: packet.source in network)
        and _holds(rule.destination, lambda network: packet.destination in network)
        and _holds(rule.in_interface, lambda pattern: is_named(packet.in_interface, pattern))
        and _holds(rule.out_interface, lambda pattern: is_named(packet.out_interface, pattern))
        and _holds(rule.protocol, lambda protocol: packet.protocol == protocol)
        and _holds(rule.conntrack_states, lambda states: packet.state in states)
        and _holds(rule.mark, lambda mark: packet.mark & mark.mask == mark.value)
    )


def _holds(condition: Match[T] | None, test: Callable[[T], bool]) -> bool:
    return condition is None or test(condition.value) != condition.negated


def is_named(name: str, pattern: str) -> bool:
    """An interface's name ends in + for any that begins with it."""
    return name.startswith(pattern[:-1]) if pattern.endswith("+") else name == pattern
