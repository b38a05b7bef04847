"""What a page tells of a cluster in tables: for people, for programs, and to compare pages by. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from kubeproof.config.cluster import Cluster
from kubeproof.proof.snapshot import Snapshot
from kubeproof.rules.api import ApiObjects, NodeObject, Pod, Service
from kubeproof.state.model import Link
from kubeproof.state.node import NodeState

Row = tuple[str, ...]
SOON_DAYS = 30
"""kubeadm renews certificates with an upgrade only; they last for a year."""
NODE_INFO = {
    "kubeletVersion": "kubelet",
    "kubeProxyVersion": "kube-proxy",
    "containerRuntimeVersion": "container runtime",
    "osImage": "system",
    "kernelVersion": "kernel",
    "architecture": "architecture",
}


@dataclass(frozen=True)
class Table:
    """Rows of cells with a heading. The first ``keys`` cells of a row name it, in this page and in others.

    ``note`` says what is to be known of it, and stands alone where there are no rows.
    """

    title: str
    head: Row
    rows: tuple[Row, ...] = ()
    keys: int = 1
    note: str = ""


def tables(snapshot: Snapshot, taken_at: datetime) -> Iterator[Table]:
    """All but the proof and the grid of policies."""
    cluster, objects = snapshot.loaded.cluster, snapshot.objects
    if isinstance(objects, ApiObjects):
        yield _services(objects)
        yield _pods(objects, snapshot)
    yield _links(snapshot)
    yield _certificates(snapshot, taken_at)
    if isinstance(objects, ApiObjects):
        yield _versions(objects.nodes, cluster)


def _services(objects: ApiObjects) -> Table:
    head = ("Service", "port", "address", "NodePort", "ready endpoints")
    note = "" if objects.services else "There is no Service."
    return Table("Services", head, tuple(row for item in objects.services for row in _ports(item, objects)), 2, note)


def _ports(service: Service, objects: ApiObjects) -> Iterator[Row]:
    pods = {pod.ip: pod.full_name for pod in objects.pods if not pod.host_network}
    address = str(service.cluster_ip or "headless")
    for port in service.ports:
        name = f"{port.port}/{port.protocol}" + (f" {port.name}" if port.name else "")
        ready = sorted(objects.backends(service, port), key=lambda item: (item.address, item.port))
        ends = [f"{item} {pods.get(item.address, '')}".strip() for item in ready]
        yield service.full_name, name, address, str(port.node_port or ""), "\n".join(ends) or "✗ none"
    if not service.ports:
        yield service.full_name, "", address, "", ""


def _pods(objects: ApiObjects, snapshot: Snapshot) -> Table:
    head = ("pod", "node", "address", "veth and its MTU", "state")
    pods = sorted(objects.pods, key=lambda pod: pod.full_name)
    return Table("Pods", head, tuple(_pod(pod, snapshot.states.get(pod.node)) for pod in pods))


def _pod(pod: Pod, state: NodeState | None) -> Row:
    words = "leaving" if pod.terminating else pod.phase
    ready = f"{'✓' if pod.ready and not pod.terminating else '✗'} {words}{f': {pod.trouble}' if pod.trouble else ''}"
    ends = ["of its node"] if pod.host_network else [f"{link.name} {link.mtu}" for link in veth_of(pod, state)]
    return pod.full_name, pod.node or "–", str(pod.ip or "–"), "\n".join(ends), ready


def veth_of(pod: Pod, state: NodeState | None) -> tuple[Link, ...]:
    """Both ends of a pod's veth, its own first; none or one where the others are not known."""
    sandbox = state.sandbox(pod.full_name) if state and not pod.host_network else None
    links = [link for link in sandbox.network.links if link.peer_index] if sandbox and sandbox.network else []
    if state is None or not links:
        return ()
    peer = state.network.link_by_index(links[0].peer_index or 0)
    return (links[0], peer) if peer else (links[0],)


def _links(snapshot: Snapshot) -> Table:
    """Without the veths of pods, which are in the table of these."""
    rows: list[Row] = []
    for context in snapshot.contexts():
        network = context.state.network
        for link in (
            item for item in network.links if item.name != "lo" and not item.name.startswith(("veth", "cali"))
        ):
            addresses = ", ".join(map(str, network.addresses_of(link.name)))
            rows.append((context.node.name, link.name, addresses, str(link.mtu), "up" if link.is_up else "✗ down"))
    unread = [f"{name} could not be read: {reason}." for name, reason in snapshot.unreachable.items()]
    return Table("Interfaces", ("node", "interface", "addresses", "MTU", "state"), tuple(rows), 2, " ".join(unread))


def _certificates(snapshot: Snapshot, taken_at: datetime) -> Table:
    rows: list[Row] = []
    unread = []
    for name, state in snapshot.states.items():
        reason = state.unreadable.get("certificates") or ("" if state.certificates else "none was found")
        unread += [f"Certificates of {name}: {reason}."] if reason else []
        for path, end in sorted(state.certificates.items()):
            days = (end - taken_at).days
            mark = "✗ ended" if end <= taken_at else f"{'!' if days < SOON_DAYS else '✓'} {days} days"
            rows.append((name, path, f"{end:%Y-%m-%d %H:%M} UTC", mark))
    return Table("Certificates", ("node", "file", "ends", "left"), tuple(rows), 2, " ".join(unread))


def _versions(nodes: Sequence[NodeObject], cluster: Cluster) -> Table:
    settings = cluster.settings
    head = ("node", *NODE_INFO.values())
    rows = tuple((node.name, *(node.info.get(key, "") for key in NODE_INFO)) for node in nodes)
    note = (
        f"Set for the cluster: Kubernetes {settings.kubernetes_version}, {settings.container_runtime}, {settings.cni}."
    )
    return Table("Versions", head, rows, 1, note)
