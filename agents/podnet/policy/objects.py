"""What is kept of pods, namespaces and policies: small and hashable, since every agent has them all. Pure."""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Literal

from agents.podnet.policy.selectors import Labels, Selector
from agents.podnet.policy.spans import Spans

Direction = Literal["ingress", "egress"]
Protocol = Literal["TCP", "UDP", "SCTP"]
DIRECTIONS: tuple[Direction, ...] = ("egress", "ingress")
FINISHED = frozenset({"Succeeded", "Failed"})
"""Phases of pods whose containers have all ended; kubelet has given their addresses back."""


@dataclass(frozen=True, slots=True)
class NamedPort:
    """A container port with a name, which a policy may use in place of the number."""

    name: str
    protocol: str
    number: int


@dataclass(frozen=True, slots=True)
class Pod:
    """A pod; ``address`` is None while it has none, and again when it has finished."""

    namespace: str
    name: str
    labels: Labels
    address: IPv4Address | None
    node: str
    host_network: bool = False
    ports: tuple[NamedPort, ...] = ()


@dataclass(frozen=True, slots=True)
class Namespace:
    name: str
    labels: Labels


@dataclass(frozen=True, slots=True)
class PodPeer:
    """Pods selected by labels, in ``namespace`` or, where that is None, in all namespaces that are selected."""

    namespace: str | None
    namespaces: Selector
    pods: Selector


@dataclass(frozen=True, slots=True)
class Block:
    """An ipBlock: its addresses without the excepted ones. Nothing for IPv6, which the pod network does not carry."""

    spans: Spans


@dataclass(frozen=True, slots=True)
class PortMatch:
    """Ports ``first`` to ``last`` of a protocol, or the one that the destination pod calls ``name``."""

    protocol: Protocol
    first: int = 0
    last: int = 65535
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """What one entry of ``ingress`` or ``egress`` allows; None for peers or ports stands for all of them."""

    index: int
    peers: tuple[PodPeer | Block, ...] | None = None
    ports: tuple[PortMatch, ...] | None = None


@dataclass(frozen=True, slots=True)
class Policy:
    """A NetworkPolicy. ``inexpressible`` says what of it podnet cannot express; that allows nothing."""

    namespace: str
    name: str
    version: str
    selector: Selector
    isolates: frozenset[Direction]
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()
    inexpressible: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        return f"{self.namespace}/{self.name}"

    def rules(self, direction: Direction) -> tuple[Rule, ...]:
        return self.ingress if direction == "ingress" else self.egress


@dataclass(frozen=True, slots=True)
class World:
    """Everything that a ruleset depends on besides the node, by ``namespace/name`` (namespaces: by name)."""

    pods: Mapping[str, Pod]
    namespaces: Mapping[str, Namespace]
    policies: Mapping[str, Policy]


def read_pod(item: dict[str, Any]) -> Pod:
    """Reduce a Pod object (core/v1)."""
    metadata, spec, status = item["metadata"], item.get("spec") or {}, item.get("status") or {}
    return Pod(
        namespace=sys.intern(metadata["namespace"]),
        name=metadata["name"],
        labels=read_labels(metadata.get("labels")),
        address=None if status.get("phase") in FINISHED else _first_address(status),
        node=sys.intern(spec.get("nodeName") or ""),
        host_network=bool(spec.get("hostNetwork")),
        ports=tuple(_named_ports(spec)),
    )


def read_namespace(item: dict[str, Any]) -> Namespace:
    """Reduce a Namespace object (core/v1)."""
    return Namespace(item["metadata"]["name"], read_labels(item["metadata"].get("labels")))


def read_labels(labels: Mapping[str, str] | None) -> Labels:
    """Labels in an order that does not depend on the server's, their texts shared among all objects."""
    return tuple(sorted((sys.intern(key), sys.intern(value)) for key, value in (labels or {}).items()))


def labels_hash(labels: Labels) -> str:
    """Twelve hexadecimal digits that others can compute from an object's labels, to compare them with what is here."""
    text = json.dumps(dict(labels), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _first_address(status: dict[str, Any]) -> IPv4Address | None:
    for text in (status.get("podIP"), *(entry.get("ip") for entry in status.get("podIPs") or ())):
        try:
            return IPv4Address(text)
        except ValueError:
            continue
    return None


def _named_ports(spec: dict[str, Any]) -> list[NamedPort]:
    return [
        NamedPort(sys.intern(port["name"]), sys.intern(port.get("protocol") or "TCP"), port["containerPort"])
        for container in spec.get("containers") or ()
        for port in container.get("ports") or ()
        if port.get("name")
    ]
