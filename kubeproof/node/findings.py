"""What is wrong with hosts before anything is changed on them. Pure."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kubeproof.cluster import Cluster, Node
from kubeproof.node import docker_config, paths
from kubeproof.settings import Settings
from kubeproof.tables import combinations, systems
from kubeproof.tables.systems import System, system_of


@dataclass(frozen=True)
class HostFacts:
    """What preflight wants to know about a host."""

    system: str = ""
    """ID and VERSION_ID of os-release(5), such as "debian 12"."""
    uid: int = -1
    addresses: tuple[str, ...] = ()
    """IPv4 addresses of all links, without prefix length."""
    swaps: tuple[str, ...] = ()
    """Devices and files in use as swap (/proc/swaps)."""
    container: str = ""
    """Kind of container that the host is (systemd-detect-virt), or empty."""
    machine_id: str = ""
    docker_config: str = ""
    """Text of Docker's configuration, empty if there is none."""
    architecture: str = ""
    """As Kubernetes calls it, such as "amd64"; uname's word where it has no name for it."""
    kernel: str = ""
    """Version of the running kernel (uname -r)."""
    cgroups: str = ""
    """Kind of file system at /sys/fs/cgroup: "cgroup2fs", or "tmpfs" for version 1."""
    kubelet: str = ""
    """Version of kubelet if the host is a node already, such as "1.20.2"; empty if it is not."""
    cri_socket: str = ""
    """What that kubelet has been told to speak with; empty for dockershim, and where it is not known."""
    foreign: tuple[str, ...] = ()
    """Files of a cluster on a host that no deploy has left its record on."""


def findings(cluster: Cluster, hosts: Mapping[str, HostFacts]) -> list[str]:
    """A line for each problem on each host that answered, in the order of the inventory; empty if all are fit."""
    answered = [node for node in cluster.nodes if node.name in hosts]
    found = [f"{node.name}: {line}" for node in answered for line in _of_host(cluster.settings, node, hosts[node.name])]
    return found + changed_clusters(cluster.settings, hosts) + foreign_clusters(hosts) + list(_same_machine_ids(hosts))


def changed_clusters(settings: Settings, hosts: Mapping[str, HostFacts]) -> list[str]:
    """A line for each host that is a node of another version or with another runtime than the settings say."""
    return [
        f"{name}: {line}"
        for name, facts in hosts.items()
        for line in combinations.of_node(settings.era, settings.runtime, facts.kubelet, facts.cri_socket)
    ]


def foreign_clusters(hosts: Mapping[str, HostFacts]) -> list[str]:
    """A line for each host with a cluster that is not this project's: it is neither changed nor taken away."""
    return [
        f"{name}: holds a cluster that Kubeproof did not make ({facts.foreign[0]}); run `kubeadm reset` there yourself "
        "first, or take the host out of the inventory"
        for name, facts in hosts.items()
        if facts.foreign
    ]


def _of_host(settings: Settings, node: Node, facts: HostFacts) -> Iterator[str]:
    system = system_of(facts.system)
    if system is None:
        yield f"runs {facts.system or 'an unknown system'}; install one of {systems.titles()}"
    else:
        yield from _of_system(settings, system, facts)
    if facts.uid != 0:
        yield "is not entered as root; set ssh_user = 'root', or _sudo = True in inventory/group_data/all.py"
    if str(node.address) not in facts.addresses:
        has = ", ".join(facts.addresses) or "none"
        yield f"does not have the address {node.address} but {has}; correct `address` in the inventory"
    if facts.swaps and facts.container:
        yield f"is a container ({facts.container}) on a machine with swap, kubelet refuses; run `swapoff -a` there"
    if settings.runtime.name == "docker" and (wrong := docker_config.problem(facts.docker_config)):
        yield f"has a {paths.DOCKER_CONFIG} that Docker cannot read ({wrong}); correct or remove it"


def _of_system(settings: Settings, system: System, facts: HostFacts) -> Iterator[str]:
    """What of this host does not go with the version of Kubernetes and the container runtime."""
    era, own = settings.era, bool(settings.own_runtime_package or settings.runtime_package_version)
    if facts.architecture and facts.architecture not in systems.ARCHITECTURES.values():
        yield f"is a {facts.architecture}; use a machine that is one of {', '.join(systems.ARCHITECTURES.values())}"
    yield from combinations.of_repository(
        era, system, {"deb": settings.kubernetes_apt_url, "rpm": settings.kubernetes_rpm_url}
    )
    yield from combinations.of_system(era, settings.runtime.name, system, own_package=own)
    verified = "SystemVerification" not in settings.ignore_preflight_errors
    yield from combinations.of_kernel(era, facts.kernel, facts.cgroups, verified=verified)


def _same_machine_ids(hosts: Mapping[str, HostFacts]) -> Iterator[str]:
    """Two nodes with one machine-id take each other's DHCP leases and node identity (kubeadm#31)."""
    by_id = defaultdict(list)
    for name, facts in hosts.items():
        if facts.machine_id:
            by_id[facts.machine_id].append(name)
    for names in by_id.values():
        if len(names) > 1:
            advice = "empty /etc/machine-id on all but one of them and reboot"
            yield f"{', '.join(sorted(names))}: have the same machine-id; {advice}"
