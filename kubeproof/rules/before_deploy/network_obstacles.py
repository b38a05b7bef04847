"""What of a host's network stands in the way of the pod network that is set. Pure."""

import shlex
from collections.abc import Iterator, Mapping, Sequence

from kubeproof.config.cluster import Node
from kubeproof.config.settings import Settings
from kubeproof.networks import artifacts, plugins
from kubeproof.networks.flannel import UDP_PORT
from kubeproof.networks.plan import NetworkPlan
from kubeproof.networks.registry import NETWORKS
from kubeproof.node import record
from kubeproof.node.between_hosts import tunnel_mtu
from kubeproof.node.finding import Finding
from kubeproof.rules.before_deploy.inspection import Inspection, of_each_host
from kubeproof.rules.devices import cni_mtu
from kubeproof.rules.membership import cni_order, configurations_before
from kubeproof.rules.rule import Rule, error_rule
from kubeproof.state.node import NodeState

BPF = "/sys/fs/bpf"
BPF_REMEDY = "run `mount -t bpf bpf /sys/fs/bpf` there, with a kernel that has it (CONFIG_BPF_SYSCALL)"
cni_leftovers = Rule(
    "cni-leftovers",
    "nothing of another pod network, or of an earlier cluster, is on a host",
    symptom="a node that was reset, or had another pod network, sends packets nowhere or joins badly",
    meaning="`kubeadm reset` leaves links, routes and rules of the pod network and of kube-proxy in the kernel, and "
    "they go on deciding about packets; pods get configuration and addresses of the other network",
    references=("kubeadm#689", "kubernetes#39557"),
    before_deploy="error",
    needs=("network", "iptables"),
)
SHOWN = 4

cni_manifest = error_rule(
    "cni-manifest", "the manifest of flannel, Canal or Calico can be had and used", "so there would be no pod network"
)
cni_untried = error_rule(
    "cni-untried",
    "the network's project names this Kubernetes for the manifest, or it was run with it (registry.py)",
    "pods of the network may not start",
)
cni_changed = error_rule(
    "cni-changed", "a cluster's pod network is the one that is set", "whose links, routes and rules its pods are in"
)
vxlan_in_use = error_rule(
    "vxlan-in-use", "VNI and UDP port of the tunnel are not somebody else's", "so the tunnel's link cannot be made"
)
cni_host_path = error_rule(
    "cni-host-path",
    "what the manifest mounts of a host (typed hostPaths) is there, and of that type",
    "pods of the network do not start (FailedMount)",
)
cni_plugin = error_rule(
    "cni-plugin",
    "CNI plugins that neither the manifest nor a package brings are on the host",
    "so pods do not start there",
)
cni_ports = error_rule(
    "cni-ports",
    "ports of the network's own pods are free, and not api_port or in node_port_range",
    "pods of the network, the API server or a Service do not get their port",
)


def findings(inspection: Inspection) -> Iterator[Finding]:
    """Those of the settings first, then those of each host by itself."""
    settings, network = inspection.cluster.settings, inspection.network
    yield from _packets(inspection)
    if network:
        yield from _untried(settings, network)
        yield from _ports_of_cluster(settings, network)
    yield from _of_host(inspection)


@of_each_host
def _of_host(inspection: Inspection, node: Node, host: NodeState) -> Iterator[Finding]:
    settings, network = inspection.cluster.settings, inspection.network
    yield from _configurations(settings, host)
    if not host.remembered:
        yield from _leftovers(settings, host)
        yield from _taken_ports(network, host)
    yield from _tunnel(settings, host)
    if network:
        yield from _plugins(settings, network, host)
        if node.name in inspection.host_paths:
            yield from _host_paths(settings, network, inspection.host_paths[node.name])


def _packets(inspection: Inspection) -> Iterator[Finding]:
    settings, most = inspection.cluster.settings, tunnel_mtu(inspection.cluster, inspection.hosts)
    if settings.cni_mtu is not None and most is not None and settings.cni_mtu > most:
        yield cni_mtu.finding(
            f"cni_mtu is more than the interfaces between the hosts leave ({settings.cni_mtu})",
            f"use at most {most}",
            breaks="so large packets between nodes are lost (flannel#841)",
        )


def _untried(settings: Settings, network: NetworkPlan) -> Iterator[Finding]:
    if network.doubt:
        older = " (Calico v3.20 and v3.21 name 1.20 and 1.21)" if settings.kubernetes_minor in ("1.20", "1.21") else ""
        remedy = f"name a manifest of your own in cni_manifest{older}, or have it tried with ignore_findings"
        found, breaks = network.doubt
        yield cni_untried.finding(found, f"{remedy} = ['cni-untried']", breaks=breaks)


def _ports_of_cluster(settings: Settings, network: NetworkPlan) -> Iterator[Finding]:
    for port in network.ports:
        if port == settings.api_port:
            yield cni_ports.finding(
                f"api_port is taken by a pod of {settings.cni} on every node ({port})",
                "choose another, e.g. 6443",
                breaks="so the API server does not start",
            )
        if port in settings.node_ports:
            yield cni_ports.finding(
                f"node_port_range includes a port that a pod of {settings.cni} has on every node ({port})",
                "choose a range without it",
                breaks="which a Service would take over",
            )


