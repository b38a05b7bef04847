"""Where the probe pods and their Services are, read from the API's objects. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import cast

from kubeproof.config.cluster import Cluster
from kubeproof.matrix.cases import NAMESPACE_PREFIX, NAMESPACES, PODS, Json
from kubeproof.matrix.placeholders import Addresses
from kubeproof.policy.model import Protocol

TARGET_NAMESPACES = tuple(NAMESPACE_PREFIX + short for short in NAMESPACES)
"""Those that policies may be in."""
NODE_NAMESPACE = f"{NAMESPACE_PREFIX}probe"
"""The namespace of the pods that stand for their nodes."""
ALL_NAMESPACES = (*TARGET_NAMESPACES, NODE_NAMESPACE)
OUTSIDE = "outside"


class IncompleteError(Exception):
    """Something is not there yet; says what, in one line."""


@dataclass(frozen=True)
class Target:
    """A probe pod (``x/a``) as others address it. ``node_ports`` are by protocol, all of them for port 80."""

    name: str
    node: str
    address: IPv4Address
    service_address: IPv4Address
    service_name: str
    node_ports: Mapping[Protocol, int]

    @property
    def pod(self) -> str:
        """The pod's full name, which its server answers with."""
        return full_name(self.name)


@dataclass(frozen=True)
class Layout:
    """All targets, and the nodes by name: their own addresses, and the subnets of their pods."""

    targets: tuple[Target, ...]
    nodes: Mapping[str, IPv4Address]
    subnets: Mapping[str, IPv4Network]
    outside: IPv4Address | None
    """This machine's address towards the nodes; None where it is a node itself, and nothing is outside."""

    @property
    def clients(self) -> tuple[str, ...]:
        """Who probes: the pods, the nodes, and this machine."""
        return (*(target.name for target in self.targets), *self.nodes, *([OUTSIDE] if self.outside else []))

    def seen_from(self, node: str) -> IPv4Address:
        """A node's address as other nodes' pods see it: that of its tunnel, where there is one."""
        return self.subnets[node].network_address if node in self.subnets else self.nodes[node]

    def addresses(self, cluster: Cluster) -> Addresses:
        return Addresses(
            pods={target.name: target.address for target in self.targets},
            placement={target.name: target.node for target in self.targets},
            subnets=self.subnets,
            pod_cidr=cluster.settings.pod_cidr,
            service_cidr=cluster.settings.service_cidr,
            node_network=cluster.settings.node_network,
            # Without an outside client no cell is about it, and the network's own address is nobody's.
            outside=self.outside or cluster.settings.node_network.network_address,
        )


def full_name(short: str) -> str:
    """``x/a`` -> ``kubeproof-x/a``."""
    return f"{NAMESPACE_PREFIX}{short}"


def channel_pod(client: str) -> tuple[str, str]:
    namespace, slash, name = client.partition("/")
    return (NAMESPACE_PREFIX + namespace, name) if slash else (NODE_NAMESPACE, client)


def read(cluster: Cluster, pods: Iterable[Json], services: Iterable[Json], nodes: Iterable[Json]) -> Layout:
    """The layout, without an outside address. Raises IncompleteError while a pod or an address is missing."""
    pods_by_name, services_by_name = _by_name(pods), _by_name(services)
    node_objects = {str(node["metadata"]["name"]): node for node in nodes}
    wanted = [node.name for node in cluster.nodes]
    for client in (*PODS, *wanted):
        _require_running(client, pods_by_name)
    subnets = {
        name: network
        for name, node in node_objects.items()
        if name in wanted and (network := _seen_as(cluster, node)) is not None
    }
    return Layout(
        targets=tuple(_target(cluster, short, pods_by_name, services_by_name) for short in PODS),
        nodes={node.name: node.address for node in cluster.nodes},
        subnets=subnets,
        outside=None,
    )


def _seen_as(cluster: Cluster, node: Json) -> IPv4Network | None:
    cidr, annotations = node.get("spec", {}).get("podCIDR"), node["metadata"].get("annotations") or {}
    address = cluster.node(node["metadata"]["name"]).address
    return cluster.settings.seen_as(IPv4Network(cidr) if cidr else None, annotations, address)


def _by_name(objects: Iterable[Json]) -> dict[tuple[str, str], Json]:
    return {(item["metadata"]["namespace"], item["metadata"]["name"]): item for item in objects}


def _require_running(client: str, pods: Mapping[tuple[str, str], Json]) -> None:
    where = channel_pod(client)
    pod = pods.get(where)
    if pod is None:
        raise IncompleteError(f"pod {'/'.join(where)} is not there")
    status = pod.get("status", {})
    states = status.get("containerStatuses") or [{}]
    if status.get("phase") != "Running" or not states[0].get("ready") or not status.get("podIP"):
        raise IncompleteError(f"pod {'/'.join(where)} on {pod['spec'].get('nodeName')} is {_state(status, states[0])}")


def _state(status: Json, container: Json) -> str:
    waiting = container.get("state", {}).get("waiting", {})
    words = [status.get("reason") or waiting.get("reason") or status.get("phase", "unknown")]
    words += [message] if (message := waiting.get("message") or status.get("message")) else []
    return ": ".join(words)


def _target(
    cluster: Cluster, short: str, pods: Mapping[tuple[str, str], Json], services: Mapping[tuple[str, str], Json]
) -> Target:
    namespace, name = channel_pod(short)
    pod = pods[namespace, name]
    try:
        service, outer = services[namespace, f"s-{name}"], services[namespace, f"n-{name}"]
        address = service["spec"]["clusterIP"]
        node_ports = {
            cast(Protocol, port.get("protocol", "TCP")): int(port["nodePort"]) for port in outer["spec"]["ports"]
        }
    except KeyError as missing:
        raise IncompleteError(f"the Services of {namespace}/{name} are not there: {missing}") from None
    return Target(
        name=short,
        node=str(pod["spec"]["nodeName"]),
        address=IPv4Address(pod["status"]["podIP"]),
        service_address=IPv4Address(address),
        # The dot at the end keeps the search list out of it.
        service_name=f"s-{name}.{namespace}.svc.{cluster.settings.cluster_domain}.",
        node_ports=node_ports,
    )
