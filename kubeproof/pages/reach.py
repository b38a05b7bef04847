"""Who reaches whom by the policies of a cluster, as a grid of alike pods, other nodes, and outside. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from itertools import pairwise

from kubeproof.config.settings import Settings
from kubeproof.pages.tables import Row, Table
from kubeproof.policy.engine import End, NodeEnd, OutsideEnd, PodEnd, judge
from kubeproof.policy.model import DIRECTIONS, PROTOCOLS, Peer, Pod, Policy, PortSpec, Protocol, World
from kubeproof.policy.names import MAX_PORT
from kubeproof.rules.api import ApiObjects, NodeObject
from kubeproof.rules.context import NO_API

TITLE = "Policies: who reaches whom"
OUTSIDE = IPv4Address("192.0.2.1")
"""Stands for every address outside: of a network that is nobody's (RFC 5737, TEST-NET-1)."""
ALL, NONE, NOT_ASKED = "✓ all", "✗ none", "–"
MOST_NAMES = 4


@dataclass(frozen=True)
class _Group:
    """Ends that policies do not tell apart, by what they are called.

    ``ends`` are what is judged as a source and as a destination; ``twin`` is one more of the kind, which a connection
    within the group is judged by: a pod reaches itself whatever policies say.
    """

    names: tuple[str, ...]
    ends: tuple[End, ...]
    twin: End | None = None


def grid(objects: ApiObjects | str, settings: Settings) -> Table:
    """A row for each source and a column for each destination; alike ones share theirs.

    With ``tunnel`` pods see other nodes by the address of their tunnel's link (flannel's VXLAN).
    """
    world = objects.world if isinstance(objects, ApiObjects) else None
    if isinstance(objects, str) or world is None:
        return Table(
            TITLE, (), note=f"{NO_API}: {objects}" if isinstance(objects, str) else "Policies are not understood."
        )
    if not world.policies:
        return Table(TITLE, (), note="There is no NetworkPolicy: everybody reaches everybody.")
    outside = _Group(("outside",), (OutsideEnd(OUTSIDE),))
    groups = [*_pods(world), *_nodes(objects.nodes, settings), outside]
    cells = [[_cell(world, source, target) for target in groups] for source in groups]
    columns = _alike(groups, list(zip(*cells, strict=True)))
    rows = _alike(groups, [tuple(row) for row in cells])
    made = tuple((row, *(cells[first][place] for _, place in columns)) for row, first in rows)
    note = "Rows connect, columns are reached. " + (
        "Worked out from the policies as they stand in the API; ./inv matrix tries them."
        if settings.enforces_policy
        else "The pod network enforces no policies: this is what they say, and not what happens."
    )
    return Table(TITLE, ("from ↓ to →", *(column for column, _ in columns)), made, note=note)


def _alike(groups: Sequence[_Group], cells: Sequence[Row]) -> list[tuple[str, int]]:
    """Groups with the same cells share a label; with the place of one of them."""
    places: dict[Row, list[int]] = {}
    for place, row in enumerate(cells):
        places.setdefault(row, []).append(place)
    return [(_label([name for place in same for name in groups[place].names]), same[0]) for same in places.values()]


def _label(names: list[str]) -> str:
    more = [f"and {len(names) - MOST_NAMES + 1} more"] if len(names) > MOST_NAMES else []
    return "\n".join([*names[: MOST_NAMES - len(more)], *more])


def _pods(world: World) -> Iterator[_Group]:
    """Pods by what policies can see of them: who selects them, whose peers they are, and the ports that they name."""
    peers = [
        (policy, peer) for policy in world.policies for rule in (*policy.ingress, *policy.egress) for peer in rule.peers
    ]
    groups: dict[object, list[Pod]] = {}
    for pod in sorted(world.pods.values(), key=lambda pod: pod.full_name):
        if pod.reachable and not pod.host_network:
            seen = tuple(_is_peer(world, policy, peer, pod) for policy, peer in peers)
            selected = tuple(policy.selects(pod) for policy in world.policies)
            groups.setdefault((seen, selected, pod.ports), []).append(pod)
    for pods in groups.values():
        # Of no node: each is another one then.
        one = replace(pods[0], node=None)
        yield _Group(tuple(_names(pods)), (PodEnd(one),), PodEnd(replace(one, name=f"{one.name} ")))


