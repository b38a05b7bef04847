"""What a rule is given to evaluate a node: its state, the others', the API, and the inventory. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from kubeproof.config.cluster import Cluster, LoadedInventory, Node
from kubeproof.networks.network import NODE_ADDRESS
from kubeproof.rules.api import ApiObjects, NodeObject, Pod
from kubeproof.state.model import Link
from kubeproof.state.node import NodeState

VXLAN_DEVICE = "flannel.1"
"""Flannel names its device after the VNI; podnet keeps the name."""
BRIDGE = "cni0"
DOCKER_BRIDGE = "docker0"
POD_DEVICE = "eth0"
NOT_READ = "node was not read"
NO_API = "the API could not be read"


class UndecidedError(Exception):
    """A rule cannot be evaluated, because something that it needs is not known; what asks it then fails with this."""


@dataclass(frozen=True)
class Context:
    """One node, as read, together with the others and the API.

    ``states`` holds each node that could be read, by name; ``objects`` the API's, or why they could not be read.
    """

    node: Node
    loaded: LoadedInventory
    state: NodeState
    states: Mapping[str, NodeState]
    objects: ApiObjects | str

    @property
    def cluster(self) -> Cluster:
        return self.loaded.cluster

    @property
    def api(self) -> ApiObjects:
        """The API's objects; no check passes without those that it needs."""
        if isinstance(self.objects, str):
            raise UndecidedError(f"{NO_API}: {self.objects}")
        return self.objects

    @property
    def subnet(self) -> IPv4Network:
        """S: the pods' network on this node, a.b.N.0/24, as its node object has it."""
        return self.subnet_of(self.node.name)

    def node_object(self, name: str) -> NodeObject:
        found = self.api.node(name)
        if found is None:
            raise UndecidedError(f"the API has no node {name}: it has not joined the cluster")
        return found

    def subnet_of(self, name: str) -> IPv4Network:
        found = self.node_object(name)
        if found.pod_cidr is None:
            raise UndecidedError(
                f"the node object {name} has no podCIDR: does kube-controller-manager allocate node CIDRs?"
            )
        return found.pod_cidr

    def subnets_of(self, name: str) -> tuple[IPv4Network, ...]:
        """Networks that pods of a node have addresses of: S, or with blocks these, none before the first pod there."""
        if self.cluster.settings.network.agent.blocks:
            return self.api.blocks.get(name, ())
        return (self.subnet_of(name),)

    @property
    def pods_network(self) -> IPv4Network:
        """What the pods here have addresses of. A node that gets no more blocks takes addresses out of others'."""
        settings = self.cluster.settings
        return settings.pod_cidr if settings.network.agent.blocks else self.subnet

    def a_pod_of(self, name: str) -> IPv4Address:
        """An address that a pod of a node could have."""
        network = (*self.subnets_of(name), self.cluster.settings.pod_cidr)[0]
        return network[min(2, network.num_addresses - 1)]

    def tunnel_address_of(self, name: str) -> IPv4Address:
        """The address of a node's tunnel, which the node itself speaks with pods of other nodes by."""
        announced = self.cluster.settings.network.agent.tunnel_address
        if announced is None:
            return self.subnet_of(name)[0]
        text = announced(self.node_object(name).annotations)
        if text is None:
            raise UndecidedError(f"the node object {name} does not say which address its tunnel has")
        return IPv4Address(text)

    @property
    def gateway(self) -> IPv4Address:
        """The address of cni0: the first host of S."""
        return self.subnet[1]

    @property
    def others(self) -> tuple[Node, ...]:
        return tuple(node for node in self.cluster.nodes if node.name != self.node.name)

    @property
    def pods(self) -> tuple[Pod, ...]:
        """Pods of the pod network that run here."""
        return self.api.pods_with_own_address(self.node.name)

    @property
    def vxlan_device(self) -> str:
        return self.cluster.settings.vxlan_device

    @property
    def underlay(self) -> Link:
        """The interface that carries packets to other nodes: the one of the settings, or that of the node's address."""
        return self._underlay(self.state, self.node)

    @property
    def underlay_address(self) -> IPv4Address:
        return self.underlay_address_of(self.node)

    def underlay_address_of(self, node: Node) -> IPv4Address:
        """The address that packets to a node are sent to: its own, or that of the interface of the settings."""
        if self.cluster.settings.cni_interface == NODE_ADDRESS:
            return node.address
        state = self.states.get(node.name)
        if state is None:
            announced = self._announced_address(node.name)
            if announced is None:
                raise UndecidedError(f"the address of {node.name} in the pod network is not known: the {NOT_READ}")
            return announced
        addresses = [item.ip for item in state.network.addresses_of(self._underlay(state, node).name)]
        return node.address if node.address in addresses else addresses[0]

    def _underlay(self, state: NodeState, node: Node) -> Link:
        name = self.cluster.settings.cni_interface
        if not name:
            # flannel's own choice: the interface of the default route.
            route = next((item for item in state.network.routes_in() if item.destination.prefixlen == 0), None)
            name = (route.device if route else None) or "with a default route"
        link = state.underlay(node.address) if name == NODE_ADDRESS else state.network.link(name)
        if link is None and name == NODE_ADDRESS:
            raise UndecidedError(f"no interface of this node carries its address {node.address}")
        if link is None or not (name == NODE_ADDRESS or state.network.addresses_of(link.name)):
            raise UndecidedError(f"there is no interface {name} with an address on {node.name}")
        return link

    def _announced_address(self, name: str) -> IPv4Address | None:
        found = self.api.node(name)
        text = found.annotations.get("flannel.alpha.coreos.com/public-ip", "") if found else ""
        return IPv4Address(text) if text else None

    @property
    def network_mtu(self) -> int:
        """Bytes that a packet between nodes may have: with a tunnel less its overhead."""
        return self.underlay.mtu - self.cluster.settings.backend.overhead

    @property
    def pod_mtu(self) -> int:
        """Bytes that a packet of a pod may have."""
        return self.cluster.settings.cni_mtu or self.network_mtu

    def vtep_mac(self, name: str) -> str:
        """The MAC of another node's flannel.1: as that node has it, or as it was announced if it cannot be read."""
        state = self.states.get(name)
        link = state.network.link(self.vxlan_device) if state else None
        if link is not None:
            return link.mac
        found = self.api.node(name)
        announced = self.cluster.settings.network.agent.announced_mac(found.annotations) if found else None
        if announced is None:
            raise UndecidedError(
                f"the MAC of {self.vxlan_device} on {name} is not known: no such device, or the {NOT_READ}"
            )
        return announced
