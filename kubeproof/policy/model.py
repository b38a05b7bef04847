"""Objects that decide who may talk to whom: namespaces, pods and policies (networking.k8s.io/v1). Pure data."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import Literal

from kubeproof.policy.selectors import EVERYTHING, Labels, Selector

Protocol = Literal["TCP", "UDP", "SCTP"]
"""What a policy can name."""
PROTOCOLS: tuple[Protocol, ...] = ("TCP", "UDP", "SCTP")
Judged = Literal["TCP", "UDP", "SCTP", "ICMP"]
"""What a packet can be: no policy names ICMP, but a rule without ports allows it too."""
Direction = Literal["Ingress", "Egress"]
DIRECTIONS: tuple[Direction, ...] = ("Ingress", "Egress")
Cidr = IPv4Network | IPv6Network


@dataclass(frozen=True)
class Namespace:
    """A namespace; policies select it by its labels, and by its name only where it has a label for that."""

    name: str
    labels: Labels = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class ContainerPort:
    """A port that a pod's container declares. Only those with a name matter: a policy may use it."""

    name: str
    protocol: Protocol
    number: int


@dataclass(frozen=True)
class Pod:
    """A pod. ``ip`` is None before it has an address; ``active`` is false in the phases Succeeded and Failed."""

    namespace: str
    name: str
    labels: Labels = field(default_factory=dict, hash=False)
    ip: IPv4Address | None = None
    node: str | None = None
    host_network: bool = False
    ports: tuple[ContainerPort, ...] = ()
    active: bool = True

    @property
    def full_name(self) -> str:
        """``namespace/name``, the key in :attr:`World.pods`."""
        return f"{self.namespace}/{self.name}"

    @property
    def reachable(self) -> bool:
        """Whether it exists for the network: it has an address, and has not ended (its address may be another's)."""
        return self.active and self.ip is not None


@dataclass(frozen=True)
class Node:
    """A node: the addresses that it has itself, and the network that its pods have theirs from."""

    name: str
    addresses: tuple[IPv4Address, ...] = ()
    pod_cidr: IPv4Network | None = None

    @property
    def vtep(self) -> IPv4Address | None:
        """Its address as a source to pods on other nodes: flannel.1 has the first of the podCIDR (flannel's VXLAN)."""
        return self.pod_cidr.network_address if self.pod_cidr else None


@dataclass(frozen=True)
class IpBlock:
    """Addresses in ``cidr`` that are in none of ``excepts``. IPv6 ones match nothing in an IPv4 network."""

    cidr: Cidr
    excepts: tuple[Cidr, ...] = ()

    def contains(self, address: IPv4Address) -> bool:
        """Whether an address is meant."""
        return address in self.cidr and not any(address in excluded for excluded in self.excepts)

    def __str__(self) -> str:
        excluded = ", ".join(map(str, self.excepts))
        return f"{self.cidr} except {excluded}" if excluded else str(self.cidr)


@dataclass(frozen=True)
class Peer:
    """An item of ``from`` or ``to``: an ipBlock alone, or a podSelector, a namespaceSelector, or both at once."""

    pod_selector: Selector | None = None
    namespace_selector: Selector | None = None
    ip_block: IpBlock | None = None

    @cached_property
    def text(self) -> str:
        """As a person would write it in one line."""
        parts = {
            "ipBlock": self.ip_block,
            "namespaceSelector": self.namespace_selector,
            "podSelector": self.pod_selector,
        }
        return " and ".join(f"{name} {part}" for name, part in parts.items() if part is not None)


@dataclass(frozen=True)
class PortSpec:
    """An item of ``ports``: ``port`` is a number, a name of the destination's, or None for all of the protocol."""

    protocol: Protocol = "TCP"
    port: int | str | None = None
    end_port: int | None = None

    @cached_property
    def text(self) -> str:
        """As a person would write it: TCP 80, UDP dns, TCP 8000-9000, SCTP (all ports)."""
        if self.port is None:
            return f"{self.protocol} (all ports)"
        end = "" if self.end_port is None else f"-{self.end_port}"
        return f"{self.protocol} {self.port}{end}"


@dataclass(frozen=True)
class Rule:
    """An item of ``ingress`` or ``egress``. No ``peers``: everybody. No ``ports``: all, of all protocols, and ICMP."""

    peers: tuple[Peer, ...] = ()
    ports: tuple[PortSpec, ...] = ()


@dataclass(frozen=True)
class Policy:
    """A NetworkPolicy. ``types`` are the directions in which it isolates, defaults already filled in."""

    namespace: str
    name: str
    pod_selector: Selector = EVERYTHING
    types: tuple[Direction, ...] = ("Ingress",)
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()

    @property
    def full_name(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    def rules(self, direction: Direction) -> tuple[Rule, ...]:
        """Its rules of a direction; they count only where ``types`` has it."""
        return self.ingress if direction == "Ingress" else self.egress

    def selects(self, pod: Pod) -> bool:
        """Whether it is about a pod. One with hostNetwork is its node to the network, and selected by none."""
        return pod.namespace == self.namespace and not pod.host_network and self.pod_selector.matches(pod.labels)


@dataclass(frozen=True)
class World:
    """Everything that policies can be about, by name; pods by ``namespace/name``. Not to be changed afterwards."""

    namespaces: Mapping[str, Namespace] = field(default_factory=dict, hash=False)
    pods: Mapping[str, Pod] = field(default_factory=dict, hash=False)
    policies: tuple[Policy, ...] = ()

    @classmethod
    def of(
        cls, namespaces: Iterable[Namespace] = (), pods: Iterable[Pod] = (), policies: Iterable[Policy] = ()
    ) -> "World":
        """A world of these objects; the last of those with one name counts."""
        return cls({item.name: item for item in namespaces}, {pod.full_name: pod for pod in pods}, tuple(policies))

    def namespace_labels(self, name: str) -> Labels:
        """Labels of a namespace; one that is known only from its pods has none."""
        namespace = self.namespaces.get(name)
        return namespace.labels if namespace else {}

    def isolating(self, pod: Pod, direction: Direction) -> tuple[Policy, ...]:
        """Policies that isolate a pod in a direction, by name. None: everything is allowed."""
        if self.pods.get(pod.full_name) is not pod:
            return self._select(pod, direction)
        key = (pod.full_name, direction)
        if key not in self._isolating:
            self._isolating[key] = self._select(pod, direction)
        return self._isolating[key]

    def _select(self, pod: Pod, direction: Direction) -> tuple[Policy, ...]:
        policies = self._by_namespace.get(pod.namespace, ())
        return tuple(policy for policy in policies if direction in policy.types and policy.selects(pod))

    @cached_property
    def _isolating(self) -> dict[tuple[str, Direction], tuple[Policy, ...]]:
        return {}

    @cached_property
    def _by_namespace(self) -> dict[str, list[Policy]]:
        found: dict[str, list[Policy]] = {}
        for policy in sorted(self.policies, key=lambda policy: policy.full_name):
            found.setdefault(policy.namespace, []).append(policy)
        return found
