"""What of a host's network stands in the way of the pod network that is set. Pure."""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address

from kubeproof.config.cluster import Node
from kubeproof.config.settings import Settings
from kubeproof.networks import artifacts, plugins
from kubeproof.networks.plan import NetworkPlan
from kubeproof.networks.registry import NETWORKS
from kubeproof.node import record
from kubeproof.node.finding import Finding
from kubeproof.node.preflight.inspection import Inspection
from kubeproof.node.tunnel import tunnel_mtu
from kubeproof.state.node import NodeState

BPF = "/sys/fs/bpf"
BPF_MEND = "run `mount -t bpf bpf /sys/fs/bpf` there, with a kernel that has it (CONFIG_BPF_SYSCALL)"
SHOWN = 4
"""How many leftovers a line names."""


def findings(inspection: Inspection) -> Iterator[Finding]:
    """Those of the settings first, then those of each host by itself."""
    settings, network = inspection.cluster.settings, inspection.network
    yield from _packets(inspection)
    if network:
        yield from _untried(settings, network)
        yield from _ports_of_cluster(settings, network)
    for node, host in inspection.answered():
        yield from _configurations(settings, node, host)
        if not host.remembered:
            yield from _leftovers(settings, node, host)
            yield from _taken_ports(network, node, host)
        yield from _tunnel(settings, node, host)
        if network:
            yield from _plugins(settings, network, node, host)
    for node, _ in inspection.answered():
        if network and node.name in inspection.host_paths:
            yield from _host_paths(settings, network, node, inspection.host_paths[node.name])


def _packets(inspection: Inspection) -> Iterator[Finding]:
    settings, most = inspection.cluster.settings, tunnel_mtu(inspection.cluster, inspection.hosts)
    if settings.cni_mtu is not None and most is not None and settings.cni_mtu > most:
        yield Finding(
            "cni-mtu",
            "",
            f"cni_mtu is more than the interfaces between the hosts leave ({settings.cni_mtu})",
            "so large packets between nodes are lost (flannel#841)",
            f"use at most {most}",
        )


def _untried(settings: Settings, network: NetworkPlan) -> Iterator[Finding]:
    if network.doubt:
        older = " (Calico v3.20 and v3.21 name 1.20 and 1.21)" if settings.kubernetes_minor in ("1.20", "1.21") else ""
        mend = f"name a manifest of your own in cni_manifest{older}, or have it tried with ignore_findings"
        yield Finding("cni-untried", "", *network.doubt, f"{mend} = ['cni-untried']")


def _ports_of_cluster(settings: Settings, network: NetworkPlan) -> Iterator[Finding]:
    for port in network.ports:
        if port == settings.api_port:
            yield Finding(
                "cni-ports",
                "",
                f"api_port is taken by a pod of {settings.cni} on every node ({port})",
                "so the API server does not start",
                "choose another, e.g. 6443",
            )
        if port in settings.node_ports:
            yield Finding(
                "cni-ports",
                "",
                f"node_port_range includes a port that a pod of {settings.cni} has on every node ({port})",
                "which a Service would take over",
                "choose a range without it",
            )


def _configurations(settings: Settings, node: Node, host: NodeState) -> Iterator[Finding]:
    """On a host that a deploy has been on: the configuration that kubelet takes has to be the one that is set."""
    if not host.remembered:
        return
    if other := _other_network(settings, host):
        file = f"{artifacts.CONFIGURATIONS}/{NETWORKS[other].conflist}"
        yield Finding(
            "cni-changed",
            node.name,
            f"has the pod network {other} ({file})",
            "whose links, routes and rules its pods are in",
            f"to change to {settings.cni}, take the cluster away with `./inv reset` first",
        )
        return
    ours = settings.network.conflist
    before = [name for name in sorted(host.cni_files) if _comes_first(name, ours)]
    if before:
        yield Finding(
            "cni-order",
            node.name,
            f"has {artifacts.CONFIGURATIONS}/{before[0]}",
            f"which kubelet takes instead of {ours}, since it comes first by name (kubernetes#107127)",
            f"run `rm {artifacts.CONFIGURATIONS}/{before[0]}` there",
        )


def _comes_first(name: str, ours: str) -> bool:
    return name < ours and name.endswith(artifacts.CONFIGURATION_ENDINGS)


def _other_network(settings: Settings, host: NodeState) -> str | None:
    others = (name for name, network in NETWORKS.items() if network.conflist in host.cni_files)
    return next((name for name in others if name != settings.cni), None)


