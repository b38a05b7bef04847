"""The built-in suite: its reader, and that its cases say what the API's specification says, by the policy engine."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from ipaddress import IPv4Network
from itertools import product

import pytest

from kubeproof.matrix.cases import NAMESPACES, PODS, PORTS, Case, LabelChange, load, read
from kubeproof.policy.model import PROTOCOLS, Direction, IpBlock, Peer, Policy, Rule, World
from kubeproof.policy.selectors import EVERYTHING, OPERATORS, Selector
from kubeproof.terminal.errors import UserError
from tests.unit.matrix import fixed_world
from tests.unit.matrix.fixed_world import ADDRESSES, OUTSIDE, SOURCES, WAYS, Expectation, expectations

ALL_ADDRESSES = IPv4Network("0.0.0.0/0")
VTEPS = {IPv4Network(subnet.network_address) for subnet in ADDRESSES.subnets.values()}

each_case = pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in load()])


@each_case
def test_a_case_is_written_as_the_suite_says(case: Case) -> None:
    raw = fixed_world.written()[case.name]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", case.name)
    assert raw.keys() <= {"shows", "policies", "labels", "allowed", "denied"}
    assert case.shows[0].isupper()
    assert not case.shows.endswith(".")
    assert {policy["metadata"]["namespace"] for policy in case.policies} <= {
        f"kubeproof-{short}" for short in NAMESPACES
    }
    for change in case.changes:
        assert change.name in (PODS if change.kind == "pod" else NAMESPACES)
        assert change.set or change.remove
        # Services select pods by it: a case that changed it would take their endpoints away.
        assert change.kind == "namespace" or "pod" not in (*change.set, *change.remove)
    for expected in expectations(case):
        assert expected.source in SOURCES
        assert expected.target in PODS
        if expected.source == OUTSIDE:
            # What NodePorts are there for.
            assert (expected.port, expected.by) == (80, "address")
            assert expected.protocol != "SCTP"


@each_case
def test_the_api_server_would_take_every_policy(case: Case) -> None:
    assert len(fixed_world.policies(case)) == len(case.policies)


@each_case
def test_the_engine_agrees_with_every_expectation(case: Case) -> None:
    world = fixed_world.world(case)
    wrong = []
    for expected in expectations(case):
        decisions = fixed_world.decisions(world, expected)
        # "Not by name" may be for either reason; every other node has to be denied.
        denied_for_any = expected.by == "name"
        allowed = [decision.allowed for decision in decisions]
        right = (all(allowed) == expected.allowed) if denied_for_any else set(allowed) == {expected.allowed}
        if not right:
            wrong.append("\n  ".join([str(expected), *map(str, decisions)]))
    assert not wrong, "\n".join(wrong)


@each_case
def test_a_case_expects_both_outcomes_where_they_are_possible(case: Case) -> None:
    missing = {True, False} - {expected.allowed for expected in expectations(case)}
    if missing:
        world = fixed_world.world(case)
        assert not missing & {_allowed(world, expected) for expected in _everything()}


def _allowed(world: World, expected: Expectation) -> bool:
    return all(decision.allowed for decision in fixed_world.decisions(world, expected))


def _everything() -> Iterator[Expectation]:
    for source, target, port, protocol in product(SOURCES, PODS, PORTS, PROTOCOLS):
        yield Expectation(source, target, port, protocol, "address", allowed=True)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in load() if case.changes])
def test_label_changes_make_a_difference(case: Case) -> None:
    world = fixed_world.world(replace(case, changes=()))
    assert any(_allowed(world, expected) != expected.allowed for expected in expectations(case))


def test_there_are_as_many_policies_as_the_suite_promises() -> None:
    assert len(load()) >= 100
    assert sum(len(case.policies) for case in load()) >= 100


def test_sentences_are_different() -> None:
    sentences = [case.shows for case in load()]
    assert len(set(sentences)) == len(sentences)


# --- Features of the API ---


@cache
def _policies() -> tuple[Policy, ...]:
    return tuple(policy for case in load() for policy in fixed_world.policies(case))


@cache
def _specs() -> tuple[dict[str, object], ...]:
    return tuple(policy["spec"] for case in load() for policy in case.policies if isinstance(policy["spec"], dict))


def _types(*types: str) -> Callable[[dict[str, object]], bool]:
    return lambda spec: spec.get("policyTypes") == list(types)


def _no_types(field: str, *, given: bool) -> Callable[[dict[str, object]], bool]:
    return lambda spec: "policyTypes" not in spec and (field in spec) == given


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


SPECS: dict[str, Callable[[dict[str, object]], bool]] = {
    "no types, no ingress": _no_types("ingress", given=False),
    "no types, ingress": _no_types("ingress", given=True),
    "no types, no egress": _no_types("egress", given=False),
    "no types, egress": _no_types("egress", given=True),
    "no types, empty egress": lambda spec: "policyTypes" not in spec and spec.get("egress") == [],
    "empty types": _types(),
    "types Ingress": _types("Ingress"),
    "types Egress": _types("Egress"),
    "types both": _types("Ingress", "Egress"),
    "types both, the other way round": _types("Egress", "Ingress"),
    "types Ingress, with an egress section": lambda spec: spec.get("policyTypes") == ["Ingress"] and "egress" in spec,
    "types Egress, with an ingress section": lambda spec: spec.get("policyTypes") == ["Egress"] and "ingress" in spec,
    "ingress missing": lambda spec: "Ingress" in str(spec.get("policyTypes")) and "ingress" not in spec,
    "ingress empty": lambda spec: spec.get("ingress") == [],
    "ingress of one empty rule": lambda spec: spec.get("ingress") == [{}],
    "egress missing": lambda spec: "Egress" in str(spec.get("policyTypes")) and "egress" not in spec,
    "egress empty": lambda spec: "Egress" in str(spec.get("policyTypes")) and spec.get("egress") == [],
    "egress of one empty rule": lambda spec: spec.get("egress") == [{}],
    "from empty": lambda spec: "'from': []" in str(spec),
    "to empty": lambda spec: "'to': []" in str(spec),
    "ports empty": lambda spec: "'ports': []" in str(spec),
    "port item empty": lambda spec: "'ports': [{}]" in str(spec),
    "twenty rules": lambda spec: len(_list(spec.get("ingress"))) == 20,
}


@pytest.mark.parametrize("feature", SPECS)
def test_a_form_of_writing_occurs(feature: str) -> None:
    assert any(SPECS[feature](spec) for spec in _specs())


@dataclass(frozen=True)
class _Used:
    """A rule of the suite, in its policy."""

    policy: Policy
    rule: Rule

    @property
    def blocks(self) -> list[IpBlock]:
        return [peer.ip_block for peer in self.rule.peers if peer.ip_block is not None]

    @property
    def pod_selectors(self) -> list[Selector]:
        """Of peers that have no namespaceSelector."""
        return [
            peer.pod_selector
            for peer in self.rule.peers
            if peer.pod_selector is not None and peer.namespace_selector is None
        ]

    @property
    def namespace_selectors(self) -> list[Selector]:
        return [peer.namespace_selector for peer in self.rule.peers if peer.namespace_selector is not None]

    @property
    def both(self) -> list[Peer]:
        return [peer for peer in self.rule.peers if peer.pod_selector is not None and peer.namespace_selector]


def _used(direction: Direction) -> Iterator[_Used]:
    for policy in _policies():
        yield from (_Used(policy, rule) for rule in policy.rules(direction) if direction in policy.types)


def _with(operator: str, selectors: Iterable[Selector]) -> bool:
    return any(requirement.operator == operator for selector in selectors for requirement in selector.expressions)


def _port(**wanted: object) -> Callable[[_Used], bool]:
    return lambda used: any(
        all(getattr(port, field) == value for field, value in wanted.items()) for port in used.rule.ports
    )


def _named(protocol: str) -> Callable[[_Used], bool]:
    return lambda used: any(isinstance(port.port, str) and port.protocol == protocol for port in used.rule.ports)


IN_BOTH_DIRECTIONS: dict[str, Callable[[_Used], bool]] = {
    "everybody": lambda used: not used.rule.peers,
    "peer: pods": lambda used: bool(used.pod_selectors),
    "peer: all pods": lambda used: EVERYTHING in used.pod_selectors,
    "peer: pods NotIn": lambda used: _with("NotIn", used.pod_selectors),
    "peer: pods Exists": lambda used: _with("Exists", used.pod_selectors),
    "peer: namespaces": lambda used: bool(used.namespace_selectors),
    "peer: all namespaces": lambda used: EVERYTHING in used.namespace_selectors,
    "peer: namespaces In": lambda used: _with("In", used.namespace_selectors),
    "peer: namespaces NotIn": lambda used: _with("NotIn", used.namespace_selectors),
    "peer: namespaces DoesNotExist": lambda used: _with("DoesNotExist", used.namespace_selectors),
    "peer: namespaces and pods": lambda used: bool(used.both),
    "peers: several": lambda used: len(used.rule.peers) > 1,
    "peers: namespaces or pods": lambda used: bool(used.pod_selectors and used.namespace_selectors),
    "block: of one address": lambda used: any(block.cidr.prefixlen == 32 for block in used.blocks),
    "block: the pod CIDR": lambda used: any(block.cidr == ADDRESSES.pod_cidr for block in used.blocks),
    "block: all addresses": lambda used: any(block.cidr == ALL_ADDRESSES for block in used.blocks),
    "block: with an exception": lambda used: any(block.excepts for block in used.blocks),
    "all ports": lambda used: not used.rule.ports,
    "port: TCP by number": _port(protocol="TCP", port=80),
    "port: UDP by number": _port(protocol="UDP", port=81),
    "port: SCTP by number": _port(protocol="SCTP", port=81),
    "port: TCP by name": _named("TCP"),
    "port: UDP by name": _named("UDP"),
    "port: all TCP": _port(protocol="TCP", port=None),
    "port: all UDP": _port(protocol="UDP", port=None),
    "port: a range": lambda used: any(port.end_port is not None for port in used.rule.ports),
    "ports: several": lambda used: len(used.rule.ports) > 1,
    "peers and ports": lambda used: bool(used.rule.peers and used.rule.ports),
}

INGRESS: dict[str, Callable[[_Used], bool]] = {
    "peer: pods DoesNotExist": lambda used: _with("DoesNotExist", used.pod_selectors),
    "peer: pods In": lambda used: _with("In", used.pod_selectors),
    "peer: namespaces Exists": lambda used: _with("Exists", used.namespace_selectors),
    "peer: namespaces by several requirements": lambda used: any(
        len(selector.expressions) > 1 for selector in used.namespace_selectors
    ),
    "peer: pods of all namespaces": lambda used: any(peer.namespace_selector == EVERYTHING for peer in used.both),
    "peer: all pods of namespaces": lambda used: any(peer.pod_selector == EVERYTHING for peer in used.both),
    "block: of nodes": lambda used: any(block.cidr in VTEPS for block in used.blocks),
    "block: the node network": lambda used: any(block.cidr == ADDRESSES.node_network for block in used.blocks),
    "block: the client outside": lambda used: any(
        block.cidr == IPv4Network(ADDRESSES.outside) for block in used.blocks
    ),
    "block: several exceptions": lambda used: any(len(block.excepts) > 1 for block in used.blocks),
    "block: IPv6": lambda used: any(block.cidr.version == 6 for block in used.blocks),
    "port: SCTP by name": _named("SCTP"),
    "port: all SCTP": _port(protocol="SCTP", port=None),
    "port: a range of one": lambda used: any(port.end_port == port.port for port in used.rule.ports),
    "port: by name and number": lambda used: {int, str} <= {type(port.port) for port in used.rule.ports},
    "blocks and selectors": lambda used: bool(used.blocks and used.pod_selectors and used.namespace_selectors),
}

RULES: list[tuple[Direction, str, Callable[[_Used], bool]]] = [
    *(("Ingress", name, test) for name, test in {**IN_BOTH_DIRECTIONS, **INGRESS}.items()),
    *(("Egress", name, test) for name, test in IN_BOTH_DIRECTIONS.items()),
]


@pytest.mark.parametrize(
    ("direction", "test"), [pytest.param(way, test, id=f"{way} {name}") for way, name, test in RULES]
)
def test_a_feature_of_rules_occurs(direction: Direction, test: Callable[[_Used], bool]) -> None:
    assert any(test(used) for used in _used(direction))


@pytest.mark.parametrize("operator", OPERATORS)
def test_policies_select_their_pods_by_every_operator(operator: str) -> None:
    assert any(_with(operator, [policy.pod_selector]) for policy in _policies())


def test_ways_and_sources_occur_with_both_outcomes() -> None:
    found = [expected for case in load() for expected in expectations(case)]
    assert {(item.by, item.allowed) for item in found} == set(product(WAYS, (True, False)))
    for source in ("node:other", "outside", "x/a"):
        assert {item.allowed for item in found if item.source == source} == {True, False}
    assert {(item.protocol, item.allowed) for item in found} == set(product(PROTOCOLS, (True, False)))


# --- The reader ---

WHOLE = """
common: [&peer {from: [{ipBlock: {cidr: "${vteps}/32"}}]}]
one:
  shows: A case with everything
  policies: {x/p: {podSelector: {}, ingress: [*peer]}}
  labels: {pods: {x/a: {set: {team: blue}, remove: [role]}}, namespaces: {"y": {remove: [ns]}}}
  denied: [x/b -> x/a by service UDP 81]
