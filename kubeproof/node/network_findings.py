"""What of a host's network stands in the way of the pod network that is set. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kubeproof.cluster import Cluster
from kubeproof.cni import plugins, traces
from kubeproof.cni.networks import NETWORKS, NODE_ADDRESS, VXLAN_OVERHEAD
from kubeproof.cni.plan import PodNetwork
from kubeproof.network.model import Link
from kubeproof.settings import Settings

SHOWN = 4
"""How many leftovers a line names."""


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
    """Names of links that pod networks make."""
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


def network_findings(cluster: Cluster, network: PodNetwork | None, hosts: Mapping[str, NetworkTraces]) -> list[str]:
    """A line for each problem, those of the settings first. ``network`` is None if its manifest cannot be used."""
    settings = cluster.settings
    found = [*_packets(cluster, hosts), *(_ports_of_cluster(settings, network) if network else ())]
    for node in cluster.nodes:
        if node.name in hosts:
            found += [f"{node.name}: {line}" for line in _of_host(settings, network, hosts[node.name])]
    return found


def tunnel_mtu(cluster: Cluster, hosts: Mapping[str, NetworkTraces]) -> int | None:
    """Bytes that a packet may have in the tunnel between any two hosts that answered; None if that is not known."""
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
    return min(smallest) - VXLAN_OVERHEAD if smallest else None


def _packets(cluster: Cluster, hosts: Mapping[str, NetworkTraces]) -> Iterator[str]:
    settings, tunnel = cluster.settings, tunnel_mtu(cluster, hosts)
    if settings.cni_mtu is None or tunnel is None:
        return
    most = tunnel if settings.cni_backend == "vxlan" else tunnel + VXLAN_OVERHEAD
    if settings.cni_mtu > most:
        yield f"cni_mtu: is more than the interfaces between the hosts leave ({settings.cni_mtu}), use at most {most}"


def _ports_of_cluster(settings: Settings, network: PodNetwork) -> Iterator[str]:
    for port in network.ports:
        if port == settings.api_port:
            yield f"api_port: is taken by a pod of {settings.cni} on every node ({port}), choose another, e.g. 6443"
        if port in settings.node_ports:
            yield (
                f"node_port_range: includes a port that a pod of {settings.cni} has on every node ({port}), choose a "
                "range without it"
            )


def _of_host(settings: Settings, network: PodNetwork | None, host: NetworkTraces) -> Iterator[str]:
    other = _other_network(settings, host)
    if host.remembered and other:
        file = f"{traces.CONFIGURATIONS}/{NETWORKS[other].conflist}"
        yield (
            f"has the pod network {other} ({file}), whose links, routes and rules its pods are in; to change to "
            f"{settings.cni}, take the cluster away with `./inv reset` first"
        )
    elif host.remembered:
        yield from _before_ours(settings, host)
    else:
        yield from _leftovers(settings, host)
        yield from _taken_ports(network, host)
    yield from _tunnel(settings, host)
    yield from _interface(settings, host)
    if network:
        yield from _plugins(settings, network, host)


def _other_network(settings: Settings, host: NetworkTraces) -> str | None:
    return next(
        (
            name
            for name, network in NETWORKS.items()
            if name != settings.cni and network.conflist in host.configurations
        ),
        None,
    )


def _before_ours(settings: Settings, host: NetworkTraces) -> Iterator[str]:
    ours = NETWORKS[settings.cni].conflist
    before = [
        name for name in sorted(host.configurations) if name < ours and name.endswith(traces.CONFIGURATION_ENDINGS)
    ]
    if before:
        yield (
            f"has {traces.CONFIGURATIONS}/{before[0]}, which kubelet takes instead of {ours}, since it comes first by "
            "name; remove it"
        )


def _leftovers(settings: Settings, host: NetworkTraces) -> Iterator[str]:
    """A host that no deploy has been on: whatever is there of a pod network is somebody else's."""
    known = {item for network in NETWORKS.values() for item in (network.conflist, *network.more_files)}
    ours = NETWORKS[settings.cni].conflist
    found = [
        f"{traces.CONFIGURATIONS}/{name}"
        for name in sorted(host.configurations)
        if name in known
        or name in traces.OTHERS_CONFIGURATIONS
        or (name < ours and name.endswith(traces.CONFIGURATION_ENDINGS))
    ]
    found += [f"link {name}" for name in host.links]
    found += host.files
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        yield (
            f"has leftovers of a pod network that is not Kubeproof's ({', '.join(found[:SHOWN])}{more}), pods would "
            "get its configuration or its addresses; remove files with rm and links with `ip link delete`"
        )


def _taken_ports(network: PodNetwork | None, host: NetworkTraces) -> Iterator[str]:
    for port in network.ports if network else ():
        if port in host.tcp_ports:
            yield f"has TCP port {port} in use (`ss -ltnp`), which a pod of the network needs; stop what listens"


def _tunnel(settings: Settings, host: NetworkTraces) -> Iterator[str]:
    """Two VXLAN links cannot share VNI and port, and a VXLAN link no port with a program."""
    if settings.cni_backend != "vxlan":
        return
    others = [link for link in host.tunnels if link.name != settings.vxlan_device and link.vxlan]
    here = [link for link in host.tunnels if link.vxlan and link.vxlan.port == settings.vxlan_port]
    for link in others:
        if link.vxlan and (link.vxlan.vni, link.vxlan.port) == (settings.vxlan_vni, settings.vxlan_port):
            yield (
                f"has VNI {settings.vxlan_vni} at UDP port {settings.vxlan_port} in use by link {link.name}; choose "
                "another vxlan_vni or vxlan_port"
            )
    if settings.vxlan_port in host.udp_ports and not here:
        yield (
            f"has UDP port {settings.vxlan_port} in use by a program (`ss -lunp`); stop it or choose another vxlan_port"
        )


def _interface(settings: Settings, host: NetworkTraces) -> Iterator[str]:
    name = settings.cni_interface
    if name not in ("", NODE_ADDRESS) and host.interfaces and name not in host.interfaces:
        yield (
            f"has no interface {name} but {', '.join(host.interfaces)}; correct cni_interface, or use {NODE_ADDRESS!r}"
        )


def _plugins(settings: Settings, network: PodNetwork, host: NetworkTraces) -> Iterator[str]:
    missing = [name for name in plugins.unpackaged(network.host_plugins) if name not in host.plugins]
    if missing:
        yield (
            f"has no {plugins.FOLDER}/{missing[0]}, which this manifest of {settings.cni} does not bring; put "
            "it there (github.com/flannel-io/cni-plugin publishes it), or leave cni_manifest empty for one that does"
        )
