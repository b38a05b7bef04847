"""Turns what a person writes for the ends of a connection into ends: pods, nodes and addresses."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv4Network, ip_interface

from kubeproof.config.reading import closest
from kubeproof.policy.engine import End, NodeEnd, OutsideEnd, PodEnd, address_of, end_of
from kubeproof.policy.fields import SHOWN_CHARACTERS
from kubeproof.policy.model import Judged, Node, Pod, Service
from kubeproof.policy.names import MAX_PORT
from kubeproof.policy.reading import DEFAULT_NAMESPACE, Objects

LISTED = 8
"""How many names are shown where none is near."""
SERVICE_NETWORK = IPv4Network("10.96.0.0/12")
"""Where Services have their addresses unless kubeadm is told otherwise (its networking.serviceSubnet)."""
_SERVICE_NAME = re.compile(r"([a-z0-9-]+)\.([a-z0-9-]+)\.svc(?:\..*)?")
_KINDS = ("pod", "service", "svc", "deployment", "deploy", "statefulset", "sts", "daemonset", "ds", "job", "node")
"""What kubectl takes before a slash, where here a namespace stands."""


class UnknownEndError(Exception):
    """What was written names nothing; says so in one line without the option's name."""


@dataclass
class Resolver:
    """Looks names up in objects. ``notes`` collects what had to be assumed."""

    objects: Objects
    notes: list[str] = field(default_factory=list)
    service_network: IPv4Network | None = None
    """Where Services have their addresses; None if that has to be guessed."""

    def destination(self, written: str) -> End | Service:
        """The end that is meant by what :meth:`end` takes, by a Service's name, ns/name, name.ns.svc or address."""
        service = self._service(written)
        if service is not None:
            return service
        end = self.end(written)
        if isinstance(end, OutsideEnd):
            self._check_outside(end.address)
        return end

    def source(self, written: str) -> End:
        """The end that is meant, which a Service cannot be. Raises UnknownEndError."""
        service = self._service(written)
        if service is not None:
            raise UnknownEndError(f"{service} connects to nobody, pods do; write {self._pods_behind(service)}")
        return self.end(written)

    def behind(self, service: Service, port: str, protocol: Judged) -> list[tuple[Pod, int]]:
        """The pods that a port (number or name) of a Service leads to, and their ports. Raises UnknownEndError."""
        if service.external:
            raise UnknownEndError(f"{service} stands for {service.external}, which is outside; write its address")
        pods = [pod for pod in self.objects.pods if service.selects(pod)]
        if not service.selector:
            raise UnknownEndError(f"{service} has no selector, others say where it leads; write one of these addresses")
        if not pods:
            labels = ",".join(f"{key}={value}" for key, value in sorted(service.selector.items()))
            raise UnknownEndError(f"{service} leads nowhere: no pod that runs has the labels {labels}")
        if protocol == "ICMP" and not service.headless:
            raise UnknownEndError(f"{service} leads TCP, UDP and SCTP to its pods; write one of them for ICMP")
        if service.headless and (protocol == "ICMP" or is_number(port)):
            return [(pod, numbered_port(port) if protocol != "ICMP" else 0) for pod in pods]
        offered = [each for each in service.ports if each.protocol == protocol]
        wanted = next((each for each in offered if port in (str(each.number), each.name)), None)
        if wanted is None:
            known = sorted({name for each in offered for name in (str(each.number), each.name) if name})
            advice = f"use {', '.join(known)}" if known else "see its ports"
            raise UnknownEndError(f"{service} has no {protocol} port {port}; {advice}")
        found = [(pod, number) for pod in pods if (number := wanted.target_at(pod)) is not None]
        if not found:
            raise UnknownEndError(f"{service} leads nowhere at {port}: no pod has a {protocol} port {wanted.target}")
        return found

    def outer(self, end: End, port: str, protocol: Judged) -> Service | Pod | None:
        """What a connection to a node, or to an address outside, leads to by the port, if not to the node itself."""
        for pod in self.objects.pods:
            mapped = (protocol, port) in [(name, str(number)) for name, number in pod.host_ports]
            if isinstance(end, NodeEnd) and mapped and pod.active and not pod.host_network and pod.node == end.node:
                return pod
        for service in self.objects.services:
            for each in service.ports:
                if each.protocol != protocol:
                    continue
                if isinstance(end, NodeEnd) and str(each.node_port) == port:
                    return service
                is_outer = isinstance(end, NodeEnd | OutsideEnd) and address_of(end) in service.outer
                if is_outer and str(each.number) == port:
                    return service
        return None

    def end(self, written: str) -> End:
        """The end that is meant by ns/pod, pod, node or an IPv4 address. Raises UnknownEndError."""
        try:
            return self._at_address(IPv4Address(written))
        except AddressValueError:
            self._check_no_address(written)
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

    def _at_address(self, address: IPv4Address) -> End:
        if address.is_loopback:
            raise UnknownEndError(f"{address} is everybody's own, and no policy sees it; write an address of a network")
        if address.is_multicast or int(address) in (0, 2**32 - 1):
            raise UnknownEndError(f"{address} is not one host's; write an address that is")
        pods = [pod for pod in self.objects.pods if pod.ip == address and pod.active]
        owners = [pod for pod in pods if not pod.host_network]
        if len(owners) > 1:
            both = ", ".join(pod.full_name for pod in owners)
            raise UnknownEndError(f"{address} is the address of {both}; write ns/pod")
        if owners:
            return PodEnd(owners[0])
        for node in self.objects.nodes:
            if address in node.addresses or address in ((node.vtep, node.vtep + 1) if node.vtep else ()):
                return NodeEnd(node.name, address)
        if pods:
            return end_of(pods[0])
        self.notes.append(f"{address} is no pod's and no node's, so outside; of a Service write a pod behind it")
        return OutsideEnd(address)

    def _check_no_address(self, written: str) -> None:
        """Refuse what is nearly an address."""
        host, _, port = written.rpartition(":")
        try:
            interface = ip_interface(written)
        except ValueError:
            if is_number(port) and ":" not in host and host:
                raise UnknownEndError(f"{written} has a port; write {host}, and the port as --port {port}") from None
            return
        if "/" in written:
            raise UnknownEndError(f"{written} is a network; write one address of it")
        raise UnknownEndError(f"{interface.ip} is an IPv6 address, and this network is IPv4; write an IPv4 address")

    def _check_outside(self, address: IPv4Address) -> None:
        """Refuse what must be somebody's in the cluster who is not known: policies may isolate it."""
        node = next((node for node in self.objects.nodes if node.pod_cidr and address in node.pod_cidr), None)
        if node is not None:
            raise UnknownEndError(f"{address} is of the pods of node {node.name}, and no pod has it; give its Pod")
        network = self.service_network or SERVICE_NETWORK
        if address in network:
            usual = "" if self.service_network else ", usually,"
            raise UnknownEndError(
                f"{address} is{usual} a Service's ({network}), and no Service is known that has it; give its"
                " object, or write a pod behind it"
            )

    def _service(self, written: str) -> Service | None:
        """A pod or a node of the same name goes before it."""
        full_name = written if "/" in written else f"{DEFAULT_NAMESPACE}/{written}"
        if match := _SERVICE_NAME.fullmatch(written):
            full_name = f"{match[2]}/{match[1]}"
        nodes = {node.name for node in self.objects.nodes}
        for service in self.objects.services:
            if written in map(str, service.addresses):
                return service
            if service.full_name == full_name and full_name not in self.objects.world.pods and written not in nodes:
                return service
        return None

    def _pods_behind(self, service: Service) -> str:
        return _listed(pod.full_name for pod in self.objects.pods if service.selects(pod)) or "a pod"

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
        self._check_no_workload(namespace, name)
        if not pods:
            raise UnknownEndError("no pod is known; give files with Pods by -f, or no file to ask the cluster")
        namespaces = {pod.namespace for pod in self.objects.pods} | set(self.objects.world.namespaces)
        if namespace not in namespaces and namespace.casefold().rstrip("s") in _KINDS:
            raise UnknownEndError(f"{written} begins with a kind; write namespace/name")
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

    def _check_no_workload(self, namespace: str, name: str) -> None:
        """Say of a Deployment and the like which pods are its."""
        for workload in self.objects.workloads:
            if (workload.namespace, workload.name) != (namespace, name):
                continue
            pods = _listed(pod.full_name for pod in self.objects.pods if workload.made(pod))
            labels = ",".join(f"{key}={value}" for key, value in sorted(workload.labels.items()))
            selected = f" -l {labels}" if labels else ""
            command = f"kubectl get pods -n {namespace}{selected} -o yaml"
            advice = f"write one of its pods: {pods}" if pods else f"none of its pods is known: give them ({command})"
            raise UnknownEndError(f"{workload.kind} {namespace}/{name} is no pod, and makes some; {advice}")

    def _pod_end(self, pod: Pod) -> PodEnd | NodeEnd:
        if not pod.active:
            raise UnknownEndError(f"pod {pod.full_name} has ended; choose one that runs")
        if pod.ip is None and pod.ipv6:
            raise UnknownEndError(f"pod {pod.full_name} has an IPv6 address alone, and this network is IPv4")
        if pod.ip is None:
            raise UnknownEndError(f"pod {pod.full_name} has no address; wait for it, or add status.podIP to its object")
        return end_of(pod)