"""


def test_a_case_is_read_whole() -> None:
    [case] = read("07-some-theme.yaml", WHOLE)
    assert (case.name, case.theme, case.shows) == ("one", "some-theme", "A case with everything")
    [policy] = case.policies
    assert (policy["kind"], policy["metadata"]) == ("NetworkPolicy", {"name": "p", "namespace": "kubeproof-x"})
    assert case.changes == (
        LabelChange("pod", "x/a", {"team": "blue"}, ("role",)),
        LabelChange("namespace", "y", {}, ("ns",)),
    )


def test_a_change_of_labels_sets_and_removes() -> None:
    change = LabelChange("pod", "x/a", {"team": "blue", "pod": "z"}, ("role",))
    assert change.applied({"pod": "a", "role": "db", "tier": "t"}) == {"pod": "z", "team": "blue", "tier": "t"}


def test_what_is_no_yaml_is_refused() -> None:
    with pytest.raises(UserError, match="one is there twice"):
        list(read("file.yaml", WHOLE.replace("common:", "one:")))


def test_filling_a_case_leaves_it_as_it_is() -> None:
    [case] = read("file.yaml", WHOLE)
    peers = [{"ipBlock": {"cidr": f"10.244.{number}.0/32"}} for number in range(3)]
    for _ in range(2):
        [policy] = case.policies_for(ADDRESSES.values())
        assert policy["spec"] == {"podSelector": {}, "ingress": [{"from": peers}]}
