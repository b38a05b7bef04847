"""Links, addresses, routes, neighbours and FDB entries of one network namespace (IPv4).

Plain values: whoever reads a node, walks a packet through it or draws it uses the same ones. A namespace belongs to a
node or to a pod; :mod:`kubeproof.state.node` puts them together.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address

PERMANENT = "PERMANENT"
"""Neighbour state of an entry that was set by hand or agent and never ages (ip-neighbour(8))."""
MAIN_TABLE = "main"
UNICAST = "unicast"
NOWHERE = ("blackhole", "unreachable", "prohibit")
"""Types of routes by which nothing is sent (ip-route(8))."""


@dataclass(frozen=True)
class Vxlan:
    """What makes a link a VXLAN tunnel end point (ip-link(8), type vxlan)."""

    vni: int | None
    """None for a device that takes packets of all (external)."""
    port: int
    """UDP destination port."""
    local: IPv4Address | None
    """Outer source address."""
    underlay: str | None
    """Link that carries the outer packets."""
    learning: bool
    """Whether the FDB also grows from traffic; flannel's does not."""


@dataclass(frozen=True)
class BridgePort:
    """A link's part in the bridge that is its master."""

    state: str
    hairpin: bool
    """Whether a frame may leave by the port it came in by: a pod reaching itself through its own Service."""


@dataclass(frozen=True)
class Link:
    """A network device. ``mtu`` is in bytes, ``peer_index`` the interface index of a veth's other end."""

    index: int
    name: str
    mac: str
    mtu: int
    operstate: str
    flags: frozenset[str] = frozenset()
    kind: str | None = None
    master: str | None = None
    peer_index: int | None = None
    vxlan: Vxlan | None = None
    bridge_port: BridgePort | None = None

    @property
    def is_up(self) -> bool:
        return "UP" in self.flags

    @property
    def has_carrier(self) -> bool:
        """Whether something is connected: a bridge has carrier once a port of it forwards."""
        return "LOWER_UP" in self.flags and "NO-CARRIER" not in self.flags


@dataclass(frozen=True)
class Address:
    device: str
    interface: IPv4Interface
    scope: str

    @property
    def ip(self) -> IPv4Address:
        return self.interface.ip

    def __str__(self) -> str:
        return str(self.interface)


@dataclass(frozen=True)
class Route:
    """A route of one routing table; the default route's destination is 0.0.0.0/0."""

    destination: IPv4Network
    device: str | None
    via: IPv4Address | IPv6Address | None = None
    type: str = UNICAST
    table: str = MAIN_TABLE
    protocol: str = ""
    scope: str = ""
    source: IPv4Address | None = None
    metric: int = 0
    flags: frozenset[str] = frozenset()

    @property
    def onlink(self) -> bool:
        """Whether the gateway counts as reachable though no route of the link covers it."""
        return "onlink" in self.flags

    def __str__(self) -> str:
        """As `ip route` prints it, as far as it decides where a packet goes."""
        kind = "" if self.type == UNICAST else f"{self.type} "
        family = "inet6 " if isinstance(self.via, IPv6Address) else ""
        via = f" via {family}{self.via}" if self.via else ""
        device = f" dev {self.device}" if self.device else ""
        metric = f" metric {self.metric}" if self.metric else ""
        return f"{kind}{self.destination}{via}{device}{metric}{' onlink' if self.onlink else ''}"


@dataclass(frozen=True)
class Neighbour:
    """An ARP entry: the MAC that packets for an address on a link get."""

    address: IPv4Address
    device: str
    mac: str | None
    states: frozenset[str]

    @property
    def is_permanent(self) -> bool:
        return PERMANENT in self.states


@dataclass(frozen=True)
class FdbEntry:
    """A forwarding database entry; on a VXLAN link, the outer ``destination`` of frames for a MAC."""

    mac: str
    device: str
    destination: IPv4Address | None
    flags: frozenset[str]
    state: str
    master: str | None = None


@dataclass(frozen=True)
class Namespace:
    """What one network namespace has, whether it is a node's or a pod's."""

    links: tuple[Link, ...] = ()
    addresses: tuple[Address, ...] = ()
    routes: tuple[Route, ...] = ()
    neighbours: tuple[Neighbour, ...] = ()

    def link(self, name: str) -> Link | None:
        return next((link for link in self.links if link.name == name), None)

    def link_by_index(self, index: int) -> Link | None:
        return next((link for link in self.links if link.index == index), None)

    def addresses_of(self, device: str) -> tuple[Address, ...]:
        return tuple(address for address in self.addresses if address.device == device)

    def device_with(self, ip: IPv4Address) -> Link | None:
        """The link that carries an address: for a node's own address, its underlay interface."""
        carrier = next((address.device for address in self.addresses if address.ip == ip), None)
        return None if carrier is None else self.link(carrier)

    @property
    def default_link(self) -> str:
        """Link of the default route in the main table; empty if there is none. A VPN's own table has no say in it."""
        routes = (route for route in self.routes_in() if route.type == UNICAST and not route.destination.prefixlen)
        return next((route.device or "" for route in routes), "")

    def routes_in(self, table: str = MAIN_TABLE) -> tuple[Route, ...]:
        return tuple(route for route in self.routes if route.table == table)
