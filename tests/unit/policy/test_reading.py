"""Objects made into the model."""

import json
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeproof.policy import names
from kubeproof.policy.model import ContainerPort, IpBlock, Namespace, Node, Peer, Pod, Policy, PortSpec, Rule, Workload
from kubeproof.policy.reading import Objects, read_cluster, read_documents, read_files
from kubeproof.policy.selectors import EVERYTHING, Requirement, Selector
from kubeproof.terminal.errors import UserError
from tests.unit.policy import strategies

POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: everything
  namespace: x
  labels: {app.kubernetes.io/name: z, empty: ''}
spec:
  podSelector:
    matchLabels: {access: "true", day: 2020-01-01}
    matchExpressions:
    - {key: example.com/role, operator: In, values: [db, Web_1.0]}
    - {key: old, operator: DoesNotExist}
  policyTypes: [Egress, Ingress]
  ingress:
  - from:
    - ipBlock: {cidr: 172.17.0.1/16, except: [172.17.1.0/24]}
    - namespaceSelector: {}
      podSelector:
    - podSelector: {matchLabels: null}
    ports:
    - {protocol: UDP, port: dns}
    - port: 32000
      endPort: 32768
    - {}
  - {}
  egress:
"""


def read(text: str, *, policies_only: bool = False) -> Objects:
    Path("f.yaml").write_text(text)
    return read_files([Path("f.yaml")], policies_only=policies_only)


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_policy_with_everything() -> None:
    selector = Selector(
        {"access": "true", "day": "2020-01-01"},
        (Requirement("example.com/role", "In", ("db", "Web_1.0")), Requirement("old", "DoesNotExist")),
    )
    peers = (
        Peer(ip_block=IpBlock(IPv4Network("172.17.0.0/16"), (IPv4Network("172.17.1.0/24"),))),
        Peer(namespace_selector=EVERYTHING),
        Peer(EVERYTHING),
    )
    ports = (PortSpec("UDP", "dns"), PortSpec("TCP", 32000, 32768), PortSpec())
    assert read(POLICY, policies_only=True).policies == (
        Policy("x", "everything", selector, ("Ingress", "Egress"), (Rule(peers, ports), Rule()), ()),
    )


def test_an_end_port_is_noted_since_older_servers_drop_it() -> None:
    (note,) = read(POLICY).notes
    assert note == (
        "f.yaml document 1 (NetworkPolicy x/everything): spec.ingress[0].ports[1].endPort: "
        "API servers before 1.21 drop it, which leaves 32000 alone"
    )


HEAD = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: p}\n"


@pytest.mark.parametrize(
    "spec", ["", "spec:", "spec: {}", "spec: {podSelector: {}}", "spec: {podSelector: null, ingress: []}"]
)
def test_missing_parts_are_the_api_servers_defaults(spec: str) -> None:
    assert read(HEAD + spec).policies == (Policy("default", "p", EVERYTHING, ("Ingress",)),)


@pytest.mark.parametrize(
    ("spec", "types"),
    [
        ("{egress: [{}]}", ("Ingress", "Egress")),
        ("{egress: []}", ("Ingress",)),
        ("{egress: [{}], policyTypes: [Ingress]}", ("Ingress",)),
        ("{policyTypes: [Egress]}", ("Egress",)),
        ("{policyTypes: [Egress, Egress]}", ("Egress",)),
    ],
)
def test_policy_types(spec: str, types: tuple[str, ...]) -> None:
    assert read(f"{HEAD}spec: {spec}").policies[0].types == types


def test_an_ipv6_block_is_taken_and_noted() -> None:
    objects = read(f"{HEAD}spec: {{ingress: [{{from: [{{ipBlock: {{cidr: '2001:db8::/32'}}}}]}}]}}")
    assert objects.policies[0].ingress[0].peers[0].ip_block == IpBlock(IPv6Network("2001:db8::/32"))
    assert objects.notes == (
        "f.yaml document 1 (NetworkPolicy default/p): spec.ingress[0].from[0].ipBlock.cidr: "
        "2001:db8::/32 is IPv6 and matches nothing in this IPv4 network",
    )


OBJECTS = """
apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: Namespace, metadata: {name: x, labels: {team: blue}}}
- apiVersion: v1
  kind: Pod
  metadata: {name: a.b, labels: {app: web}}
  spec:
    nodeName: n1
    containers:
    - {name: one, image: i, ports: [{containerPort: 80, name: web}, {containerPort: 81}]}
    - {name: two, image: i, ports: [{containerPort: 53, name: dns, protocol: UDP}]}
    - {name: three, image: i}
  status: {phase: Running, podIP: 10.244.1.2}