def _is_peer(world: World, policy: Policy, peer: Peer, pod: Pod) -> bool:
    """Whether a policy means a pod by one of its peers."""
    if peer.ip_block is not None:
        return pod.ip is not None and peer.ip_block.contains(pod.ip)
    inside = peer.namespace_selector
    near = pod.namespace == policy.namespace if inside is None else world.in_namespace(pod, inside)
    return near and (peer.pod_selector is None or peer.pod_selector.matches(pod.labels))


def _names(pods: Iterable[Pod]) -> Iterator[str]:
    """Pods of one workload, whose names differ in what was made up for each, in one with their number."""
    stems: dict[str, list[Pod]] = {}
    for pod in pods:
        stems.setdefault(pod.full_name.rpartition("-")[0] or pod.full_name, []).append(pod)
    for stem, alike in stems.items():
        yield f"{stem} ({len(alike)})" if len(alike) > 1 else alike[0].full_name


def _nodes(nodes: Iterable[NodeObject], settings: Settings) -> Iterator[_Group]:
    """Nodes other than the pod's own, which policies have no say on."""
    ends: list[End] = []
    for node in nodes:
        seen = settings.seen_as(node.pod_cidr, node.annotations, node.internal_ip)
        ends += [NodeEnd(node.name, seen[0])] if seen else []
    if len(ends) > 1:
        yield _Group(("another node",), tuple(ends))


def _cell(world: World, source: _Group, target: _Group) -> str:
    if source.twin is None and target.twin is None:
        return NOT_ASKED
    froms = (source.twin,) if source is target and source.twin else source.ends
    found = dict.fromkeys(_allowed(world, a, b) for a in froms for b in target.ends)
    return next(iter(found)) if len(found) == 1 else "◐ depends on the node"


def _allowed(world: World, source: End, target: End) -> str:
    """What may pass: everything, nothing, or these protocols and ports."""
    deciding = [
        policy
        for direction, end in zip(DIRECTIONS, (target, source), strict=True)
        for policy in (world.isolating(end.pod, direction) if isinstance(end, PodEnd) else ())
    ]
    if not deciding:
        return ALL
    specs = [spec for policy in deciding for rule in (*policy.ingress, *policy.egress) for spec in rule.ports]
    words = [word for protocol in PROTOCOLS for word in _ports(world, source, target, protocol, specs)]
    if judge(world, source, target, "ICMP").allowed:
        words.append("ICMP")
    every = [*(PortSpec(protocol).text for protocol in PROTOCOLS), "ICMP"]
    return ALL if words == every else f"◐ {', '.join(words)}" if words else NONE


def _ports(world: World, source: End, target: End, protocol: Protocol, specs: Iterable[PortSpec]) -> Iterator[str]:
    """Ranges of ports that are allowed: between two borders that policies name, all are alike."""
    borders = sorted({1, MAX_PORT + 1, *_borders(target, [spec for spec in specs if spec.protocol == protocol])})
    spans: list[list[int]] = []
    for first, after in pairwise(borders):
        if judge(world, source, target, protocol, first).allowed:
            if spans and spans[-1][1] == first - 1:
                spans[-1][1] = after - 1
            else:
                spans.append([first, after - 1])
    for first, last in spans:
        whole = (first, last) == (1, MAX_PORT)
        yield PortSpec(protocol, None if whole else first, None if first == last else last).text


def _borders(target: End, specs: Iterable[PortSpec]) -> Iterator[int]:
    for spec in specs:
        if isinstance(spec.port, int):
            yield from (spec.port, (spec.end_port or spec.port) + 1)
        elif isinstance(spec.port, str) and isinstance(target, PodEnd):
            for port in target.pod.ports:
                if port.name == spec.port:
                    yield from (port.number, port.number + 1)
