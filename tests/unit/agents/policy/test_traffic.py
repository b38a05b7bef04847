"""Rulesets under real traffic: what the kernel lets through, byte order and ranges included."""

from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any

import pytest

from agents.podnet.policy.ruleset import Here, make_ruleset
from tests.unit.agents.netns import run
from tests.unit.agents.policy.objects import Item, pod, policy, world
from tests.unit.agents.policy.wire import (
    ADDRESSES,
    OUTSIDE,
    PODS,
    SUBNET,
    Wire,
    ping,
    sctp,
    tcp,
    udp,
)

pytestmark = pytest.mark.netns

HERE = Here("one", IPv4Network(SUBNET))
WEB = [{"name": "web", "containerPort": 8081, "protocol": "TCP"}]
A = pod("a", PODS["a"], {"app": "a"})
B = pod("b", PODS["b"], {"app": "b"}, ports=WEB)
REMOTE = pod("remote", OUTSIDE, {"app": "remote"}, node="two", ports=WEB)
SELECT_A: Item = {"podSelector": {"matchLabels": {"app": "a"}}}
SELECT_B: Item = {"podSelector": {"matchLabels": {"app": "b"}}}
DENY_B = policy("deny", {**SELECT_B, "policyTypes": ["Ingress"]})


@pytest.fixture(scope="module")
def shared_wire() -> Iterator[Wire]:
    with Wire() as wire:
        yield wire


@pytest.fixture
def wire(shared_wire: Wire) -> Wire:
    """Without any policy, and with nothing left in conntrack's memory."""
    shared_wire.shell("nft", "flush", "ruleset")
    return shared_wire


def apply(wire: Wire, *policies: Item, pods: tuple[Item, ...] = (A, B, REMOTE)) -> None:
    text = make_ruleset(world(list(pods), list(policies)), HERE).text
    run("ip", "netns", "exec", wire.node, "sh", "-c", f"nft -f - <<'END'\n{text}\nEND")


def ingress_of_b(*rules: Any) -> Item:
    return policy("allow", {**SELECT_B, "ingress": list(rules)})


def egress_of_a(*rules: Any) -> Item:
    return policy("allow", {**SELECT_A, "policyTypes": ["Egress"], "egress": list(rules)})


def reached(wire: Wire, source: str, target: str) -> set[str]:
    probes = {"TCP 80": tcp, "UDP 80": udp, "SCTP 80": sctp}
    found = {name for name, probe in probes.items() if probe(wire, source, target, 80)}
    return found | ({"ICMP"} if ping(wire, source, target) else set())


EVERYTHING = {"TCP 80", "UDP 80", "SCTP 80", "ICMP"}


@pytest.mark.parametrize("source", ["a", "outside"])
def test_protocols(wire: Wire, source: str) -> None:
    assert reached(wire, source, "b") == EVERYTHING
    apply(wire)
    assert reached(wire, source, "b") == EVERYTHING
    apply(wire, DENY_B)
    assert reached(wire, source, "b") == set()
    apply(wire, DENY_B, ingress_of_b({}))
    assert reached(wire, source, "b") == EVERYTHING
    for protocol in ("TCP", "UDP", "SCTP"):
        apply(wire, DENY_B, ingress_of_b({"ports": [{"protocol": protocol, "port": 80}]}))
        assert reached(wire, source, "b") == {f"{protocol} 80"}
        apply(wire, DENY_B, ingress_of_b({"ports": [{"protocol": protocol}]}))
        assert reached(wire, source, "b") == {f"{protocol} 80"}


@pytest.mark.parametrize("target", ["b", "outside"])
def test_egress(wire: Wire, target: str) -> None:
    apply(wire, egress_of_a())
    assert reached(wire, "a", target) == set()
    assert reached(wire, target, "a") == EVERYTHING
    apply(wire, egress_of_a({"to": [{"ipBlock": {"cidr": f"{ADDRESSES[target]}/32"}}], "ports": [{"port": 80}]}))
    assert reached(wire, "a", target) == {"TCP 80"}