def is_number(written: str) -> bool:
    return written.isascii() and written.isdigit()


def numbered_port(written: str) -> int:
    """The port that is meant by a number. Raises UnknownEndError."""
    digits = written.lstrip("0")
    if len(digits) <= len(str(MAX_PORT)) and 1 <= int(digits or "0") <= MAX_PORT:
        return int(digits)
    shown = written if len(written) <= SHOWN_CHARACTERS else f"{written[:SHOWN_CHARACTERS]}…"
    raise UnknownEndError(f"{shown} is out of range; use 1 to {MAX_PORT}")


def named_port(written: str, destination: End, protocol: Judged) -> int:
    """The port that is meant by the name of one of the destination's. Raises UnknownEndError."""
    if not isinstance(destination, PodEnd):
        raise UnknownEndError(f"{written} is a name, and {destination} is no pod that could have it; use a number")
    ports = {port.name: port.number for port in destination.pod.ports if port.protocol == protocol}
    if written not in ports:
        known = _known(written, ports) if ports else "use a number"
        raise UnknownEndError(f"{destination} has no {protocol} port of the name {written}; {known}")
    return ports[written]


def _listed(names: Iterable[str]) -> str:
    """The first names, by the alphabet."""
    found = sorted(names)
    more = f" and {len(found) - LISTED} more" if len(found) > LISTED else ""
    return f"{', '.join(found[:LISTED])}{more}"


def _known(meant: str, known: Iterable[str]) -> str:
    """What exists: the nearest name, or the first ones."""
    names = sorted(known)
    near = closest(meant, names)
    if near:
        return f"did you mean {near}?"
    return f"there are {_listed(names)}"
