"""Files that podnet keeps on the node, and what it checks there."""

from dataclasses import dataclass, field
from pathlib import Path

from agents.podnet.plan import CONFLIST_NAME

CNI_SUFFIXES = frozenset({".conf", ".conflist", ".json"})
"""Files that kubelet takes for CNI configurations (dockershim, containerd: libcni.ConfFiles)."""
SYSCTLS = {
    "net/ipv4/ip_forward": "nothing is forwarded between pods and nodes",
    "net/bridge/bridge-nf-call-iptables": "neither Services nor NetworkPolicy work between pods of one node; is "
    "br_netfilter loaded?",
    "net/bridge/bridge-nf-call-ip6tables": "pods of one node reach each other past NetworkPolicy by IPv6",
    "net/bridge/bridge-nf-filter-vlan-tagged": "pods of one node reach each other past NetworkPolicy by frames "
    "that they tag as of VLAN 0",
}
"""Sysctls that must be 1 on a node, and what fails while they are not."""


Stamp = tuple[tuple[int, int] | None, ...]
"""Inode and time of change (ns) of several files, None for one that is not there."""


@dataclass(frozen=True)
class Files:
    """Where things are. All of /run/flannel and /etc/cni/net.d are the node's, mounted into the pod."""

    subnet_env: Path = Path("/run/flannel/subnet.env")
    cni_directory: Path = Path("/etc/cni/net.d")
    ready: Path = Path("/run/podnet/ready")
    policies: Path = Path("/run/podnet/policies.json")
    sysctls: Path = Path("/proc/sys")
    conflist: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "conflist", self.cni_directory / CONFLIST_NAME)


def read(path: Path) -> str:
    """Text of a file, "" if there is none."""
    try:
        return path.read_text()
    except OSError:
        return ""


def stamp(files: Files) -> Stamp:
    """What changes when one of podnet's files, or the folder of CNI configurations, does."""
    return tuple(_stamp(path) for path in (files.subnet_env, files.conflist, files.cni_directory))


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns


def write_if_changed(path: Path, text: str) -> bool:
    """Replace a file atomically if its text differs; a reader sees the old or the new one, never a part."""
    if read(path) == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    # kubelet takes only the suffixes of CNI_SUFFIXES for configurations, so it does not see the temporary file. The
    # name is always the same: one that was left by an agent killed on the way is taken over by the next.
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    temporary.chmod(0o644)
    temporary.replace(path)
    return True


def files_before_ours(files: Files) -> list[str]:
    """Names of CNI configurations that kubelet prefers to podnet's: the first by name wins (kubernetes#107127)."""
    names = (path.name for path in files.cni_directory.iterdir() if path.suffix in CNI_SUFFIXES)
    return sorted(name for name in names if name < CONFLIST_NAME)


def wrong_sysctls(files: Files) -> list[str]:
    """One line for each sysctl that is not 1, with what fails because of it."""
    values = {name: read(files.sysctls / name).strip() for name in SYSCTLS}
    return [
        f"sysctl {name.replace('/', '.')} is {value or 'missing'}, must be 1: {SYSCTLS[name]}"
        for name, value in values.items()
        if value != "1"
    ]
