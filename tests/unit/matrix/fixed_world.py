"""A model of the fixed world that the suite's cases are about, with made-up addresses: a helper of tests."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from typing import cast

from kubeproof.matrix.cases import (
    NAMESPACE_PREFIX,
    NAMESPACES,
    PODS,
    PORTS,
    SUITE,
    Case,
    Json,
    LabelChange,
    documents,
)
from kubeproof.matrix.placeholders import Addresses
from kubeproof.policy.engine import Decision, End, NodeEnd, OutsideEnd, PodEnd, judge
from kubeproof.policy.model import PROTOCOLS, ContainerPort, Namespace, Pod, Policy, Protocol, World
from kubeproof.policy.reading import read_documents
from kubeproof.policy.selectors import Labels

NODES = {f"node{number}": IPv4Network(f"10.244.{number}.0/24") for number in range(3)}
"""The subnet of each node's pods; the first is a control plane without probe pods."""
SAME_NODE, OTHER_NODE, OUTSIDE = "node:same", "node:other", "outside"
"""The target's own node, every other node, and the client outside by the NodePort of the target's own node."""
SOURCES = (*PODS, SAME_NODE, OTHER_NODE, OUTSIDE)
WAYS = ("address", "service", "name")
_EXPECTATION = re.compile(r"(\S+) -> (\S+)(?: by (service|name))?(?: (TCP|UDP|SCTP) (80|81))?")
DNS_PORTS = (ContainerPort("dns", "UDP", 53), ContainerPort("dns-tcp", "TCP", 53))


@dataclass(frozen=True)
class Expectation:
    """What a case says of one connection."""

    source: str
    target: str
    port: int
    protocol: Protocol
    by: str
    allowed: bool

    @classmethod
    def read(cls, written: str, *, allowed: bool) -> "Expectation":
        """One such as "x/b -> x/a by service UDP 81"."""
        found = _EXPECTATION.fullmatch(written)
        assert found is not None, written
        source, target, way, protocol, port = found.groups()
        return cls(source, target, int(port or 80), cast(Protocol, protocol or "TCP"), way or "address", allowed)


@cache
def written() -> dict[str, Json]:
    """The suite's cases as their files have them, by name."""
    files = [documents(file.name, file.read_text()) for file in sorted(SUITE.glob("*.yaml"))]
    found = {name: raw for file in files for name, raw in file.items()}
    assert len(found) == sum(map(len, files)), "a case's name is there twice"
    return found


def expectations(case: Case) -> list[Expectation]:
    """What a case of the suite says of connections."""
    raw = written()[case.name]
    return [
        Expectation.read(line, allowed=word == "allowed")
        for word in ("allowed", "denied")
        for line in raw.get(word, ())
    ]


def pods() -> dict[str, Pod]:
    """The nine pods by their short names, spread as the probe's manifest does."""
    return {short: _pod(short, number) for number, short in enumerate(PODS)}


def _pod(short: str, number: int) -> Pod:
    namespace, name = short.split("/")
    # Of each namespace some on either node.
    node = f"node{1 + (number + NAMESPACES.index(namespace)) % 2}"
    ports = (ContainerPort(f"serve-{port}-{kind.lower()}", kind, port) for kind in PROTOCOLS for port in PORTS)
    return Pod(
        NAMESPACE_PREFIX + namespace, name, {"pod": name}, NODES[node][10 + number], node=node, ports=tuple(ports)
    )


def dns_pods() -> tuple[Pod, ...]:
    """Cluster DNS, one on each worker."""
    labels = {"k8s-app": "kube-dns"}
    return tuple(
        Pod("kube-system", f"kube-dns-{node}", labels, NODES[node][5], node=node, ports=DNS_PORTS)
        for node in ("node1", "node2")
    )


ADDRESSES = Addresses(
    pods={short: pod.ip for short, pod in pods().items() if pod.ip is not None},
    placement={short: pod.node for short, pod in pods().items() if pod.node is not None},
    subnets=NODES,
    pod_cidr=IPv4Network("10.244.0.0/16"),
    service_cidr=IPv4Network("10.1.0.0/16"),
    node_network=IPv4Network("192.168.200.0/24"),
    outside=IPv4Address("192.168.200.1"),
)


def policies(case: Case) -> tuple[Policy, ...]:
    """The case's policies as the engine reads them; raises UserError where the API server would refuse them."""
    return read_documents(case.policies_for(ADDRESSES.values()), case.name, policies_only=True).policies


def world(case: Case) -> World:
    """The fixed world with the case's labels and policies."""
    namespaces = [Namespace("kube-system"), *(_namespace(short, case.changes) for short in NAMESPACES)]
    changed = [replace(pod, labels=_changed(pod.labels, "pod", short, case.changes)) for short, pod in pods().items()]
    return World.of(namespaces, [*changed, *dns_pods()], policies(case))


def _namespace(short: str, changes: Iterable[LabelChange]) -> Namespace:
    return Namespace(NAMESPACE_PREFIX + short, _changed({"ns": short}, "namespace", short, changes))


def _changed(labels: Labels, kind: str, name: str, changes: Iterable[LabelChange]) -> Labels:
    for change in changes:
        if (change.kind, change.name) == (kind, name):
            labels = change.applied(labels)
    return labels


def decisions(given: World, expected: Expectation) -> list[Decision]:
    """How the engine judges what an expectation is about: each connection that it needs, from each of its sources."""
    target = _in(given, expected.target)
    found = []
    for source in _sources(given, expected.source, target):
        found.append(judge(given, source, PodEnd(target), expected.protocol, expected.port))
        if expected.by == "name":
            servers = (given.pods[server.full_name] for server in dns_pods())
            found += [judge(given, source, PodEnd(server), "UDP", 53) for server in servers]
    return found


def _sources(given: World, source: str, target: Pod) -> Iterator[End]:
    if source == OUTSIDE:
        yield OutsideEnd(ADDRESSES.outside)
    elif source in (SAME_NODE, OTHER_NODE):
        for node, subnet in NODES.items():
            if (node == target.node) == (source == SAME_NODE):
                yield NodeEnd(node, subnet.network_address)
    else:
        yield PodEnd(_in(given, source))


def _in(given: World, short: str) -> Pod:
    return given.pods[NAMESPACE_PREFIX + short]
