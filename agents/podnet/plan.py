"""What a node's network should be, from the Node objects, the node's underlay and the configuration. Pure."""

import json
from bisect import bisect, insort
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from agents.podnet.nodes import Node

DEVICE = "flannel.1"
"""Name of the VXLAN device, whatever its VNI: other tools look for it under this name."""
BRIDGE = "cni0"
"""The pods' bridge; the bridge plugin makes it with a node's first pod."""
VXLAN_OVERHEAD = 50
"""Bytes that VXLAN over IPv4 adds to a packet: 14 Ethernet, 20 IPv4, 8 UDP, 8 VXLAN (RFC 7348)."""
CONFLIST_NAME = "10-podnet.conflist"
MULTICAST = "224.0.0.0/4"


class PodnetError(Exception):
    """Something of the pod network could not be done; the text says why and what to do. podnet tries again."""


@dataclass(frozen=True)
class Config:
    """What the DaemonSet configures: this node's name, the cluster's pod CIDR, VNI and UDP port of the VXLAN.

    ``enforce`` is whether NetworkPolicy has any effect.
    """

    node_name: str
    pod_cidr: IPv4Network
    vni: int
    port: int
    enforce: bool = True


@dataclass(frozen=True)
class Underlay:
    """The interface that carries the node's InternalIP; ``mtu`` in bytes."""

    index: int
    name: str
    address: IPv4Address
    mtu: int


@dataclass(frozen=True)
class Vxlan:
    """Attributes of the VXLAN device that make it a different device when they differ."""

    vni: int
    port: int
    local: IPv4Address
    underlay: int
    learning: bool = False


@dataclass(frozen=True)
class Route:
    """A route over the VXLAN device. ``gateway`` is the remote device's address, taken as on link."""

    destination: IPv4Network
    gateway: IPv4Address | None
    onlink: bool = True

    def __str__(self) -> str:
        return f"{self.destination} via {self.gateway} dev {DEVICE}"


@dataclass(frozen=True)
class Plan:
    """The node's network as it should be. ``neighbours`` is remote VTEP address -> MAC, ``fdb`` MAC -> node address."""

    vxlan: Vxlan
    mtu: int
    address: IPv4Interface
    gateway: IPv4Interface
    routes: frozenset[Route]
    neighbours: Mapping[IPv4Address, str]
    fdb: Mapping[str, IPv4Address]
    forward_rules: tuple[str, ...]
    postrouting_rules: tuple[str, ...]
    subnet_env: str
    conflist: str
    skipped: tuple[str, ...]
    """Nodes that are left out for now, with the reason."""


def make_plan(config: Config, nodes: Mapping[str, Node], underlay: Underlay) -> Plan:
    """Everything podnet keeps on this node. Raises PodnetError if the own Node object does not allow a plan."""
    subnet = own_subnet(config, own_node(config, nodes))
    peers, skipped = choose_peers(config, subnet, nodes)
    mtu = underlay.mtu - VXLAN_OVERHEAD
    return Plan(
        vxlan=Vxlan(config.vni, config.port, underlay.address, underlay.index),
        mtu=mtu,
        address=IPv4Interface(subnet.network_address),
        gateway=gateway_of(subnet),
        routes=frozenset(Route(peer.subnet, peer.subnet.network_address) for peer in peers),
        neighbours={peer.subnet.network_address: peer.mac for peer in peers},
        fdb={peer.mac: peer.address for peer in peers},
        forward_rules=forward_rules(config.pod_cidr),
        postrouting_rules=postrouting_rules(config.pod_cidr, subnet),
        subnet_env=subnet_env(config.pod_cidr, subnet, mtu),
        conflist=conflist(subnet, mtu),
        skipped=tuple(skipped),
    )


@dataclass(frozen=True)
class Peer:
    """Another node with everything that is needed to reach its pods."""

    name: str
    subnet: IPv4Network
    address: IPv4Address
    mac: str


def own_node(config: Config, nodes: Mapping[str, Node]) -> Node:
    """This node's Node object; PodnetError if there is none."""
    node = nodes.get(config.node_name)
    if node is None:
        raise PodnetError(f"no Node object is called {config.node_name}: is kubelet running here under that name?")
    return node


def own_address(node: Node) -> IPv4Address:
    """The node's InternalIP; PodnetError if it has none."""
    if node.address is None:
        raise PodnetError(f"node {node.name} has no IPv4 InternalIP: give kubelet --node-ip=ADDRESS")
    return node.address


def own_subnet(config: Config, node: Node) -> IPv4Network:
    """The node's podCIDR; PodnetError if it has none or lies outside the cluster's pod CIDR (flannel#728, #1428)."""
    if node.pod_cidr is None:
        raise PodnetError(
            f"node {node.name} has no podCIDR: kube-controller-manager must run with --allocate-node-cidrs and "
            f"--cluster-cidr={config.pod_cidr} (kubeadm: networking.podSubnet), and the CIDR must have room for it"
        )
    if not node.pod_cidr.subnet_of(config.pod_cidr):
        raise PodnetError(
            f"node {node.name} has podCIDR {node.pod_cidr}, which is not part of podnet's pod CIDR {config.pod_cidr}: "
            "give podnet the CIDR of kubeadm's networking.podSubnet"
        )
    return node.pod_cidr


