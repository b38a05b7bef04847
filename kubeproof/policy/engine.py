"""Judges a connection by the API's rules of NetworkPolicy, and says which policy and rule decided. Pure.

Source: API reference of networking.k8s.io/v1 and "Network Policies" in Kubernetes' concepts. A connection is judged
with the source as the destination's node sees it, and the destination as it is after a Service's DNAT.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address

from kubeproof.policy.model import Direction, Judged, Pod, World


@dataclass(frozen=True)
class PodEnd:
    """A pod, at its own address. One with hostNetwork is judged as its node."""

    pod: Pod

    def __str__(self) -> str:
        return self.pod.full_name


@dataclass(frozen=True)
class NodeEnd:
    """A node; ``seen`` is its address in this connection.

    As a source it is the one that the destination's node sees: under VXLAN the flannel.1 address (a.b.A.0, the first of
    the node's podCIDR) towards pods on other nodes. As a destination it is the one that was asked for.
    """

    node: str
    seen: IPv4Address

    def __str__(self) -> str:
        return f"node {self.node} ({self.seen})"


@dataclass(frozen=True)
class OutsideEnd:
    """An address that is neither a pod's nor a node's."""

    address: IPv4Address

    def __str__(self) -> str:
        return str(self.address)


End = PodEnd | NodeEnd | OutsideEnd


@dataclass(frozen=True)
class RuleRef:
    """A rule of a policy (``namespace/name``): ``index`` in ingress or egress; ``text`` says what of it matched."""

    policy: str
    direction: Direction
    index: int
    text: str

    def __str__(self) -> str:
        return f"{self.policy} {self.direction.lower()}[{self.index}] ({self.text})"


@dataclass(frozen=True)
class Verdict:
    """One direction's part. ``policies`` (``namespace/name``) isolate; ``rule`` is the one that allowed, if any did.

    ``reason`` is a line that stands for itself: "ingress of b/y: isolated by b/deny-all; no rule allows …".
    """

    allowed: bool
    reason: str
    policies: tuple[str, ...] = ()
    rule: RuleRef | None = None


@dataclass(frozen=True)
class Decision:
    """What becomes of a connection: both directions must allow it. Its text is a line for each that decided."""

    allowed: bool
    egress: Verdict
    ingress: Verdict

    def __str__(self) -> str:
        verdicts = (self.egress, self.ingress)
        word = "allowed" if self.allowed else "denied"
        return "\n".join(f"{word}: {verdict.reason}" for verdict in verdicts if verdict.allowed == self.allowed)


def end_of(pod: Pod, seen: IPv4Address | None = None) -> PodEnd | NodeEnd:
    """The end that a pod is: its node where it has hostNetwork, at ``seen`` (default: the node's own address).

    Raises ValueError for a pod that has no address or has ended: it can neither connect nor be reached.
    """
    raise NotImplementedError


def judge(world: World, source: End, destination: End, protocol: Judged, port: int = 0) -> Decision:
    """Whether policies allow a connection; ``port`` is the destination's, after DNAT (of no meaning for ICMP).

    Raises ValueError for a pod that has no address or has ended.
    """
    raise NotImplementedError