def _configurations(settings: Settings, host: NodeState) -> Iterator[Finding]:
    """On a host that a deploy has been on: the configuration that kubelet takes has to be the one that is set."""
    if not host.remembered:
        return
    if other := _other_network(settings, host):
        file = f"{artifacts.CONFIGURATIONS}/{NETWORKS[other].conflist}"
        yield cni_changed.finding(
            f"has the pod network {other} ({file})",
            f"to change to {settings.cni}, take the cluster away with `./inv reset` first",
        )
        return
    ours = settings.network.conflist
    if before := configurations_before(host.cni_files, ours):
        yield cni_order.finding(
            f"has {artifacts.CONFIGURATIONS}/{before[0]}",
            f"run `rm {artifacts.CONFIGURATIONS}/{before[0]}` there",
            breaks=f"which kubelet takes instead of {ours}, since it comes first by name (kubernetes#107127)",
        )


def _other_network(settings: Settings, host: NodeState) -> str | None:
    others = (name for name, network in NETWORKS.items() if network.conflist in host.cni_files)
    return next((name for name in others if name != settings.cni), None)


def _leftovers(settings: Settings, host: NodeState) -> Iterator[Finding]:
    """A host that no deploy has been on: whatever is there of a pod network is somebody else's."""
    before = configurations_before(host.cni_files, settings.network.conflist)
    found = [
        f"{artifacts.CONFIGURATIONS}/{name}"
        for name in sorted(host.cni_files)
        if name in (*artifacts.OWN_CONFIGURATIONS, *artifacts.OTHERS_CONFIGURATIONS, *before)
    ]
    names = [link.name for link in host.network.links]
    # The kernel makes its own one by itself; only with an address somebody uses it.
    kernels = [name for name in names if name == artifacts.KERNELS_LINK and host.network.addresses_of(name)]
    links = [name for name in names if name in kernels or artifacts.is_link(name)]
    found += [artifacts.titled(name) for name in links]
    found += host.network_files
    servers = dict.fromkeys(s.address for s in host.virtual_servers if s.address in settings.service_cidr)
    found += [f"IPVS at {address}" for address in servers]
    if found:
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        yield cni_leftovers.finding(
            f"has leftovers of a pod network that is not Kubeproof's ({', '.join(found[:SHOWN])}{more})",
            f"run `{_removal([name for name in found if name.startswith('/')], links, ipvs=bool(servers))}` there",
            breaks="pods would get its configuration or its addresses (kubernetes#39557)",
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


def _taken_ports(network: NetworkPlan | None, host: NodeState) -> Iterator[Finding]:
    for port in network.ports if network else ():
        if port in host.tcp_ports:
            yield cni_ports.finding(
                f"has TCP port {port} in use",
                f"stop what listens (`ss -ltnp 'sport = :{port}'` there shows it)",
                breaks="which a pod of the network needs",
            )


def _tunnel(settings: Settings, host: NodeState) -> Iterator[Finding]:
    """Two VXLAN links cannot share VNI and port, and no tunnel a port with a program."""
    if settings.cni_backend == "udp" and UDP_PORT in host.udp_ports and not host.remembered:
        yield vxlan_in_use.finding(
            f"has UDP port {UDP_PORT} in use by a program", f"stop it (`ss -lunp 'sport = :{UDP_PORT}'` there shows it)"
        )
    if settings.cni_backend != "vxlan":
        return
    others = [link for link in host.network.links if link.name != settings.vxlan_device and link.vxlan]
    here = [link for link in host.network.links if link.vxlan and link.vxlan.port == settings.vxlan_port]
    for link in others:
        if link.vxlan and (link.vxlan.vni, link.vxlan.port) == (settings.vxlan_vni, settings.vxlan_port):
            yield vxlan_in_use.finding(
                f"has VNI {settings.vxlan_vni} at UDP port {settings.vxlan_port} in use by link {link.name}",
                f"run `ip link delete {link.name}` there, or choose another vxlan_vni or vxlan_port",
            )
    if settings.vxlan_port in host.udp_ports and not here:
        yield vxlan_in_use.finding(
            f"has UDP port {settings.vxlan_port} in use by a program",
            f"stop it (`ss -lunp 'sport = :{settings.vxlan_port}'` there shows it), or choose another vxlan_port",
        )


def _host_paths(settings: Settings, network: NetworkPlan, there: Mapping[str, str]) -> Iterator[Finding]:
    """kubelet compares them before it mounts a pod's volumes, and tries again for ever (FailedMount)."""
    for path, kind in network.host_paths:
        found = there.get(path)
        made = kind.endswith("OrCreate") or _comes_with_the_deploy(path)
        if (found is None and made) or found == kind.removesuffix("OrCreate"):
            continue
        yield cni_host_path.finding(
            f"has {'no' if found is None else 'another thing at'} {path}, a {kind} that this manifest mounts",
            BPF_REMEDY if path == BPF and found is None else "make it there, or name a manifest without it",
            breaks=f"so pods of {settings.cni} do not start there (FailedMount)",
        )


def _comes_with_the_deploy(path: str) -> bool:
    """Packages, kubelet or the runtime make it before pods start. /var/run is /run."""
    real = f"{path.rstrip('/').removeprefix('/var') if path.startswith('/var/run/') else path.rstrip('/')}/"
    return any(real.startswith(f"{own}/") for own in record.OWNED_PATHS)


def _plugins(settings: Settings, network: NetworkPlan, host: NodeState) -> Iterator[Finding]:
    missing = [name for name in plugins.unpackaged(network.host_plugins) if name not in host.plugins]
    if missing:
        yield cni_plugin.finding(
            f"has no {plugins.FOLDER}/{missing[0]}, which this manifest of {settings.cni} does not bring",
            "put it there (github.com/flannel-io/cni-plugin publishes it), or leave cni_manifest empty for one that "
            "does",
        )