def _leftovers(settings: Settings, node: Node, host: NodeState) -> Iterator[Finding]:
    """A host that no deploy has been on: whatever is there of a pod network is somebody else's."""
    ours = settings.network.conflist
    found = [
        f"{artifacts.CONFIGURATIONS}/{name}"
        for name in sorted(host.cni_files)
        if name in (*artifacts.OWN_CONFIGURATIONS, *artifacts.OTHERS_CONFIGURATIONS) or _comes_first(name, ours)
    ]
    names = [link.name for link in host.network.links]
    # The kernel makes its own one by itself; only with an address somebody uses it.
    kernels = [name for name in names if name == artifacts.KERNELS_LINK and host.network.addresses_of(name)]
    links = [name for name in names if name in kernels or artifacts.is_link(name)]
    found += [f"link {name}" for name in links]
    found += host.network_files
    servers = [address for address in host.virtual_servers if IPv4Address(address) in settings.service_cidr]
    found += [f"IPVS at {address}" for address in servers]
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        yield Finding(
            "cni-leftovers",
            node.name,
            f"has leftovers of a pod network that is not Kubeproof's ({', '.join(found[:SHOWN])}{more})",
            "pods would get its configuration or its addresses (kubernetes#39557)",
            f"run `{_removal([name for name in found if name.startswith('/')], links, ipvs=bool(servers))}` there",
        )


def _removal(files: Sequence[str], links: Sequence[str], *, ipvs: bool) -> str:
    """The command that takes them away. Of a pair of links both go with the first: what fails stops nothing."""
    commands = [f"rm -r {shlex.join(files)}"] if files else []
    for name in links:
        kernels = name == artifacts.KERNELS_LINK
        commands.append(f"ip addr flush dev {name}" if kernels else f"ip link delete {shlex.quote(name)}")
    if ipvs:
        commands.append("ipvsadm --clear")
    return "; ".join(commands)


def _taken_ports(network: NetworkPlan | None, node: Node, host: NodeState) -> Iterator[Finding]:
    for port in network.ports if network else ():
        if port in host.tcp_ports:
            yield Finding(
                "cni-ports",
                node.name,
                f"has TCP port {port} in use",
                "which a pod of the network needs",
                f"stop what listens (`ss -ltnp 'sport = :{port}'` there shows it)",
            )


def _tunnel(settings: Settings, node: Node, host: NodeState) -> Iterator[Finding]:
    """Two VXLAN links cannot share VNI and port, and a VXLAN link no port with a program."""
    if settings.cni_backend != "vxlan":
        return
    others = [link for link in host.network.links if link.name != settings.vxlan_device and link.vxlan]
    here = [link for link in host.network.links if link.vxlan and link.vxlan.port == settings.vxlan_port]
    for link in others:
        if link.vxlan and (link.vxlan.vni, link.vxlan.port) == (settings.vxlan_vni, settings.vxlan_port):
            yield Finding(
                "vxlan-in-use",
                node.name,
                f"has VNI {settings.vxlan_vni} at UDP port {settings.vxlan_port} in use by link {link.name}",
                "so the tunnel's link cannot be made",
                f"run `ip link delete {link.name}` there, or choose another vxlan_vni or vxlan_port",
            )
    if settings.vxlan_port in host.udp_ports and not here:
        yield Finding(
            "vxlan-in-use",
            node.name,
            f"has UDP port {settings.vxlan_port} in use by a program",
            "so the tunnel's link cannot be made",
            f"stop it (`ss -lunp 'sport = :{settings.vxlan_port}'` there shows it), or choose another vxlan_port",
        )


def _host_paths(settings: Settings, network: NetworkPlan, node: Node, there: Mapping[str, str]) -> Iterator[Finding]:
    """kubelet compares them before it mounts a pod's volumes, and tries again for ever (FailedMount)."""
    for path, kind in network.host_paths:
        found = there.get(path)
        made = kind.endswith("OrCreate") or _comes_with_the_deploy(path)
        if (found is None and made) or found == kind.removesuffix("OrCreate"):
            continue
        yield Finding(
            "cni-host-path",
            node.name,
            f"has {'no' if found is None else 'another thing at'} {path}, a {kind} that this manifest mounts",
            f"so pods of {settings.cni} do not start there (FailedMount)",
            BPF_MEND if path == BPF and found is None else "make it there, or name a manifest without it",
        )


def _comes_with_the_deploy(path: str) -> bool:
    """Packages, kubelet or the runtime make it before pods start. /var/run is /run."""
    real = f"{path.rstrip('/').removeprefix('/var') if path.startswith('/var/run/') else path.rstrip('/')}/"
    return any(real.startswith(f"{own}/") for own in record.OWNED_PATHS)


def _plugins(settings: Settings, network: NetworkPlan, node: Node, host: NodeState) -> Iterator[Finding]:
    missing = [name for name in plugins.unpackaged(network.host_plugins) if name not in host.plugins]
    if missing:
        yield Finding(
            "cni-plugin",
            node.name,
            f"has no {plugins.FOLDER}/{missing[0]}, which this manifest of {settings.cni} does not bring",
            "so pods do not start there",
            "put it there (github.com/flannel-io/cni-plugin publishes it), or leave cni_manifest empty for one that "
            "does",
        )
