"""NetworkPolicy objects as the agent reads them, the inexpressible ones included."""

from ipaddress import IPv4Network
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.podnet.policy.objects import NamedPort, PortMatch, labels_hash, read_labels, read_namespace, read_pod
from agents.podnet.policy.reading import read_policy
from agents.podnet.policy.ruleset import Here, make_ruleset
from agents.podnet.policy.selectors import EVERYTHING, Requirement, Selector
from tests.unit.agents.policy.objects import namespace, pod, policy, world

BOTH = {"ingress", "egress"}


def read(spec: Any) -> Any:
    return read_policy(policy("p", spec))


@pytest.mark.parametrize(
    ("spec", "isolates"),
    [
        ({}, {"ingress"}),
        ({"egress": []}, {"ingress"}),
        ({"egress": [{}]}, BOTH),
        ({"ingress": [{}]}, {"ingress"}),
        ({"policyTypes": ["Egress"]}, {"egress"}),
        ({"policyTypes": ["Ingress"], "egress": [{}]}, {"ingress"}),
        ({"policyTypes": ["Egress", "Ingress"]}, BOTH),
    ],
)
def test_what_a_policy_isolates(spec: Any, isolates: set[str]) -> None:
    found = read({"podSelector": {}, **spec})
    assert found.isolates == isolates
    assert found.inexpressible == ()


def test_missing_and_empty_lists_stand_for_everything() -> None:
    rules: list[Any] = [{}, {"from": None, "ports": None}, {"from": [], "ports": []}]
    for rule in rules:
        (found,) = read({"podSelector": {}, "ingress": [rule]}).ingress
        assert (found.peers, found.ports) == (None, None)


def test_ports() -> None:
    ports = [{}, {"port": 80}, {"protocol": "UDP", "port": 80, "endPort": 90}, {"protocol": "SCTP", "port": "web"}]
    (found,) = read({"podSelector": {}, "ingress": [{"ports": ports}]}).ingress
    assert found.ports == (
        PortMatch("TCP"),
        PortMatch("TCP", 80, 80),
        PortMatch("UDP", 80, 90),
        PortMatch("SCTP", 0, 0, "web"),
    )


def test_selectors() -> None:
    expressions = [
        {"key": "a", "operator": "In", "values": ["1", "2"]},
        {"key": "b", "operator": "NotIn", "values": ["1"]},
        {"key": "c", "operator": "Exists"},
        {"key": "d", "operator": "DoesNotExist", "values": []},
    ]
    selector = read({"podSelector": {"matchLabels": {"x": "y"}, "matchExpressions": expressions}}).selector
    assert selector == Selector(
        frozenset(
            {
                Requirement("x", "In", frozenset("y")),
                Requirement("a", "In", frozenset("12")),
                Requirement("b", "NotIn", frozenset("1")),
                Requirement("c", "Exists"),
                Requirement("d", "DoesNotExist"),
            }
        )
    )
    assert selector.matches((("a", "2"), ("c", ""), ("x", "y")))
    assert not selector.matches((("a", "3"), ("c", ""), ("x", "y")))
    assert not selector.matches((("a", "1"), ("b", "1"), ("c", ""), ("x", "y")))
    assert not selector.matches((("a", "1"), ("c", ""), ("d", ""), ("x", "y")))


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        ({"from": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1"]}]}}]}, "Gt"),
        ({"from": [{"podSelector": {"matchExpressions": [{"key": "a", "operator": "In"}]}}]}, "In with 0 values"),
        ({"from": [{"podSelector": {"matchFields": []}}]}, "unknown field matchFields"),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.0/33"}}]}, "'10.0.0.0/33' is no CIDR"),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.0/255.0.0.0"}}]}, "is no CIDR"),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.1"}}]}, "is no CIDR"),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["x"]}}]}, "'x' is no CIDR"),
        ({"from": [{"ipBlock": {}}]}, "None is no CIDR"),
        ({"from": [{"ipBlock": {"cidr": "10.0.0.0/8"}, "podSelector": {}}]}, "neither selectors alone nor an ipBlock"),
        ({"from": [{}]}, "neither selectors alone nor an ipBlock"),
        ({"from": [{"serviceSelector": {}}]}, "unknown field serviceSelector"),
        ({"from": "everybody"}, "is no object"),
        ({"from": 7}, "not understood"),
        ({"to": [{"podSelector": {}}]}, "unknown field to"),
        ({"ports": [{"protocol": "ICMP"}]}, "unknown protocol ICMP"),
        ({"ports": [{"port": 0}]}, "no range of ports"),
        ({"ports": [{"port": 65536}]}, "no range of ports"),
        ({"ports": [{"port": True}]}, "no range of ports"),
        ({"ports": [{"port": 90, "endPort": 80}]}, "no range of ports"),
        ({"ports": [{"port": "web", "endPort": 80}]}, "no range of ports"),
        ({"ports": [{"endPort": 80}]}, "no range of ports"),
        ({"ports": [{"icmpType": 8}]}, "unknown field icmpType"),
        ("everything", "is no object"),
    ],
)
def test_a_rule_that_cannot_be_expressed_allows_nothing(rule: Any, reason: str) -> None:
    found = read({"podSelector": {}, "ingress": [rule, {"ports": [{"port": 80}]}]})
    assert [rule.index for rule in found.ingress] == [1]
    (line,) = found.inexpressible
    assert line.startswith("spec.ingress[0]") or line.startswith("not understood")
    assert reason in line


