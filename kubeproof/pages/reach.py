"""Who reaches whom by the policies of a cluster, as a grid of alike pods, other nodes, and outside. Pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from itertools import pairwise

from kubeproof.pages.tables import Row, Table
from kubeproof.policy.engine import End, NodeEnd, OutsideEnd, PodEnd, judge
from kubeproof.policy.model import DIRECTIONS, PROTOCOLS, Pod, PortSpec, Protocol, World
from kubeproof.policy.names import MAX_PORT
from kubeproof.rules.api import ApiObjects, NodeObject
from kubeproof.rules.context import NO_API

TITLE = "Policies: who reaches whom"
OUTSIDE = IPv4Address("192.0.2.1")
"""Stands for every address outside: of a network that is nobody's (RFC 5737, TEST-NET-1)."""
GENERATED = ("pod-template-hash", "controller-revision-hash", "statefulset.kubernetes.io/pod-name")
"""Labels by which pods of one workload differ."""
ALL, NONE = "✓ all", "✗ none"
MOST_NAMES = 4


@dataclass(frozen=True)
class _Group:
    """Ends that policies do not tell apart. ``others`` are ends like them that a connection with them is judged by."""

    name: str
    end: End
    others: tuple[End, ...]


def grid(objects: ApiObjects | str, *, enforced: bool, tunnel: bool) -> Table:
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
    groups = [*_pods(world), *_nodes(objects.nodes, tunnel=tunnel), _Group("outside", OutsideEnd(OUTSIDE), ())]
    cells = {(a.name, b.name): _cell(world, a, b) for a in groups for b in groups}
    names = [group.name for group in groups]
    columns = _alike(names, lambda to: tuple(cells[source, to] for source in names))
    rows = _alike(names, lambda source: tuple(cells[source, to] for to in names))
    made = tuple((_label(row), *(cells[row[0], column[0]] for column in columns)) for row in rows)
    note = "Rows connect, columns are reached. " + (
        "Worked out from the policies as they stand in the API; ./inv matrix tries them."
        if enforced
        else "The pod network enforces no policies: this is what they say, and not what happens."
    )
    return Table(TITLE, ("from ↓ to →", *map(_label, columns)), made, note=note)


def _alike(names: Iterable[str], cells: Callable[[str], Row]) -> list[list[str]]:
    groups: dict[Row, list[str]] = {}
    for name in names:
        groups.setdefault(cells(name), []).append(name)
    return list(groups.values())


def _label(names: list[str]) -> str:
    more = [f"and {len(names) - MOST_NAMES + 1} more"] if len(names) > MOST_NAMES else []
    return "\n".join([*names[: MOST_NAMES - len(more)], *more])


def _pods(world: World) -> Iterator[_Group]:
    """Pods by what policies can see of them."""
    rules = [rule for policy in world.policies for rule in (*policy.ingress, *policy.egress)]
    blocks = [peer.ip_block for rule in rules for peer in rule.peers if peer.ip_block]
    asked = repr(world.policies)
    groups: dict[object, list[Pod]] = {}
    for pod in sorted(world.pods.values(), key=lambda pod: pod.full_name):
        if pod.ip is not None and pod.active and not pod.host_network:
            labels = {key: text for key, text in pod.labels.items() if key not in GENERATED or key in asked}
            within = tuple(block.contains(pod.ip) for block in blocks)
            groups.setdefault((pod.namespace, tuple(sorted(labels.items())), within, pod.ports), []).append(pod)
    used: set[str] = set()
    for pods in groups.values():
        prefix = pods[0].full_name.rpartition("-")[0]
        many = f" ({len(pods)})" if len(pods) > 1 else ""
        name = f"{prefix}{many}" if many and prefix and prefix + many not in used else f"{pods[0].full_name}{many}"
        used.add(name)
        # A pod reaches itself whatever policies say: what is meant is one more of its kind.
        yield _Group(name, PodEnd(pods[0]), (PodEnd(replace(pods[0], name=f"{pods[0].name} ")),))


def _nodes(nodes: Iterable[NodeObject], *, tunnel: bool) -> Iterator[_Group]:
    """Nodes other than the pod's own, which policies have no say on."""
    ends: list[End] = []
    for node in nodes:
        seen = node.pod_cidr.network_address if tunnel and node.pod_cidr else node.internal_ip
        ends += [NodeEnd(node.name, seen)] if seen else []
    if len(ends) > 1:
        yield _Group("another node", ends[0], tuple(ends))


def _cell(world: World, source: _Group, target: _Group) -> str:
    if not isinstance(source.end, PodEnd) and not isinstance(target.end, PodEnd):
        return "–"
    froms = source.others if source.name == target.name or len(source.others) > 1 else (source.end,)
    tos = target.others if len(target.others) > 1 else (target.end,)
    pairs = [(a, b) for a in froms for b in tos if not _own_node(a, b)]
    found = dict.fromkeys(_allowed(world, a, b) for a, b in pairs)
    return next(iter(found)) if len(found) == 1 else "◐ depends on the node"


def _own_node(source: End, target: End) -> bool:
    match source, target:
        case (NodeEnd(node), PodEnd(pod)) | (PodEnd(pod), NodeEnd(node)):
            return node == pod.node
        case _:
            return False


def _allowed(world: World, source: End, target: End) -> str:
    """What may pass: everything, nothing, or these protocols and ports."""
    ends = zip(DIRECTIONS, (target, source), strict=True)
    if not any(isinstance(end, PodEnd) and world.isolating(end.pod, direction) for direction, end in ends):
        return ALL
    words = [word for protocol in PROTOCOLS for word in _ports(world, source, target, protocol)]
    if judge(world, source, target, "ICMP").allowed:
        words.append("ICMP")
    every = [*(PortSpec(protocol).text for protocol in PROTOCOLS), "ICMP"]
    return ALL if words == every else f"◐ {', '.join(words)}" if words else NONE


def _ports(world: World, source: End, target: End, protocol: Protocol) -> Iterator[str]:
    """Ranges of ports that are allowed: between two borders that policies name, all are alike."""
    borders = sorted({1, MAX_PORT + 1, *_borders(world, target, protocol)})
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


def _borders(world: World, target: End, protocol: Protocol) -> Iterator[int]:
    rules = (rule for policy in world.policies for rule in (*policy.ingress, *policy.egress))
    for spec in (spec for rule in rules for spec in rule.ports if spec.protocol == protocol):
        if isinstance(spec.port, int):
            yield from (spec.port, (spec.end_port or spec.port) + 1)
        elif isinstance(spec.port, str) and isinstance(target, PodEnd):
            for port in target.pod.ports:
                if port.name == spec.port:
                    yield from (port.number, port.number + 1)
