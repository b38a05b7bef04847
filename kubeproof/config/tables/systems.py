"""Operating systems of hosts, by family and version: package manager, names of packages, versions of runtimes. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Manager = Literal["apt", "dnf"]

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""Machines (uname -m) and what Kubernetes calls them."""
OTHER_ARCHITECTURES = ("arm64",)
"""Those that images are looked at for: not all are built for them, but all are for amd64."""
CGROUP_V2 = "cgroup2fs"
"""Kind of file system at /sys/fs/cgroup (stat -fc %T)."""
RHEL_LIKE = ("rhel", "rocky", "almalinux")
"""IDs of os-release(5). Their minor versions make no difference."""
DOCKER_COM = "https://download.docker.com/linux/centos"
"""Docker's own packages, as systems with dnf have none; those for CentOS fit all that are like it."""
DOCKER_KEY = "060A61C51B558A7F742B77AAC52FEB6B621E9F35"
"""Fingerprint of the key that signs them (docs.docker.com/engine/install/centos)."""

_TOOLS = ("iptables", "nftables", "conntrack", "tcpdump", "iproute2", "procps", "curl")
"""What the proof looks at a node's network with, and a reset cleans it with."""
_RHEL_TOOLS = {"conntrack": "conntrack-tools", "iproute2": "iproute", "procps": "procps-ng"}


@dataclass(frozen=True, kw_only=True)
class System:
    """One version of a system."""

    key: str
    """Such as "debian 12"."""
    title: str
    manager: Manager
    docker_package: str
    docker: tuple[int, ...]
    """What its newest Docker has at least, as far as that is known and matters; () is unknown."""
    containerd_package: str
    containerd: tuple[int, ...]
    """Version of its containerd, likewise."""
    runtime_url: str = ""
    """Repository of the runtimes' packages, and its key; empty where they are in the system's own archive."""
    runtime_key: str = ""
    tools: tuple[str, ...] = _TOOLS
    selinux: bool = False
    firewalld: bool = False
    network_manager: bool = False

    def package(self, runtime: str) -> str:
        return self.docker_package if runtime == "docker" else self.containerd_package

    def version(self, runtime: str) -> tuple[int, ...]:
        return self.docker if runtime == "docker" else self.containerd

    @property
    def packages(self) -> str:
        """Kind of its packages, as the Kubernetes project's repository names it."""
        return "deb" if self.manager == "apt" else "rpm"


def _debian(key: str, title: str, docker: tuple[int, ...], containerd: tuple[int, ...]) -> System:
    return System(
        key=key,
        title=title,
        manager="apt",
        docker_package="docker.io",
        docker=docker,
        containerd_package="containerd",
        containerd=containerd,
    )


def _rhel(major: int, tools: Mapping[str, str]) -> System:
    return System(
        key=f"rhel {major}",
        title=f"RHEL {major}, Rocky Linux {major}, AlmaLinux {major}",
        manager="dnf",
        docker_package="docker-ce",
        # Docker's repository has many versions, and dnf takes the newest.
        docker=(26,),
        containerd_package="containerd.io",
        containerd=(),
        runtime_url=f"{DOCKER_COM}/{major}/$basearch/stable",
        runtime_key=f"{DOCKER_COM}/gpg",
        tools=tuple(name for tool in _TOOLS if (name := {**_RHEL_TOOLS, **tools}.get(tool, tool))),
        selinux=True,
        firewalld=True,
        network_manager=True,
    )


SYSTEMS = {
    system.key: system
    for system in (
        # Packages docker.io and containerd of Debian's releases. Ubuntu raises both with upstream (DockerUpdates).
        _debian("debian 12", "Debian 12", (20,), (1, 6)),
        _debian("debian 13", "Debian 13", (26,), (1, 7)),
        _debian("ubuntu 22.04", "Ubuntu 22.04", (26,), ()),
        _debian("ubuntu 24.04", "Ubuntu 24.04", (26,), ()),
        _rhel(8, {}),
        # curl-minimal is always there, and curl conflicts with it.
        _rhel(9, {"iptables": "iptables-nft", "curl": ""}),
    )
}


def system_of(written: str) -> System | None:
    """The system that os-release(5) calls by ID and VERSION_ID, such as "rocky 9.4"; None if it is not supported."""
    name, _, version = written.partition(" ")
    if name in RHEL_LIKE:
        return SYSTEMS.get(f"rhel {version.partition('.')[0]}")
    return SYSTEMS.get(written)


def titles() -> str:
    return ", ".join(system.title for system in SYSTEMS.values())


def numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, such as (4, 18, 0) of "4.18.0-553.el8"; empty if there are none."""
    found: list[int] = []
    for part in version.split("."):
        digits = part[: len(part) - len(part.lstrip("0123456789"))]
        found += [int(digits)] if digits else []
        if digits != part:
            break
    return tuple(found)
