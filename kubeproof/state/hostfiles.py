"""Parsers for small files and settings of a node. They raise ParseError, and pass over lines that are not theirs."""

import json
import re
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import AddressValueError, IPv4Interface, IPv4Network, NetmaskValueError

from kubeproof.state import plaintext
from kubeproof.state.errors import ParseError

SUBNET_ENV = "/run/flannel/subnet.env"
IDENTITY = "identity"
CLOCK = "date"


@dataclass(frozen=True)
class SubnetEnv:
    """What the pod network agent tells CNI plugins (flannel, Documentation/running.md).

    ``network`` is the pod CIDR of the cluster, ``subnet`` the bridge's address with the node's prefix length,
    ``mtu`` in bytes, ``masquerade`` whether the agent masquerades what leaves the pod network.
    """

    network: IPv4Network
    subnet: IPv4Interface
    mtu: int
    masquerade: bool
    more_networks: tuple[IPv4Network, ...] = ()
    """Further pod CIDRs, of flannel 0.22 and later."""

    def __str__(self) -> str:
        networks = ",".join(map(str, (self.network, *self.more_networks)))
        return (
            f"FLANNEL_NETWORK={networks} FLANNEL_SUBNET={self.subnet} FLANNEL_MTU={self.mtu} "
            f"FLANNEL_IPMASQ={'true' if self.masquerade else 'false'}"
        )


@dataclass(frozen=True)
class Identity:
    """What has to be a host's own (kubeadm, "Verify the MAC address and product_uuid are unique for every node").

    ``container`` is the kind of container that the host is (systemd-detect-virt(1)), or empty: containers all show the
    product_uuid of their machine, which is then nobody's.
    """

    hostname: str = ""
    machine_id: str = ""
    product_uuid: str = ""
    container: str = ""


@dataclass(frozen=True)
class DiskUsage:
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
class Paused:
    """A container of a pod that its runtime holds still."""

    id: str
    name: str
    pod: str


@dataclass(frozen=True)
class Kubelet:
    """``state`` is systemd's word for the service, ``health`` what its health port answers, "" if nothing."""

    state: str
    health: str

    @property
    def is_healthy(self) -> bool:
        return self.health == "ok"


def parse_identity(text: str) -> Identity:
    """Parse NAME=value lines of hostname, machine_id, product_uuid, container; all but the first may be empty."""
    values = parse_values(text)
    if not values.get("hostname"):
        raise ParseError(IDENTITY, "lines", "there is no hostname")
    machine_id, uuid, container = (values.get(name, "") for name in ("machine_id", "product_uuid", "container"))
    return Identity(values["hostname"], machine_id, uuid.lower(), container)


def parse_kubelet(text: str) -> Kubelet:
    """Parse NAME=value lines of state and health."""
    values = parse_values(text)
    return Kubelet(values.get("state", ""), values.get("health", ""))


def parse_certificates(text: str) -> dict[str, datetime]:
    """When certificates end, by path, from lines ``path=date`` with openssl's form of dates. Raises ValueError."""
    ends = {path: ssl.cert_time_to_seconds(end) for path, end in parse_values(text).items()}
    return {path: datetime.fromtimestamp(seconds, UTC) for path, seconds in ends.items()}


def parse_clock(text: str) -> float:
    """Seconds since 1970, as `date +%s.%N` prints them; busybox knows no %N."""
    seconds = re.match(r"\s*([0-9]{1,15}(?:\.[0-9]+)?)", text)
    if seconds is None:
        raise ParseError(CLOCK, "line 1", f"is no number of seconds: {text[:60]!r}")
    return float(seconds[1])


