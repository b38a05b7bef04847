"""What hosts need of each other: what their firewalls let in, and the size of packets between them. Pure."""

from collections.abc import Mapping

from kubeproof.config.cluster import Cluster, Role
from kubeproof.networks.network import NODE_ADDRESS
from kubeproof.state.node import NodeState


def ports(cluster: Cluster, role: Role) -> tuple[str, ...]:
    """Ports of a host of this role, such as "6443/tcp" (Kubernetes documentation, "Ports and Protocols")."""
    settings = cluster.settings
    node_ports = settings.node_port_range
    tunnel = (f"{settings.tunnel_port}/udp",) if settings.tunnel_port else ()
    always = ("10250/tcp", "10256/tcp", *tunnel, f"{node_ports}/tcp", f"{node_ports}/udp")
    if role == "worker":
        return always
    return (f"{settings.api_port}/tcp", "2379-2380/tcp", "10257/tcp", "10259/tcp", *always)


def sources(cluster: Cluster) -> tuple[str, ...]:
    """Networks and addresses whose packets are let in and through whatever their port.

    Pods speak with the host they are on. By VXLAN or UDP other hosts have an address in the pod CIDR for its pods;
    otherwise they speak with them by their own, or wrap packets in IP in IP, which has no ports, and speak BGP.
    """
    settings = cluster.settings
    wrapped = settings.tunnel_port and not settings.cni_cross_subnet
    hosts = [] if wrapped else [str(node.address) for node in cluster.nodes]
    return (str(settings.pod_cidr), *hosts)


def tunnel_mtu(cluster: Cluster, hosts: Mapping[str, NodeState]) -> int | None:
    """Bytes that a packet of a pod may have between any two hosts that answered; None if that is not known."""
    wanted = cluster.settings.cni_interface
    smallest: list[int] = []
    for node in cluster.nodes:
        if node.name not in hosts:
            continue
        network = hosts[node.name].network
        by_name = wanted not in ("", NODE_ADDRESS)
        link = network.link(wanted) if by_name else network.device_with(node.address)
        if link is None or not network.addresses_of(link.name):
            return None
        smallest.append(link.mtu)
    return min(smallest) - cluster.settings.backend.overhead if smallest else None
