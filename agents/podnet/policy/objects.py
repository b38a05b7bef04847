"""What is kept of pods, namespaces and policies: small and hashable, since every agent has them all. Pure."""

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address
from typing import Any, Literal

from agents.podnet.policy.selectors import Labels, Selector
from agents.podnet.policy.spans import Spans

Direction = Literal["ingress", "egress"]
Protocol = Literal["TCP", "UDP", "SCTP"]
DIRECTIONS: tuple[Direction, ...] = ("egress", "ingress")
HIGHEST_PORT = 65535
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
    """Reduce a Pod object (core/v1). What of it is of another type than the API has is as if it were missing.

    One odd object must not cost those that are listed with it.
    """
    metadata, spec, status = item["metadata"], _object(item.get("spec")), _object(item.get("status"))
    return Pod(
        namespace=sys.intern(metadata["namespace"]),
        name=metadata["name"],
        labels=read_labels(metadata.get("labels")),
        address=None if _text(status.get("phase")) in FINISHED else _first_address(status),
        node=sys.intern(_text(spec.get("nodeName"))),
        host_network=spec.get("hostNetwork") is True,
        ports=tuple(_named_ports(spec)),
    )


def read_namespace(item: dict[str, Any]) -> Namespace:
    return Namespace(item["metadata"]["name"], read_labels(item["metadata"].get("labels")))


def read_labels(labels: Mapping[str, str] | None) -> Labels:
    """Labels in an order that does not depend on the server's, their texts shared among all objects."""
    pairs = ((key, value) for key, value in _object(labels).items() if isinstance(value, str))
    return tuple(sorted((sys.intern(key), sys.intern(value)) for key, value in pairs))


@lru_cache(4096)
def labels_hash(labels: Labels) -> str:
    """Twelve hexadecimal digits that others can compute from an object's labels, to compare them with what is here."""
    text = json.dumps(dict(labels), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _first_address(status: dict[str, Any]) -> IPv4Address | None:
    for text in (status.get("podIP"), *(entry.get("ip") for entry in _objects(status.get("podIPs")))):
        try:
            return IPv4Address(_text(text))
        except ValueError:
            continue
    return None


def _named_ports(spec: dict[str, Any]) -> list[NamedPort]:
    # Init containers that are always restarted run beside the others (since 1.28).
    sidecars = (each for each in _objects(spec.get("initContainers")) if each.get("restartPolicy") == "Always")
    return [
        NamedPort(sys.intern(port["name"]), sys.intern(_text(port.get("protocol")) or "TCP"), port["containerPort"])
        for container in (*_objects(spec.get("containers")), *sidecars)
        for port in _objects(container.get("ports"))
        if _text(port.get("name")) and _is_port(port.get("containerPort"))
    ]


def _is_port(value: Any) -> bool:
    # nft would refuse the whole ruleset for one number that is none.
    return type(value) is int and 1 <= value <= HIGHEST_PORT


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