def choose_peers(config: Config, subnet: IPv4Network, nodes: Mapping[str, Node]) -> tuple[list[Peer], list[str]]:
    """The other nodes that can be reached, and for each of the rest one line that says why it is left out."""
    peers: list[Peer] = []
    skipped: list[str] = []
    taken = _Taken()
    for node in sorted(nodes.values(), key=lambda node: node.name):
        if node.name == config.node_name:
            continue
        try:
            peers.append(_peer(config, subnet, node, taken, peers))
        except PodnetError as problem:
            skipped.append(str(problem))
        else:
            taken.add(peers[-1])
    return peers, skipped


class _Taken:
    """Subnets, which do not overlap, and MACs of the peers so far: with 500 of them a look at each costs seconds."""

    def __init__(self) -> None:
        self._macs: set[str] = set()
        self._subnets: list[tuple[int, int]] = []

    def add(self, peer: Peer) -> None:
        self._macs.add(peer.mac)
        insort(self._subnets, _ends(peer.subnet))

    def has(self, subnet: IPv4Network, mac: str) -> bool:
        """Whether one of them has the MAC, or a subnet that overlaps this one."""
        first, last = _ends(subnet)
        place = bisect(self._subnets, (last + 1, 0))
        return mac in self._macs or (place > 0 and self._subnets[place - 1][1] >= first)


def _ends(subnet: IPv4Network) -> tuple[int, int]:
    return int(subnet.network_address), int(subnet.broadcast_address)


def _peer(config: Config, subnet: IPv4Network, node: Node, taken: _Taken, others: Iterable[Peer]) -> Peer:
    if node.pod_cidr is None or node.public_ip is None or node.vtep_mac is None:
        raise PodnetError(f"node {node.name} is left out until it has a podCIDR and its podnet has published its VTEP")
    if not node.pod_cidr.subnet_of(config.pod_cidr):
        raise PodnetError(f"node {node.name} is left out: its podCIDR {node.pod_cidr} is not part of {config.pod_cidr}")
    if node.pod_cidr.overlaps(subnet):
        raise PodnetError(f"node {node.name} is left out: its podCIDR {node.pod_cidr} overlaps this node's {subnet}")
    if taken.has(node.pod_cidr, node.vtep_mac):
        names = (other.name for other in others if other.mac == node.vtep_mac or other.subnet.overlaps(node.pod_cidr))
        raise PodnetError(
            f"node {node.name} is left out: it has the podCIDR or VTEP MAC of {next(names)}; "
            "were the two cloned from one machine? Delete the Node object of the one that is gone"
        )
    return Peer(node.name, node.pod_cidr, node.public_ip, node.vtep_mac)


def gateway_of(subnet: IPv4Network) -> IPv4Interface:
    """First address of a node's podCIDR with its prefix length: what the bridge plugin gives to cni0."""
    return IPv4Interface((subnet.network_address + 1, subnet.prefixlen))


def forward_rules(pod_cidr: IPv4Network) -> tuple[str, ...]:
    """filter FORWARD: pod traffic passes in spite of Docker's policy DROP. As ``iptables -S`` writes them."""
    return (f"-A FORWARD -s {pod_cidr} -j ACCEPT", f"-A FORWARD -d {pod_cidr} -j ACCEPT")


def postrouting_rules(pod_cidr: IPv4Network, subnet: IPv4Network) -> tuple[str, ...]:
    """nat POSTROUTING, the order matters: pod to pod keeps its source, what leaves the cluster is masqueraded."""
    return (
        f"-A POSTROUTING -s {pod_cidr} -d {pod_cidr} -j RETURN",
        f"-A POSTROUTING -s {pod_cidr} ! -d {MULTICAST} -j MASQUERADE --random-fully",
        f"-A POSTROUTING ! -s {pod_cidr} -d {subnet} -j RETURN",
        f"-A POSTROUTING ! -s {pod_cidr} -d {pod_cidr} -j MASQUERADE --random-fully",
    )


def subnet_env(pod_cidr: IPv4Network, subnet: IPv4Network, mtu: int) -> str:
    """Text of /run/flannel/subnet.env in flannel's order of keys."""
    return f"FLANNEL_NETWORK={pod_cidr}\nFLANNEL_SUBNET={gateway_of(subnet)}\nFLANNEL_MTU={mtu}\nFLANNEL_IPMASQ=true\n"


def conflist(subnet: IPv4Network, mtu: int) -> str:
    """CNI configuration: bridge with host-local addresses from the node's podCIDR, then portmap.

    ipMasq is off because the POSTROUTING rules masquerade; 0.3.1 is understood by every kubelet since 1.16.
    """
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "mtu": mtu,
        "isDefaultGateway": True,
        "hairpinMode": True,
        "ipMasq": False,
        "ipam": {"type": "host-local", "ranges": [[{"subnet": str(subnet)}]]},
    }
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    document = {"cniVersion": "0.3.1", "name": "podnet", "plugins": [bridge, portmap]}
    return json.dumps(document, indent=2) + "\n"
