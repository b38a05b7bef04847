"""What is read of a host's network before anything is changed on it, and what it leaves for packets. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from kubeproof.config.cluster import Cluster
from kubeproof.networks.network import NODE_ADDRESS
from kubeproof.state.model import Link


@dataclass(frozen=True)
class LinkAddress:
    """An IPv4 address with its link and that link's MTU in bytes."""

    link: str
    address: str
    mtu: int


@dataclass(frozen=True)
class NetworkTraces:
    """What preflight wants to know about a host's network."""

    remembered: bool = False
    """Whether a deploy has been here."""
    configurations: tuple[str, ...] = ()
    """Names of the files in /etc/cni/net.d."""
    interfaces: tuple[str, ...] = ()
    """Names of all links."""
    links: tuple[str, ...] = ()
    """Names of links that pod networks make, the kernel's own only with an address."""
    files: tuple[str, ...] = ()
    """Files that show that a pod network has been here."""
    plugins: tuple[str, ...] = ()
    """Names of the CNI plugins."""
    tunnels: tuple[Link, ...] = ()
    """VXLAN links."""
    udp_ports: tuple[int, ...] = ()
    tcp_ports: tuple[int, ...] = ()
    """Ports that something listens on."""
    addresses: tuple[LinkAddress, ...] = ()
    routes: tuple[tuple[str, str], ...] = ()
    """Destination and link of each IPv4 route but the default ones, such as ("192.0.2.0/24", "eth0")."""
    unreachable: tuple[str, ...] = ()
    """Destinations that it sends nothing to: of routes of type blackhole, unreachable and prohibit."""
    virtual_servers: tuple[str, ...] = ()
    """IPv4 addresses at which IPVS, which kube-proxy can use, hands connections on."""
    default_link: str = ""
    """Link of the default route; empty if there is none."""


def tunnel_mtu(cluster: Cluster, hosts: Mapping[str, NetworkTraces]) -> int | None:
    """Bytes that a packet of a pod may have between any two hosts that answered; None if that is not known."""
    wanted = cluster.settings.cni_interface
    by_name = wanted not in ("", NODE_ADDRESS)
    smallest: list[int] = []
    for node in cluster.nodes:
        if node.name not in hosts:
            continue
        known = hosts[node.name].addresses
        fitting = [
            item.mtu for item in known if (item.link == wanted if by_name else item.address == str(node.address))
        ]
        if not fitting:
            return None
        smallest.append(min(fitting))
    return min(smallest) - cluster.settings.backend.overhead if smallest else None
