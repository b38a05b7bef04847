"""What is known of a node, in one value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address

from kubeproof.state.foreign import IpRule, NftRule
from kubeproof.state.hostfiles import DiskUsage, Identity, Kubelet, Paused, SubnetEnv
from kubeproof.state.iptables import Ruleset
from kubeproof.state.ipvs import VirtualServer
from kubeproof.state.model import FdbEntry, Link, Namespace
from kubeproof.state.nftables import ProxyTable
from kubeproof.state.paths_between import PathProbes
from kubeproof.state.policies import PoliciesInForce

CONTROL_PLANE = {
    "etcd": "http://127.0.0.1:2381/health",
    "kube-apiserver": "https://127.0.0.1:6443/livez",
    "kube-controller-manager": "https://127.0.0.1:10257/healthz",
    "kube-scheduler": "https://127.0.0.1:10259/healthz",
}
"""Where kubeadm has each part of the control plane answer its own host (kubeadm, app/constants)."""


@dataclass(frozen=True)
class Container:
    """A running container of a pod, as its runtime tells.

    ``network_mode`` is Docker's HostConfig.NetworkMode, or what it would be with another runtime; ``netns`` what
    /proc/PID/ns/net points to, such as ``net:[4026532180]``. ``network`` is the content of the namespace, read for the
    sandbox (pause) of a pod that has a namespace of its own.
    """

    id: str
    pod_namespace: str
    pod_name: str
    pod_uid: str
    name: str
    is_sandbox: bool
    network_mode: str
    pid: int
    netns: str
    network: Namespace | None = None

    @property
    def pod(self) -> str:
        return f"{self.pod_namespace}/{self.pod_name}"


@dataclass(frozen=True)
class NodeState:
    """Everything that was read from one node at one time.

    What could not be read is in ``unreadable`` (part -> reason), and its field is empty: ask there before an empty
    field is taken for a fact. A file or directory that is not there is one. Parts are named after the fields.
    """

    name: str

    # The machine and its system
    identity: Identity = field(default_factory=Identity)
    uid: int = -1
    """Of the user that it is entered as."""
    system: str = ""
    """ID and VERSION_ID of os-release(5), such as "debian 12"."""
    system_title: str = ""
    """What it calls itself for people (PRETTY_NAME)."""
    architecture: str = ""
    """As Kubernetes calls it, such as "amd64"; uname's word where it has no name for it."""
    kernel: str = ""
    init: str = ""
    memory_mib: int = 0
    cores: int = 0
    """What a program may use (nproc)."""
    disks: tuple[DiskUsage, ...] = ()
    swaps: tuple[str, ...] = ()
    """Devices and files in use as swap (/proc/swaps)."""
    clock: float | None = None
    """What the node's clock showed when it was read, in seconds since 1970."""
    clock_within: float = 0.0
    """Seconds after the nodes were asked, all at once, within which it was read: on a node under load many."""
    cgroups: str = ""
    """Kind of file system at /sys/fs/cgroup: "cgroup2fs", or "tmpfs" for version 1."""
    controllers: tuple[str, ...] = ()
    """Controllers of control groups: of the one tree of version 2, or those that are mounted of version 1."""
    sysctls: Mapping[str, str] = field(default_factory=dict)
    modules: tuple[str, ...] = ()
    apparmor: str = ""
    """Empty where it is off; else of its parser, which runtimes run: "ready", "installable", or "missing"."""
    selinux: str = ""
    """Enforcing, Permissive or Disabled; empty where there is no SELinux."""
    packages: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    """Those of Docker."""

    # Names
    own_addresses: tuple[str, ...] = ()
    """What it resolves its own name to."""
    hosts_file: str = ""
    resolvers: tuple[str, ...] = ()

    # Its network
    network: Namespace = field(default_factory=Namespace)
    fdb: tuple[FdbEntry, ...] = ()
    iptables: Ruleset = field(default_factory=Ruleset)
    other_iptables: Ruleset = field(default_factory=Ruleset)
    """Rules of the variant that the node's `iptables` does not show."""
    nft_tables: tuple[str, ...] = ()
    """Family and name of each, such as "inet podnet"."""
    nft_rules: tuple[NftRule, ...] = ()
    """Rules of nftables that are neither iptables' nor the pod network's."""
    ip_rules: tuple[IpRule, ...] = ()
    """Policy routing beside the kernel's own three rules."""
    shaped: tuple[tuple[str, str], ...] = ()
    """Device and kind of each queueing discipline that may lose packets (tc(8))."""
    not_forwarding: tuple[str, ...] = ()
    """Devices whose own setting keeps packets from being forwarded."""
    firewalld: tuple[str, ...] = ()
    """"running" if it does, and where it is asked the ports that it opens and the networks that it trusts."""
    udp_ports: tuple[int, ...] = ()
    tcp_ports: tuple[int, ...] = ()
    """Ports that something listens on."""
    virtual_servers: tuple[VirtualServer, ...] = ()
    """Where IPVS, which kube-proxy can use, hands connections on."""
    ipsets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Entries of each, with its type first."""
    proxy_table: ProxyTable = field(default_factory=ProxyTable)
    """kube-proxy's table in its mode nftables."""
    path_probes: PathProbes = field(default_factory=PathProbes)
    """Packets that were sent to the other nodes, and what was seen of theirs."""

    # The pod network
    cni_files: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    network_files: tuple[str, ...] = ()
    """Files that show that a pod network has been here."""
    subnet_env: SubnetEnv | None = None
    policies: PoliciesInForce | None = None

    # Container runtimes
    docker_config: str = ""
    """Text of Docker's configuration, empty if there is none."""
    docker_flags: tuple[str, ...] = ()
    """How systemd starts Docker, where it is installed: the words after the program's name."""
    containerd_config: str = ""
    """Text of containerd's configuration on a host that no deploy has been on, empty if there is none."""
    runtime: str = "active"
    """What systemd says of the container runtime."""
    runtime_driver: str = ""
    """cgroupfs or systemd, as the runtime is told; empty where it does not say."""
    containers: tuple[Container, ...] = ()
    paused: tuple[Paused, ...] = ()
    others_pods: bool = False
    """Whether containerd has pods (namespace k8s.io) on a host that no deploy has been on."""

    # Kubernetes
    remembered: bool = False
    foreign: tuple[str, ...] = ()
    """Files of a cluster on a host that no deploy has left its record on."""
    owned_paths: tuple[str, ...] = ()
    """What is there of what a deploy and its packages make."""
    joined: bool = True
    token_ids: tuple[str, ...] = ()
    """Of tokens that an attempt to join left on the node."""
    kubelet: Kubelet | None = None
    kubelet_version: str = ""
    """If the host is a node already, such as "1.20.2"; empty if it is not."""
    kubelet_words: str = ""
    """The last line with which kubelet gave up, if it did."""
    kubelet_driver: str = ""
    """cgroupfs or systemd, as kubelet is told."""
    node_ip: str = ""
    """Address that kubelet is told to take (--node-ip), or empty."""
    cri_socket: str = ""
    """What kubelet has been told to speak with; empty for dockershim, and where it is not known."""
    manifests: tuple[str, ...] = ()
    """Static pods of the node, by the names of their files."""
    control_plane: Mapping[str, str] = field(default_factory=dict)
    """What each part of the control plane on this node answers at its health port; empty on workers."""
    certificates: Mapping[str, datetime] = field(default_factory=dict)
    """When each certificate of Kubernetes ends, by the path of its file."""
    last_lines: Mapping[str, str] = field(default_factory=dict)
    """The last line of the newest log of each container of kube-system, by the container's name."""

    unreadable: Mapping[str, str] = field(default_factory=dict)
    odd: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Part -> what of it was not understood, and is missing in its field; the rest of the part is there."""

    def sandbox(self, pod: str) -> Container | None:
        """The pause container of a pod, by ``namespace/name``."""
        return next((item for item in self.containers if item.is_sandbox and item.pod == pod), None)

    def underlay(self, address: IPv4Address) -> Link | None:
        """The interface that carries the node's own address, and so the packets to other nodes."""
        return self.network.device_with(address)
