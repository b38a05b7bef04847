"""Settings that differ from those of a cluster that runs, and that nothing but a new cluster can have. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from kubeproof.config.cluster import Cluster, Node
from kubeproof.config.settings import Settings
from kubeproof.config.tables import version_traits
from kubeproof.networks.plan import pods_mtu
from kubeproof.node.finding import Finding

DEFAULT = "kube-proxy's default"
NO_MTU = "None"
"""How flannel's own choice is written."""


@dataclass(frozen=True)
class InUse:
    """What a host's part of a running cluster has been made with; empty where there is none, or it is not known."""

    unfinished: bool = False
    """kubeadm was interrupted here, and begins again with the settings of the next deploy."""
    arguments: Mapping[str, str] = field(default_factory=dict)
    """Of the API server and the controller manager, by name without dashes (kubeadm's static pods)."""
    images: Mapping[str, str] = field(default_factory=dict)
    """References of the control plane's images, by program such as "etcd"."""
    kubelet: Mapping[str, str] = field(default_factory=dict)
    server: str = ""
    node_ip: str = ""
    deployments: tuple[str, ...] = ()
    pause_image: str = ""
    """Reference that kubelet was told when the host joined."""
    networks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What the agents of each network have been told, by network and name of the setting (Manifest.in_use)."""
    proxy_mode: str = ""
    """kube-proxy's mode in the configuration that the cluster was initialised with."""
    conntrack: str | None = None
    """maxPerCore in the configuration that the cluster was initialised with, or DEFAULT; None if that is not there."""


@dataclass(frozen=True)
class Change:
    """A setting whose value in the cluster is another one than the present."""

    setting: str
    old: str
    new: str
    breaks: str

    @property
    def differs(self) -> bool:
        return bool(self.old) and self.old != self.new


def findings(cluster: Cluster, hosts: Mapping[str, InUse], tunnel_mtu: int | None = None) -> list[Finding]:
    """One for each setting that cannot be applied to the cluster that runs, with all hosts that have the old value.

    ``tunnel_mtu`` is what a packet may have in a tunnel between the hosts, in bytes, where that is known.
    """
    found: dict[Change, list[str]] = {}
    for node in cluster.nodes:
        if node.name in hosts and not hosts[node.name].unfinished:
            for change in _of_host(cluster, node, hosts[node.name], tunnel_mtu):
                if change.differs:
                    found.setdefault(change, []).append(node.name)
    return [_finding(change, names) for change, names in found.items()]


def _finding(change: Change, hosts: Iterable[str]) -> Finding:
    return Finding(
        "changed-address" if change.setting.startswith("address ") else "changed-setting",
        ", ".join(hosts),
        f"{change.setting} is {change.old} in the running cluster and {change.new} in the settings",
        change.breaks,
        f"set it back to {change.old}, or take the cluster away with `./inv reset` and then `./inv apply`",
    )


def _of_host(cluster: Cluster, node: Node, host: InUse, tunnel_mtu: int | None) -> Iterator[Change]:
    yield from _of_node(cluster, node, host)
    if node == cluster.leader:
        yield from _of_addresses(cluster.settings, host)
        yield from _of_images(cluster.settings, host)
        yield from _of_addons(cluster.settings, host)
        yield from _of_network(cluster.settings, host, tunnel_mtu)


def _of_node(cluster: Cluster, node: Node, host: InUse) -> Iterator[Change]:
    settings, server = cluster.settings, urlsplit(host.server)
    named = "certificates, kubelets and kubeconfigs have the old one"
    yield Change("address of the control plane host", server.hostname or "", str(cluster.leader.address), named)
    yield Change("api_port", str(server.port or ""), str(settings.api_port), named)
    told = "kubelet, the other nodes and the pod network know the node by it"
    yield Change(f"address of {node.name}", host.node_ip, str(node.address), told)
    driver = "kubelet and the runtime would disagree, and no pod would start"
    yield Change("cgroup_driver", host.kubelet.get("cgroupDriver", ""), settings.cgroup_driver, driver)
    if not settings.runtime.cri_socket and settings.pause_image_tag:
        pause = "kubelet was told the image when the host joined"
        yield Change("pause_image_tag", host.pause_image.rpartition(":")[2], settings.pause_image_tag, pause)
    domain = "pods and certificates have names in the old one"
    yield Change("cluster_domain", host.kubelet.get("clusterDomain", ""), settings.cluster_domain, domain)


def _of_network(settings: Settings, host: InUse, tunnel_mtu: int | None) -> Iterator[Change]:
    """Agents read them when they start, leave their old links and routes, and pods keep theirs."""
    used = host.networks.get(settings.cni, {})
    starts = "the agents on the nodes do not read it again, and links and pods keep the old one"
    for name in sorted(used.keys() - {"cni_mtu"}):
        yield Change(name, used[name], str(getattr(settings, name)), starts)
    mtu = pods_mtu(settings, tunnel_mtu)
    if used and (mtu is not None or settings.network.finds_mtu):
        yield Change("cni_mtu", used["cni_mtu"] or NO_MTU, str(mtu or NO_MTU), starts)


def _of_addresses(settings: Settings, host: InUse) -> Iterator[Change]:
    arguments = host.arguments
    pods = "pods, routes and rules have addresses of the old one"
    yield Change("pod_cidr", arguments.get("cluster-cidr", ""), str(settings.pod_cidr), pods)
    subnets = "nodes keep the subnets that they have"
    yield Change("pod_subnet_bits", arguments.get("node-cidr-mask-size", ""), str(settings.pod_subnet_bits), subnets)
    services = "Services keep addresses of the old one, cluster DNS among them"
    yield Change("service_cidr", arguments.get("service-cluster-ip-range", ""), str(settings.service_cidr), services)
    ports = "only kubeadm init tells the API server"
    yield Change("node_port_range", arguments.get("service-node-port-range", ""), settings.node_port_range, ports)


def _of_images(settings: Settings, host: InUse) -> Iterator[Change]:
    repository, _, rest = host.images.get("kube-apiserver", "").rpartition("/")
    version = rest.partition(":v")[2]
    kept = "the control plane keeps the images it was made with"
    yield Change("image_repository", repository, settings.image_repository, kept)
    if version and version_traits.minor_of(version) == settings.era.minor:
        yield Change("kubernetes_version", version, settings.kubernetes_version, "clusters are not upgraded")
    if settings.etcd_image_tag:
        yield Change("etcd_image_tag", host.images.get("etcd", "").rpartition(":")[2], settings.etcd_image_tag, kept)


def _of_addons(settings: Settings, host: InUse) -> Iterator[Change]:
    served = [name for name, here in (("coredns", "coredns"), ("dnsmasq", "kube-dns")) if here in host.deployments]
    if len(served) == 1:
        both = "both would answer at the same address"
        yield Change("cluster_dns", served[0], settings.cluster_dns, both)
    told = "only kubeadm init tells kube-proxy"
    yield Change("kube_proxy_mode", host.proxy_mode, settings.kube_proxy_mode, told)
    if host.conntrack is not None:
        wanted = DEFAULT if settings.conntrack_max_per_core is None else str(settings.conntrack_max_per_core)
        yield Change("conntrack_max_per_core", host.conntrack, wanted, told)