---
apiVersion: v1
kind: PodList
items:
- {metadata: {name: done, namespace: x}, status: {phase: Succeeded, podIP: 10.244.1.2}}
- {metadata: {name: new, namespace: x}, spec: {hostNetwork: true}}
---
apiVersion: v1
kind: Node
metadata: {name: n1}
spec: {podCIDR: 10.244.1.0/24}
status: {addresses: [{type: InternalIP, address: 192.168.200.11}, {type: Hostname, address: n1}]}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: d}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: d}
"""


def test_objects_of_all_kinds_in_documents_and_lists() -> None:
    objects = read(OBJECTS)
    assert objects.namespaces == (Namespace("x", {"team": "blue", "kubernetes.io/metadata.name": "x"}),)
    assert objects.nodes == (Node("n1", (IPv4Address("192.168.200.11"),), IPv4Network("10.244.1.0/24")),)
    assert objects.nodes[0].vtep == IPv4Address("10.244.1.0")
    ports = (ContainerPort("web", "TCP", 80), ContainerPort("dns", "UDP", 53))
    assert objects.pods == (
        Pod("default", "a.b", {"app": "web"}, IPv4Address("10.244.1.2"), "n1", ports=ports),
        Pod("x", "done", {}, IPv4Address("10.244.1.2"), active=False),
        Pod("x", "new", host_network=True),
    )
    assert [pod.reachable for pod in objects.pods] == [True, False, False]
    assert objects.workloads == (Workload("Deployment", "default", "d"),)
    assert objects.notes == ("f.yaml document 5 (ConfigMap d): left out, it has no part in NetworkPolicy",)
    assert set(objects.world.pods) == {"default/a.b", "x/done", "x/new"}


def test_json_is_taken_too() -> None:
    text = json.dumps(
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "p"}}, indent=2
    )
    assert len(read(text).policies) == 1


def test_a_clusters_objects_may_have_what_only_later_versions_know() -> None:
    spec = {
        "podSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["not a label"]}]},
        "somethingNew": 5,
        "ingress": [{"ports": [{"port": 80, "endPort": 90}]}],
    }
    item = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "p", "namespace": "x", "uid": "1"},
        "spec": spec,
        "status": {},
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "status": {"podIP": "2001:db8::1"}}
    objects = read_cluster({"kind": "List", "apiVersion": "v1", "items": [item, pod]})
    assert len(objects.policies) == 1
    assert objects.pods[0].ip is None
    assert objects.notes == ()


def test_an_empty_cluster() -> None:
    assert read_cluster({"kind": "List", "apiVersion": "v1", "items": []}) == Objects()


@pytest.mark.parametrize(
    ("valid", "good", "bad"),
    [
        (names.is_dns_label, ["a", "1", "a-b", "a" * 63], ["", "A", "-a", "a-", "a.b", "a" * 64, "ä", "a\n"]),
        (names.is_dns_subdomain, ["a", "a.b-c.1"], ["", ".a", "a.", "a..b", "A", "a_b", "a" * 254, "a\n"]),
        (names.is_label_key, ["a", "A_b.c-d", "x.y/a", "1"], ["", "/a", "a/", "x/y/z", "X/a", "-a", "a" * 64]),
        (names.is_label_value, ["", "a", "A_b.c", "1", "a" * 63], ["-", "a b", "a" * 64, ".a", "ä", "a\n"]),
        (names.is_port_name, ["http", "a", "1a", "8-b", "a-1-b"], ["", "80", "8-0", "A", "a--b", "-a", "a-", "a" * 16]),
    ],
)
def test_names(valid: Any, good: list[str], bad: list[str]) -> None:
    assert [text for text in good if not valid(text)] == []
    assert [text for text in bad if valid(text)] == []


def selector_object(selector: Selector) -> dict[str, object]:
    expressions = [
        {"key": part.key, "operator": part.operator, "values": list(part.values)} for part in selector.expressions
    ]
    return {"matchLabels": dict(selector.labels), "matchExpressions": expressions}


def peer_object(peer: Peer) -> dict[str, object]:
    if peer.ip_block:
        return {"ipBlock": {"cidr": str(peer.ip_block.cidr), "except": [str(part) for part in peer.ip_block.excepts]}}
    parts = {"podSelector": peer.pod_selector, "namespaceSelector": peer.namespace_selector}
    return {name: selector_object(part) for name, part in parts.items() if part is not None}


def rule_object(rule: Rule, peers: str) -> dict[str, object]:
    ports = [{"protocol": spec.protocol, "port": spec.port, "endPort": spec.end_port} for spec in rule.ports]
    return {peers: [peer_object(peer) for peer in rule.peers], "ports": ports}


def policy_object(policy: Policy) -> dict[str, Any]:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": policy.name, "namespace": policy.namespace},
        "spec": {
            "podSelector": selector_object(policy.pod_selector),
            "policyTypes": list(policy.types),
            "ingress": [rule_object(rule, "from") for rule in policy.ingress],
            "egress": [rule_object(rule, "to") for rule in policy.egress],
        },
    }


@settings(max_examples=30, deadline=None)
@given(strategies.policies)
def test_what_is_written_is_read_again(policy: Policy) -> None:
    assert read_documents([policy_object(policy)], "test").policies == (policy,)


def refusals(written: object) -> tuple[str, ...]:
    try:
        read_documents([written], "test")
    except UserError as error:
        return error.problems or ("",)
    return ()


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 99) | st.sampled_from(["", "a", "In", "Ingress", "10.0.0.0/8"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "cidr", "key", "port"]), inner),
    max_leaves=4,
)


@settings(max_examples=60, deadline=None)
@given(strategies.policies, anything, st.data())
def test_whatever_is_wrong_anywhere_is_a_problem_or_harmless(
    policy: Policy, value: object, data: st.DataObject
) -> None:
    """No value at any place ends in a traceback, and every problem is one line."""
    written: Any = policy_object(policy)
    place, key = written, data.draw(st.sampled_from(sorted(written)))
    while isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
        place = place[key]
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
    place[key] = value
    problems = refusals(written)
    assert all(line.startswith("test document 1") and "\n" not in line for line in problems)