@pytest.mark.parametrize(
    ("spec", "isolates"),
    [
        (None, BOTH),
        ({"podSelector": {"matchExpressions": [{"key": "a", "operator": "Gt"}]}, "ingress": [{}]}, {"ingress"}),
        ({"podSelector": {}, "policyTypes": ["Ingress", "Forward"], "ingress": [{}]}, BOTH),
        ({"podSelector": {}, "policyTypes": 7, "ingress": [{}]}, BOTH),
        ({"podSelector": {}, "priority": 7, "ingress": [{}]}, {"ingress"}),
        ({"podSelector": {}, "ingress": {"from": []}}, {"ingress"}),
    ],
)
def test_a_policy_that_cannot_be_expressed_isolates_and_allows_nothing(spec: Any, isolates: set[str]) -> None:
    found = read(spec)
    assert found.isolates == isolates
    assert found.selector == EVERYTHING
    assert found.ingress == found.egress == ()
    assert found.inexpressible


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ("podSelector", "ingress", "egress", "from", "to", "ports", "port", "ipBlock", "cidr", "except", "matchLabels",
         "matchExpressions", "key", "operator", "values", "policyTypes", "namespaceSelector")), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


@given(JSON)
def test_nothing_makes_reading_fail(spec: Any) -> None:
    found = read(spec)
    assert found.isolates


@settings(max_examples=60, deadline=None)
@given(JSON, JSON, st.dictionaries(st.sampled_from(("a", "b")), JSON, max_size=2))
def test_no_odd_object_costs_the_ruleset_of_the_others(spec: Any, part: Any, labels: Any) -> None:
    """One that no API server would store leaves the others in force."""
    odd = pod("odd", "10.0.0.3")
    odd["metadata"]["labels"] = labels
    odd["spec"]["containers"] = odd["status"]["podIPs"] = part
    sound = policy("sound", {"podSelector": {"matchLabels": {"app": "web"}}})
    known = world([odd, pod("a", "10.0.0.2", {"app": "web"})], [sound, policy("p", spec)], [namespace("y", labels)])
    table = make_ruleset(known, Here("one", IPv4Network("10.0.0.0/24"))).table.text()
    assert "10.0.0.2" in table


@pytest.mark.parametrize("number", [None, "80", 0, 65536, True, 8.5])
def test_a_port_that_is_no_number_is_none(number: Any) -> None:
    ports = [{"name": "web", "containerPort": number}, "odd", {"name": 7, "containerPort": 1}, {"name": "b"}]
    assert read_pod(pod("a", "10.0.0.2", ports=[*ports, {"name": "c", "containerPort": 3}])).ports == (
        NamedPort("c", "TCP", 3),
    )


@pytest.mark.parametrize(
    ("policy", "ports"), [("Always", (NamedPort("metrics", "TCP", 8099),)), ("Never", ()), (None, ())]
)
def test_ports_of_native_sidecars_count_and_those_of_other_init_containers_do_not(policy: Any, ports: Any) -> None:
    item = pod("a", "10.0.0.2")
    item["spec"]["initContainers"] = [{"restartPolicy": policy, "ports": [{"name": "metrics", "containerPort": 8099}]}]
    assert read_pod(item).ports == ports


def test_ipv6_is_no_error_and_matches_nothing() -> None:
    peers = [{"ipBlock": {"cidr": "2001:db8::/32", "except": ["2001:db8::/64"]}}, {"ipBlock": {"cidr": "10.0.0.7/8"}}]
    found = read({"podSelector": {}, "ingress": [{"from": peers}]})
    assert found.inexpressible == ()
    assert [peer.spans for peer in found.ingress[0].peers] == [(), ((10 << 24, (11 << 24) - 1),)]


def test_pods() -> None:
    ports = [
        {"name": "web", "containerPort": 80},
        {"containerPort": 81},
        {"name": "d", "containerPort": 53, "protocol": "UDP"},
    ]
    found = read_pod(pod("a", "10.0.0.2", {"b": "2", "a": "1"}, ports=ports))
    assert (found.namespace, found.name, found.node, str(found.address)) == ("x", "a", "one", "10.0.0.2")
    assert found.labels == (("a", "1"), ("b", "2"))
    assert found.ports == (NamedPort("web", "TCP", 80), NamedPort("d", "UDP", 53))
    assert not found.host_network
    assert read_pod(pod("a", "10.0.0.2", host_network=True)).host_network


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_pods_without_an_address(phase: str) -> None:
    assert read_pod(pod("a", None)).address is None
    assert read_pod(pod("a", "10.0.0.2", phase=phase)).address is None
    item = pod("a", "fd00::2")
    assert read_pod(item).address is None
    item["status"]["podIPs"] = [{"ip": "fd00::2"}, {"ip": "10.0.0.2"}]
    assert str(read_pod(item).address) == "10.0.0.2"
    assert read_pod({"metadata": {"namespace": "x", "name": "a"}}).address is None


def test_namespaces_and_hashes_of_labels() -> None:
    assert read_namespace(namespace("x", {"b": "2", "a": "1"})).labels == (("a", "1"), ("b", "2"))
    # sha256 of {"a":"1","b":"2"}
    assert labels_hash(read_labels({"b": "2", "a": "1"})) == "21f76dfbfe6d"
    assert labels_hash(read_labels(None)) == labels_hash(())
