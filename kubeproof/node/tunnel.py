"""What hosts leave for packets between them. Pure."""

from collections.abc import Mapping

from kubeproof.config.cluster import Cluster
from kubeproof.networks.network import NODE_ADDRESS
from kubeproof.state.node import NodeState


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
