"""What the picture of a network shows of each node: its layers, and what the proof found of each. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from kubeproof.config.cluster import Node
from kubeproof.doctor.causes_running import NODES_ROWS as PEERS
from kubeproof.pages.tables import veth_of
from kubeproof.proof.probes import BETWEEN_NODES as BETWEEN
from kubeproof.proof.report import Report
from kubeproof.rules.api import ApiObjects
from kubeproof.rules.api import Pod as PodObject
from kubeproof.rules.context import BRIDGE, Context, UndecidedError
from kubeproof.rules.result import WORST_FIRST, CheckResult, Status
from kubeproof.state.model import Link
from kubeproof.state.node import NodeState

PODS = (
    *("pod-addresses", "pod-default-routes", "pod-veths", "pod-namespaces"),
    *("pod-single-addresses", "pod-link-local-gateways", "calico-links"),
)
ON_NODE = (
    *("cni0-address", "cni-mtu", "no-bridge", "route-to-own-pods", "routes-to-pods"),
    *("bridge-netfilter", "pod-to-pod-same-node"),
)
FORWARDING = (
    *("ip-forward", "forward-accepts", "forward-verdicts", "postrouting-order", "postrouting-verdicts"),
    *("policy-chains-first", "felix-chains", "felix-first", "policies-in-force"),
)
TUNNEL = ("flannel-device", "flannel-address", "ipip-device", "tun-device", "no-tunnel")
INTERFACE = ("node-address",)
PLACED = frozenset((*PODS, *ON_NODE, *FORWARDING, *TUNNEL, *PEERS, *INTERFACE, *BETWEEN))
"""Rows of the proof that the picture shows at a place of their own; all others are of the node as a whole."""


@dataclass(frozen=True)
class Found:
    """What the proof found of a part: the worst end of its rows, and the rows with that end if it is not a good one."""

    status: Status = Status.NOT_RUN
    rows: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """A box: what it is, what is known of it, and what the proof found."""

    title: str
    lines: tuple[str, ...]
    found: Found


@dataclass(frozen=True)
class Pod:
    """A pod with an address of its own; ``veth`` describes its link on the node, "" if that is not known."""

    name: str
    line: str
    veth: str
    found: Found


@dataclass(frozen=True)
class Column:
    """A node. The layers have no parts where it could not be read; ``reason`` then says why."""

    name: str
    lines: tuple[str, ...]
    found: Found
    counts: str
    pods: tuple[Pod, ...] = ()
    own: int = 0
    """How many pods use the node's own address."""
    bridge: Part | None = None
    forwarding: Found = Found()
    tunnel: Part | None = None
    peers: Found = Found()
    interface: Part | None = None
    between: Found = Found()
    reason: str = ""


def columns(report: Report) -> list[Column]:
    """One for each node, in the order of the inventory."""
    return [_column(report, node) for node in report.cluster.nodes]


def _found(results: Iterable[CheckResult], names: Sequence[str] | None = None) -> Found:
    """The worst of the rows that are named; without names of those that have no place of their own."""
    rows = [item for item in results if (item.name not in PLACED if names is None else item.name in names)]
    status = min((item.status for item in rows), key=WORST_FIRST.index, default=Status.NOT_RUN)
    bad = tuple(item.name for item in rows if item.is_failing and item.status is status)
    return Found(status, bad)


def _column(report: Report, node: Node) -> Column:
    results = [item for item in report.results if item.node == node.name]
    held = sum(item.ok for item in results)
    run = sum(item.status is not Status.NOT_RUN for item in results)
    objects = report.snapshot.objects
    found = objects.node(node.name) if isinstance(objects, ApiObjects) else None
    subnets = str(found.pod_cidr or "") if found else ""
    if isinstance(objects, ApiObjects) and report.cluster.settings.network.agent.blocks:
        subnets = ", ".join(map(str, objects.blocks.get(node.name, ())))
    subnet = f"pods {subnets}" if subnets else "pods: no subnet is known"
    lines = (f"{node.role} · {node.address}", subnet)
    whole = replace(_found(results), status=_found(results, [item.name for item in results]).status)
    head = Column(node.name, lines, whole, f"{held} of {run} hold")
    if node.name not in report.snapshot.states:
        return replace(head, reason=report.snapshot.unreachable.get(node.name, "was not read"))
    context = report.snapshot.context(node.name)
    pods = [pod for pod in objects.pods if pod.node == node.name] if isinstance(objects, ApiObjects) else []
    return replace(
        head,
        pods=_pods(context.pods, context.state, results) if pods else (),
        own=sum(pod.host_network for pod in pods),
        bridge=_bridge(context, _found(results, ON_NODE)),
        forwarding=_found(results, FORWARDING),
        tunnel=_tunnel(context, _found(results, TUNNEL)),
        peers=_found(results, PEERS),
        interface=_interface(context, _found(results, INTERFACE)),
        between=_found(results, BETWEEN),
    )


def _pods(pods: Sequence[PodObject], state: NodeState, results: Sequence[CheckResult]) -> tuple[Pod, ...]:
    """Those that something is wrong with come first."""
    made = [_pod(pod, state, results) for pod in pods]
    return tuple(sorted(made, key=lambda pod: WORST_FIRST.index(pod.found.status)))


def _pod(pod: PodObject, state: NodeState, results: Sequence[CheckResult]) -> Pod:
    """A row that fails and names pods is about these; one that names none is about all."""
    about = [
        item
        for item in results
        if not item.is_failing or pod.full_name in item.found or not any(c.pod in item.found for c in state.containers)
    ]
    inner, outer = (*veth_of(pod, state), None, None)[:2]
    line = f"{pod.ip} · MTU {inner.mtu if inner else '?'}"
    return Pod(pod.full_name, line, f"{outer.name} · MTU {outer.mtu}" if outer else "", _found(about, PODS))


def _described(link: Link, context: Context) -> tuple[str, ...]:
    addresses = context.state.network.addresses_of(link.name)
    down = "" if link.is_up else " · down"
    return (", ".join(map(str, addresses)) or "no address", f"MTU {link.mtu}{down}")


def _bridge(context: Context, found: Found) -> Part:
    link = context.state.network.link(BRIDGE)
    if link is not None:
        return Part(f"bridge {link.name}", _described(link, context), found)
    if "bridge" in context.cluster.settings.backend.aspects:
        return Part(f"no bridge {BRIDGE}", ("made with the first pod",), found)
    return Part("no bridge", ("each pod has a route",), found)


def _tunnel(context: Context, found: Found) -> Part:
    if not context.cluster.settings.backend.overhead:
        return Part("no tunnel", ("routes lead to the nodes",), found)
    link = context.state.network.link(context.vxlan_device)
    if link is None:
        return Part(f"no link {context.vxlan_device}", (), found)
    vni = f" · VNI {link.vxlan.vni} · UDP {link.vxlan.port}" if link.vxlan else ""
    address, mtu = _described(link, context)
    return Part(f"tunnel {link.name}", (address, f"{mtu}{vni}"), found)


def _interface(context: Context, found: Found) -> Part:
    try:
        link = context.underlay
    except UndecidedError as error:
        return Part("interface not known", (str(error),), found)
    return Part(f"interface {link.name}", _described(link, context), found)