def parse_subnet_env(text: str) -> SubnetEnv:
    """Parse /run/flannel/subnet.env: KEY=value lines, with the four keys among them."""
    values = {key: value.strip("\"'") for key, value in parse_values(text).items()}
    wanted = {"FLANNEL_NETWORK", "FLANNEL_SUBNET", "FLANNEL_MTU", "FLANNEL_IPMASQ"}
    if missing := sorted(wanted - values.keys()):
        raise ParseError(SUBNET_ENV, "file", f"lacks {', '.join(missing)}")
    if values["FLANNEL_IPMASQ"].lower() not in ("true", "false"):
        raise ParseError(SUBNET_ENV, "FLANNEL_IPMASQ", f"is neither true nor false: {values['FLANNEL_IPMASQ']!r}")
    try:
        network, *more = [IPv4Network(word) for word in values["FLANNEL_NETWORK"].split(",") if ":" not in word]
        return SubnetEnv(
            network=network,
            subnet=IPv4Interface(values["FLANNEL_SUBNET"]),
            mtu=int(values["FLANNEL_MTU"]),
            masquerade=values["FLANNEL_IPMASQ"].lower() == "true",
            more_networks=tuple(more),
        )
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise ParseError(SUBNET_ENV, "file", str(error)) from None


def parse_sysctls(text: str) -> dict[str, str]:
    """Settings by name from lines ``name = value``; several words have one blank between them."""
    return {name: " ".join(value.split()) for name, value in parse_values(text).items()}


_DISK = re.compile(
    r"(?P<path>\S+) (?P<kind>\S+) (?P<inodes>\d+) (?P<free_inodes>\d+) .*?"
    r"\s(?P<size>\d+)\s+\S+\s+(?P<free>\d+)\s+\S+\s(?P<mount>.+)"
)
"""Path, kind and inodes, and then the last line of df: device, KiB in all, used, free, percent, where it is mounted."""


def parse_disks(text: str) -> tuple[DiskUsage, ...]:
    """Lines of path, `stat --file-system` and `df`; a file system that does not tell its size is left out."""
    found = (_DISK.fullmatch(line) for line in plaintext.lines(text))
    return tuple(
        DiskUsage(
            item["path"],
            item["kind"],
            int(item["size"]) // 1024,
            int(item["free"]) // 1024,
            item["mount"],
            int(item["inodes"]),
            int(item["free_inodes"]),
        )
        for item in found
        if item
    )


def parse_ports(text: str) -> tuple[int, ...]:
    """Port of each "address:port" of ss(8), each once."""
    ports = (line.rpartition(":")[2] for line in plaintext.lines(text))
    return tuple(sorted({int(port) for port in ports if port.isdecimal()}))


def parse_paused(text: str) -> tuple[Paused, ...]:
    """Lines of id, name and pod."""
    return tuple(Paused(*words) for line in text.splitlines() if len(words := line.split()) == 3)


def parse_log_lines(text: str) -> dict[str, str]:
    """NAME=line of a container's log, without what Docker (json-file) or a CRI runtime puts around it."""
    return {name: _said(line) for name, line in parse_values(text).items()}


def _said(line: str) -> str:
    try:
        return str(json.loads(line)["log"]).strip()
    except (ValueError, KeyError, TypeError, RecursionError):
        return re.sub(r"^\S+ std(?:out|err) [FP] ", "", line).strip()


def ipv4_of(text: str) -> str:
    """Of a list with a value for each family IPv4's."""
    return next((part for part in text.split(",") if ":" not in part), text)


def parse_values(text: str) -> dict[str, str]:
    """NAME=value lines; what is none, and comments, are left out. Of several with one name the last counts."""
    lines = (line.partition("=") for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {name.strip(): value.strip() for name, found, value in lines if found}


def parse_swaps(text: str) -> tuple[str, ...]:
    """Names of the swap areas in use, from /proc/swaps (a header, then a line for each)."""
    lines = text.splitlines()
    if not lines or not lines[0].startswith("Filename"):
        raise ParseError("/proc/swaps", "line 1", "is not the header that the kernel writes")
    return tuple(line.split()[0] for line in lines[1:] if line.strip())
