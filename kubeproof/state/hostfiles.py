"""Parsers for small files and settings of a node. They raise ParseError, and pass over lines that are not theirs."""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Interface, IPv4Network, NetmaskValueError

from kubeproof.state.errors import ParseError

SUBNET_ENV = "/run/flannel/subnet.env"
IDENTITY = "identity"
KUBELET = "kubelet"
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

    hostname: str
    machine_id: str
    product_uuid: str = ""
    container: str = ""


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
    values = _assignments(text)
    if not values.get("hostname"):
        raise ParseError(IDENTITY, "lines", "there is no hostname")
    machine_id, uuid, container = (values.get(name, "") for name in ("machine_id", "product_uuid", "container"))
    return Identity(values["hostname"], machine_id, uuid.lower(), container)


def parse_kubelet(text: str) -> Kubelet:
    """Parse NAME=value lines of state and health."""
    values = _assignments(text)
    return Kubelet(values.get("state", ""), values.get("health", ""))


def parse_clock(text: str) -> float:
    """Seconds since 1970, as `date +%s.%N` prints them; busybox knows no %N."""
    seconds = re.match(r"\s*([0-9]{1,15}(?:\.[0-9]+)?)", text)
    if seconds is None:
        raise ParseError(CLOCK, "line 1", f"is no number of seconds: {text[:60]!r}")
    return float(seconds[1])


def parse_subnet_env(text: str) -> SubnetEnv:
    """Parse /run/flannel/subnet.env: KEY=value lines, with the four keys among them."""
    values = {key: value.strip("\"'") for key, value in _assignments(text).items()}
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
    """Settings by name from ``sysctl NAME …`` (``name = value``)."""
    return _assignments(text)


def parse_values(text: str) -> dict[str, str]:
    """NAME=value lines; what is none is left out."""
    lines = (line.partition("=") for line in text.splitlines())
    return {name.strip(): value.strip() for name, found, value in lines if found}


def parse_swaps(text: str) -> tuple[str, ...]:
    """Names of the swap areas in use, from /proc/swaps (a header, then a line for each)."""
    lines = text.splitlines()
    if not lines or not lines[0].startswith("Filename"):
        raise ParseError("/proc/swaps", "line 1", "is not the header that the kernel writes")
    return tuple(line.split()[0] for line in lines[1:] if line.strip())


def _assignments(text: str) -> dict[str, str]:
    """NAME=value lines; of several with one name the last counts, as for a shell."""
    pairs = (line.partition("=") for line in text.splitlines() if not line.lstrip().startswith("#"))
    return {name.strip(): value.strip() for name, sign, value in pairs if sign}
