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
NAME_LABEL = "kubernetes.io/metadata.name"
"""Every namespace has its name as this label since Kubernetes 1.21, whatever its object says."""


class Namespaced:
    """What objects have that are in a namespace."""

    namespace: str
    name: str

    @property
    def full_name(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Namespace:
    """A namespace; policies select it by its labels, and by its name only where it has a label for that.

    ``known`` is false for one whose object is missing: it may have more labels than these.
    """

    name: str
    labels: Labels = field(default_factory=dict, hash=False)
    known: bool = True


@dataclass(frozen=True)
class ContainerPort:
    """A port that a pod's container declares. Only those with a name matter: a policy may use it."""

    name: str
    protocol: Protocol
    number: int


@dataclass(frozen=True)
class Pod(Namespaced):
    """A pod. ``ip`` is None before it has an address; ``active`` is false in the phases Succeeded and Failed."""

    namespace: str
    name: str
    labels: Labels = field(default_factory=dict, hash=False)
    ip: IPv4Address | None = None
    node: str | None = None
    host_network: bool = False
    ports: tuple[ContainerPort, ...] = ()
    active: bool = True
    ipv6: bool = False
    """Whether it has an IPv6 address, which may be the only one it has."""
    host_ports: tuple[tuple[Protocol, int], ...] = ()
    """Ports of its node's addresses that lead to it (hostPort)."""

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
class ServicePort:
    """A port of a Service; ``target`` is a number or a name of the pods' (None: the same number)."""

    name: str
    protocol: Protocol
    number: int
    target: int | str | None = None
    node_port: int | None = None

    def target_at(self, pod: Pod) -> int | None:
        """The number at a pod; None if that has no port of the name, so that it is not behind this port."""
        if not isinstance(self.target, str):
            return self.target or self.number
        return next(
            (port.number for port in pod.ports if (port.name, port.protocol) == (self.target, self.protocol)), None
        )


@dataclass(frozen=True)
class Service(Namespaced):
    """A Service: addresses that lead to the pods that ``selector`` selects (None or empty: to what others list).

    ``addresses`` are in the cluster, ``outer`` those of load balancers and the like. A headless one has none: its name
    leads to the pods themselves. ``external`` is the name outside that an ExternalName stands for.
    """

    namespace: str
    name: str
    addresses: tuple[IPv4Address, ...] = ()
    outer: tuple[IPv4Address, ...] = ()
    selector: Labels = field(default_factory=dict, hash=False)
    ports: tuple[ServicePort, ...] = ()
    headless: bool = False
    external: str = ""

    def selects(self, pod: Pod) -> bool:
        fits = bool(self.selector) and Selector(self.selector).matches(pod.labels)
        return fits and pod.namespace == self.namespace and pod.reachable

    def __str__(self) -> str:
        addresses = ", ".join(map(str, self.addresses))
        return f"Service {self.full_name}{f' ({addresses})' if addresses else ''}"


@dataclass(frozen=True)
class Workload:
    """What makes pods: a Deployment or another kind; ``labels`` are those of its pods."""

    kind: str
    namespace: str
    name: str
    labels: Labels = field(default_factory=dict, hash=False)

    def made(self, pod: Pod) -> bool:
        """Whether a pod is probably one of its."""
        fits = bool(self.labels) and Selector(self.labels).matches(pod.labels)
        return pod.namespace == self.namespace and (fits or pod.name.startswith(f"{self.name}-"))

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True)
class OtherPolicy:
    """An object of another kind that decides on connections too, where its program runs. It is not judged here."""

    place: str
    kind: str
    group: str
    namespace: str | None


@dataclass(frozen=True)
class IpBlock:
    """Addresses in ``cidr`` that are in none of ``excepts``. IPv6 ones match nothing in an IPv4 network."""

    cidr: Cidr
    excepts: tuple[Cidr, ...] = ()

    def contains(self, address: IPv4Address) -> bool:
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
class Policy(Namespaced):
    """A NetworkPolicy. ``types`` are the directions in which it isolates, defaults already filled in."""

    namespace: str
    name: str
    pod_selector: Selector = EVERYTHING
    types: tuple[Direction, ...] = ("Ingress",)
    ingress: tuple[Rule, ...] = ()
    egress: tuple[Rule, ...] = ()

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
    assumed: bool | None = None
    """Whether a namespace whose object is missing has the labels that are asked for (None: only those it has here)."""

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

    def in_namespace(self, pod: Pod, selector: Selector) -> bool:
        namespace = self.namespaces.get(pod.namespace)
        if self.assumed is None or namespace is None or namespace.known:
            return selector.matches(self.namespace_labels(pod.namespace))
        certain = selector.about(NAME_LABEL)
        return certain.matches(namespace.labels) and (self.assumed or certain == selector)

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
