"""Judges a connection by the API's rules of NetworkPolicy, and says which policy and rule decided. Pure.

Source: API reference of networking.k8s.io/v1 and "Network Policies" in Kubernetes' concepts. A connection is judged
with the source as the destination's node sees it, and the destination as it is after a Service's DNAT.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from kubeproof.policy.model import ContainerPort, Direction, Judged, Peer, Pod, Policy, PortSpec, Rule, World


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
    if pod.ip is None or not pod.active:
        raise ValueError(f"{pod.full_name}: {'has no address' if pod.active else 'has ended'}, nothing can reach it")
    return NodeEnd(pod.node or "", seen or pod.ip) if pod.host_network else PodEnd(pod)


def judge(
    world: World, source: End, destination: End, protocol: Judged, port: int = 0, *, filtered: bool = False
) -> Decision:
    """Whether policies allow a connection; ``port`` is the destination's, after DNAT (of no meaning for ICMP).

    With ``filtered`` policies are asked about what by the API's rules they have no say in, too. Raises ValueError for a
    pod that has no address or has ended.
    """
    source, destination = _as_seen(source), _as_seen(destination)
    unpoliced = "" if filtered else _unpoliced(source, destination)
    if unpoliced:
        return Decision(
            True,
            egress=Verdict(True, f"egress of {source}: {unpoliced}"),
            ingress=Verdict(True, f"ingress of {destination}: {unpoliced}"),
        )
    to = _Target(destination, protocol, port)
    egress = _verdict(world, _Part("Egress", source, destination), to)
    ingress = _verdict(world, _Part("Ingress", destination, source), to)
    return Decision(egress.allowed and ingress.allowed, egress, ingress)


def _as_seen(end: End) -> End:
    return end_of(end.pod) if isinstance(end, PodEnd) else end


def _unpoliced(source: End, destination: End) -> str:
    """Why no policy can forbid it; empty if one can."""
    match source, destination:
        case PodEnd(pod), PodEnd(other) if pod.full_name == other.full_name:
            return "a pod always reaches itself"
        case NodeEnd(node), PodEnd(pod) if node == pod.node:
            return "a node always reaches the pods that run on it"
        case PodEnd(pod), NodeEnd(node) if node == pod.node:
            return "a pod always reaches the node that it runs on"
        case _:
            return ""


@dataclass(frozen=True)
class _Part:
    """One direction of a connection: the end that is asked about its policies, and its peer."""

    direction: Direction
    end: End
    peer: End

    @property
    def subject(self) -> str:
        return f"{self.direction.lower()} of {self.end}"


@dataclass(frozen=True)
class _Target:
    end: End
    protocol: Judged
    port: int

    def __str__(self) -> str:
        return self.protocol if self.protocol == "ICMP" else f"{self.protocol} {self.port}"


def _verdict(world: World, part: _Part, target: _Target) -> Verdict:
    if not isinstance(part.end, PodEnd):
        return Verdict(True, f"{part.subject}: is no pod, so no policy isolates it")
    policies = world.isolating(part.end.pod, part.direction)
    if not policies:
        return Verdict(True, f"{part.subject}: no policy isolates it")
    names = tuple(policy.full_name for policy in policies)
    isolated = f"{part.subject}: isolated by {', '.join(names)}"
    for policy in policies:
        for index, rule in enumerate(policy.rules(part.direction)):
            text = _match(world, policy, rule, part, target)
            if text is not None:
                found = RuleRef(policy.full_name, part.direction, index, text)
                return Verdict(True, f"{isolated}; allowed by {found}", names, found)
    misses = "; ".join(line for policy in policies for line in _misses(world, policy, part, target))
    return Verdict(False, f"{isolated}; no rule allows {_asked(part, target)}; {misses}", names)


def _asked(part: _Part, target: _Target) -> str:
    return f"{target} {'from' if part.direction == 'Ingress' else 'to'} {part.peer}"


def _match(world: World, policy: Policy, rule: Rule, part: _Part, target: _Target) -> str | None:
    """What of a rule matches, as text; None if it does not."""
    peer = _first(_peer_matches(world, policy, item, part.peer) for item in rule.peers)
    port = _first(_port_matches(item, target) for item in rule.ports)
    if (rule.peers and peer is None) or (rule.ports and port is None):
        return None
    field = "from" if part.direction == "Ingress" else "to"
    who = f"{field} everybody" if peer is None else f"{field}[{peer}] {_peer_text(policy, rule.peers[peer])}"
    return f"{who}, {'all ports' if port is None else f'ports[{port}] {rule.ports[port].text}'}"


def _first(matches: Iterable[bool]) -> int | None:
    """The index of the first that is true."""
    return next((index for index, matched in enumerate(matches) if matched), None)


def _peer_matches(world: World, policy: Policy, peer: Peer, end: End) -> bool:
    if peer.ip_block is not None:
        return peer.ip_block.contains(address_of(end))
    return isinstance(end, PodEnd) and _selected(world, policy, peer, end.pod)


def _selected(world: World, policy: Policy, peer: Peer, pod: Pod) -> bool:
    if peer.namespace_selector is None:
        if pod.namespace != policy.namespace:
            return False
    elif not world.in_namespace(pod, peer.namespace_selector):
        return False
    return peer.pod_selector is None or peer.pod_selector.matches(pod.labels)


def address_of(end: End) -> IPv4Address:
    """Its own, or of a node the one that is seen in this connection."""
    match end:
        case PodEnd(pod):
            assert pod.ip is not None  # noqa: S101  # end_of and the resolver let no other pass
            return pod.ip
        case NodeEnd(_, seen):
            return seen
        case OutsideEnd(address):
            return address


def _port_matches(spec: PortSpec, target: _Target) -> bool:
    if spec.protocol != target.protocol:
        return False
    match spec.port:
        case None:
            return True
        case int(lowest):
            return lowest <= target.port <= (lowest if spec.end_port is None else spec.end_port)
        case str(name):
            return any(port.number == target.port for port in _named(target.end, name, spec))


def _named(end: End, name: str, spec: PortSpec) -> tuple[ContainerPort, ...]:
    """The destination's ports that a name stands for; only pods have named ports."""
    ports = end.pod.ports if isinstance(end, PodEnd) else ()
    return tuple(port for port in ports if port.name == name and port.protocol == spec.protocol)


def _peer_text(policy: Policy, peer: Peer) -> str:
    # The namespace is what is overlooked most.
    alone = peer.ip_block is None and peer.namespace_selector is None
    return f"{peer.text} in namespace {policy.namespace}" if alone else peer.text


def _misses(world: World, policy: Policy, part: _Part, target: _Target) -> Iterator[str]:
    rules = policy.rules(part.direction)
    if not rules:
        yield f"{policy.full_name} has no {part.direction.lower()} rule"
    for index, rule in enumerate(rules):
        reasons = []
        if rule.peers and not any(_peer_matches(world, policy, peer, part.peer) for peer in rule.peers):
            reasons.append(f"{part.peer} is not {' or '.join(_peer_text(policy, peer) for peer in rule.peers)}")
        if rule.ports and not any(_port_matches(spec, target) for spec in rule.ports):
            reasons.append(f"{target} is not {' or '.join(_port_text(spec, target.end) for spec in rule.ports)}")
        yield f"{policy.full_name} {part.direction.lower()}[{index}]: {', and '.join(reasons)}"


def _port_text(spec: PortSpec, end: End) -> str:
    if not isinstance(spec.port, str):
        return spec.text
    numbers = ", ".join(str(port.number) for port in _named(end, spec.port, spec))
    return f"{spec.text} ({numbers or 'no such port'} at {end})"
