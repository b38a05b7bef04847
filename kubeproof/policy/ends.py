"""Turns what a person writes for the ends of a connection into ends: pods, nodes and addresses."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address

from kubeproof.policy.engine import End, NodeEnd, OutsideEnd, PodEnd, end_of
from kubeproof.policy.model import Judged, Node, Pod
from kubeproof.policy.names import MAX_PORT
from kubeproof.policy.reading import DEFAULT_NAMESPACE, Objects
from kubeproof.reading import closest

LISTED = 8
"""How many names are shown where none is near."""


class UnknownEndError(Exception):
    """What was written names nothing; says so in one line without the option's name."""


@dataclass
class Resolver:
    """Looks names up in objects. ``notes`` collects what had to be assumed."""

    objects: Objects
    notes: list[str] = field(default_factory=list)

    def end(self, written: str) -> PodEnd | NodeEnd | OutsideEnd:
        """The end that is meant by ns/pod, pod, node or an IPv4 address. Raises UnknownEndError."""
        try:
            return self._at_address(IPv4Address(written))
        except AddressValueError:
            pass
        if "/" not in written and f"{DEFAULT_NAMESPACE}/{written}" not in self.objects.world.pods:
            node = next((node for node in self.objects.nodes if node.name == written), None)
            if node is not None:
                return NodeEnd(node.name, self._own_address(node))
        return self._pod_end(self._pod(written))

    def as_seen(self, source: End, destination: End) -> End:
        """The source with the address that the destination's node sees."""
        if isinstance(source, OutsideEnd):
            self.notes.append(
                f"{source} is seen so at the node of the pod; by the NodePort of another node it comes from that node's"
                " flannel.1 address"
            )
        if not isinstance(source, NodeEnd) or not isinstance(destination, PodEnd):
            return source
        if source.node == destination.pod.node:
            return source
        node = next((node for node in self.objects.nodes if node.name == source.node), None)
        if node is not None and node.vtep is not None:
            return NodeEnd(source.node, node.vtep)
        self.notes.append(
            f"node {source.node}: its podCIDR is not known, so it is taken to be seen as {source.seen}; under VXLAN"
            " that is the first address of its podCIDR: give its Node object"
        )
        return source

    def _at_address(self, address: IPv4Address) -> PodEnd | NodeEnd | OutsideEnd:
        pods = [pod for pod in self.objects.pods if pod.ip == address and pod.active]
        owners = [pod for pod in pods if not pod.host_network]
        if len(owners) > 1:
            both = ", ".join(pod.full_name for pod in owners)
            raise UnknownEndError(f"{address} is the address of {both}; write ns/pod")
        if owners:
            return PodEnd(owners[0])
        for node in self.objects.nodes:
            if address in node.addresses or address in _in_pod_network(node):
                return NodeEnd(node.name, address)
        if pods:
            return end_of(pods[0])
        self.notes.append(f"{address} is no pod's and no node's, so outside; of a Service write a pod behind it")
        return OutsideEnd(address)

    def _own_address(self, node: Node) -> IPv4Address:
        address = next(iter(node.addresses), node.vtep)
        if address is None:
            raise UnknownEndError(f"node {node.name} has no address; add status.addresses to its object")
        return address

    def _pod(self, written: str) -> Pod:
        namespace, slash, name = written.rpartition("/")
        namespace = namespace if slash else DEFAULT_NAMESPACE
        pods = self.objects.world.pods
        found = pods.get(f"{namespace}/{name}")
        if found is not None:
            return found
        if not pods:
            raise UnknownEndError("no pod is known; give files with Pods by -f, or no file to ask the cluster")
        namespaces = {pod.namespace for pod in self.objects.pods} | set(self.objects.world.namespaces)
        if namespace not in namespaces and slash:
            raise UnknownEndError(f"there is no namespace {namespace}; {_known(namespace, namespaces)}")
        if slash:
            raise UnknownEndError(f"there is no pod {written}; {_known(written, pods)}")
        shown = {pod.name: pod.full_name for pod in self.objects.pods} | {
            node.name: node.name for node in self.objects.nodes
        }
        near = closest(name, shown)
        meant = f"did you mean {shown[near]}?" if near else _known(name, shown.values())
        raise UnknownEndError(f"there is no pod {namespace}/{name} and no node {name}; {meant}")

    def _pod_end(self, pod: Pod) -> PodEnd | NodeEnd:
        if not pod.active:
            raise UnknownEndError(f"pod {pod.full_name} has ended; choose one that runs")
        if pod.ip is None:
            raise UnknownEndError(f"pod {pod.full_name} has no address; wait for it, or add status.podIP to its object")
        return end_of(pod)


def is_number(written: str) -> bool:
    """Whether a port is written as a number."""
    return written.isascii() and written.isdigit()


def numbered_port(written: str) -> int:
    """The port that is meant by a number. Raises UnknownEndError."""
    if 1 <= int(written) <= MAX_PORT:
        return int(written)
    raise UnknownEndError(f"{written} is out of range; use 1 to {MAX_PORT}")


def named_port(written: str, destination: End, protocol: Judged) -> int:
    """The port that is meant by the name of one of the destination's. Raises UnknownEndError."""
    if not isinstance(destination, PodEnd):
        raise UnknownEndError(f"{written} is a name, and {destination} is no pod that could have it; use a number")
    ports = {port.name: port.number for port in destination.pod.ports if port.protocol == protocol}
    if written not in ports:
        known = _known(written, ports) if ports else "use a number"
        raise UnknownEndError(f"{destination} has no {protocol} port of the name {written}; {known}")
    return ports[written]


def _in_pod_network(node: Node) -> tuple[IPv4Address, ...]:
    """A node's addresses on flannel.1 and cni0: the first two of its podCIDR."""
    return (node.vtep, node.vtep + 1) if node.vtep else ()


def _known(meant: str, known: Iterable[str]) -> str:
    """What exists: the nearest name, or the first ones."""
    names = sorted(known)
    near = closest(meant, names)
    if near:
        return f"did you mean {near}?"
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"there are {', '.join(names[:LISTED])}{more}"
