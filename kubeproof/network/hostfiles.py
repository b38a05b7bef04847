"""Parsers for small files and settings of a node. All raise ParseError."""

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Interface, IPv4Network, NetmaskValueError

from kubeproof.network.errors import ParseError

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

    def __str__(self) -> str:
        return (
            f"FLANNEL_NETWORK={self.network} FLANNEL_SUBNET={self.subnet} FLANNEL_MTU={self.mtu} "
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
    """Parse NAME=value lines of hostname, machine_id, product_uuid, container."""
    values = _assignments(IDENTITY, text, separator="=")
    if missing := [name for name in ("hostname", "machine_id") if not values.get(name)]:
        raise ParseError(IDENTITY, "lines", f"there is no {', '.join(missing)}")
    return Identity(
        values["hostname"], values["machine_id"], values.get("product_uuid", "").lower(), values.get("container", "")
    )


def parse_kubelet(text: str) -> Kubelet:
    """Parse NAME=value lines of state and health."""
    values = _assignments(KUBELET, text, separator="=")
    return Kubelet(values.get("state", ""), values.get("health", ""))


def parse_clock(text: str) -> float:
    """Seconds since 1970, as `date +%s.%N` prints them."""
    try:
        return float(text)
    except ValueError:
        raise ParseError(CLOCK, "line 1", f"is no number of seconds: {text[:60]!r}") from None


def parse_subnet_env(text: str) -> SubnetEnv:
    """Parse /run/flannel/subnet.env: KEY=value lines, each of the four keys once."""
    values = _assignments(SUBNET_ENV, text, separator="=")
    wanted = {"FLANNEL_NETWORK", "FLANNEL_SUBNET", "FLANNEL_MTU", "FLANNEL_IPMASQ"}
    if missing := sorted(wanted - values.keys()):
        raise ParseError(SUBNET_ENV, "file", f"lacks {', '.join(missing)}")
    if values["FLANNEL_IPMASQ"] not in ("true", "false"):
        raise ParseError(SUBNET_ENV, "FLANNEL_IPMASQ", f"is neither true nor false: {values['FLANNEL_IPMASQ']!r}")
    try:
        return SubnetEnv(
            network=IPv4Network(values["FLANNEL_NETWORK"]),
            subnet=IPv4Interface(values["FLANNEL_SUBNET"]),
            mtu=int(values["FLANNEL_MTU"]),
            masquerade=values["FLANNEL_IPMASQ"] == "true",
        )
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        raise ParseError(SUBNET_ENV, "file", str(error)) from None


def parse_sysctls(text: str) -> dict[str, str]:
    """Settings by name from ``sysctl NAME …`` (``name = value``)."""
    return _assignments("sysctl", text, separator="=")


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


def _assignments(source: str, text: str, *, separator: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        key, found, value = line.partition(separator)
        if not found:
            raise ParseError(source, f"line {number}", f"is not KEY{separator}VALUE: {line[:60]!r}")
        if key.strip() in values:
            raise ParseError(source, f"line {number}", f"sets {key.strip()} a second time")
        values[key.strip()] = value.strip()
    return values
