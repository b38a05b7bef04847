"""What is read of a host as such, before anything is changed on it. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Room:
    """The file system that a directory is on, or will be on."""

    path: str
    kind: str
    """Such as "ext2/ext3" or "overlayfs" (stat --file-system, %T)."""
    size_mib: int
    free_mib: int
    """What those who are not root can take (df, Available)."""
    mount: str
    """Where it is mounted: two directories with the same one share it."""
    inodes: int = 0
    free_inodes: int = 0
    """0 of 0 where a file system makes them as it needs them, as btrfs does."""


@dataclass(frozen=True)
class HostFacts:
    """What preflight wants to know about a host; what is empty or 0 is not known."""

    system: str = ""
    """ID and VERSION_ID of os-release(5), such as "debian 12"."""
    system_title: str = ""
    """What it calls itself for people (PRETTY_NAME)."""
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
    docker_flags: tuple[str, ...] = ()
    """How systemd starts Docker, where it is installed: the words after the program's name."""
    containerd_config: str = ""
    """Text of containerd's configuration, empty if there is none."""
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
    remembered: bool = False
    """Whether a deploy has been here."""
    memory_mib: int = 0
    cores: int = 0
    """What a program may use (nproc)."""
    init: str = ""
    """Name of process 1."""
    controllers: tuple[str, ...] = ()
    """Controllers of control groups: of the one tree of version 2, or those that are mounted of version 1."""
    rooms: tuple[Room, ...] = ()
    hostname: str = ""
    """What the host calls itself (uname -n)."""
    own_addresses: tuple[str, ...] = ()
    """What it resolves that name to."""
    product_uuid: str = ""
    """The machine's (/sys/class/dmi/id/product_uuid); empty where there is none."""
    hosts_file: str = ""
    """Text of /etc/hosts."""
    resolvers: tuple[str, ...] = ()
    """Name servers of /etc/resolv.conf."""
    packages: tuple[str, ...] = ()
    """Those installed of the packages that container runtimes come in."""
    services: tuple[str, ...] = ()
    """Active ones of the units that are, or bring, a container runtime."""
    others_pods: bool = False
    """Whether containerd has pods (namespace k8s.io) on a host that no deploy has been on."""
    iptables: str = ""
    """"nf_tables" or "legacy" (iptables --version); empty where there is no iptables."""
    apparmor: str = ""
    """Empty where it is off; else of its parser, which runtimes run: "ready", "installable", or "missing"."""
    other_rules: tuple[str, ...] = ()
    """Tables with rules in the variant that iptables is not."""
