"""What a walk consists of: the packet, the hops that it takes in order, and where that ends. Pure values."""

from dataclasses import dataclass, field, replace
from enum import Enum
from ipaddress import IPv4Address
from typing import Literal

from kubeproof.policy.model import Judged

Protocol = Literal["tcp", "udp", "sctp", "icmp"]
PROTOCOLS: tuple[Protocol, ...] = ("tcp", "udp", "sctp", "icmp")
JUDGED: dict[Protocol, Judged] = {"tcp": "TCP", "udp": "UDP", "sctp": "SCTP", "icmp": "ICMP"}
"""What policies call them."""
OUTSIDE = ""
"""Name of the node of a hop that is on no node of the cluster."""
UNKNOWN_PORT = 0
"""A port that the kernel chooses when the packet is sent (MASQUERADE --random-fully), and both ports of ICMP."""


@dataclass(frozen=True)
class Packet:
    """Addresses and ports as they stand in the headers; ICMP has no ports."""

    protocol: Protocol
    source: IPv4Address
    destination: IPv4Address
    source_port: int = UNKNOWN_PORT
    destination_port: int = UNKNOWN_PORT

    @property
    def reply(self) -> "Packet":
        """What the receiver of this packet answers."""
        return replace(
            self,
            source=self.destination,
            destination=self.source,
            source_port=self.destination_port,
            destination_port=self.source_port,
        )

    def __str__(self) -> str:
        return " > ".join(self.ends)

    @property
    def ends(self) -> tuple[str, str]:
        """Source and destination in words, with their ports."""
        return self._end(self.source, self.source_port), self._end(self.destination, self.destination_port)

    def _end(self, address: IPv4Address, port: int) -> str:
        return str(address) if self.protocol == "icmp" else f"{address}:{port or '?'}"


class Direction(Enum):
    FORWARD = "forward"
    REPLY = "reply"


class Place(Enum):
    """Where in a network namespace something happens to the packet."""

    SOCKET = "socket"
    """Where it is sent, and where it is received."""
    VETH = "veth"
    """It comes out at this end of a veth pair."""
    NIC = "interface"
    """It leaves by, or comes in at, an interface between hosts."""
    BRIDGE = "bridge"
    INGRESS = "ingress"
    """A device takes it in: chains of nftables for that device, before all others (family netdev)."""
    EGRESS = "egress"
    RP_FILTER = "rp_filter"
    PREROUTING = "prerouting"
    INPUT = "input"
    FORWARD = "forward"
    OUTPUT = "output"
    POSTROUTING = "postrouting"
    ROUTE = "route"
    NEIGHBOUR = "neighbour"
    FDB = "fdb"
    ENCAPSULATION = "encapsulation"
    DECAPSULATION = "decapsulation"
    MTU = "mtu"


@dataclass(frozen=True)
class Hop:
    """What happens to the packet at one place.

    ``packet`` is as it is after that; ``outer`` the UDP packet that carries it, while it is in a tunnel.
    """

    node: str
    """OUTSIDE for one that is no node of the cluster."""
    pod: str
    """``namespace/name`` of the pod in whose network namespace it happens; "" for the node's own."""
    place: Place
    what: str
    """In words, such as "DNAT to 10.244.2.5:80"."""
    packet: Packet
    direction: Direction = Direction.FORWARD
    device: str = ""
    """Interface that the hop is about, as its namespace calls it: by which the packet comes in or leaves."""
    decided_by: str = ""
    """The rule, route or entry as its tool prints it; "" where nothing but the kernel decides."""
    owner: str = ""
    """Whose that is: kube-proxy, podnet, flannel, Calico, Docker, or by hand."""
    outer: Packet | None = None
    mark: int = 0
    probability: float = 1.0
    """Of this hop, given the one before: below 1 where kube-proxy chooses an endpoint at random."""

    @property
    def where(self) -> str:
        """The place, and the interface if it is about one."""
        return " ".join(filter(None, (self.place.value, self.device)))


class End(Enum):
    ARRIVED = "arrived"
    DROPPED = "dropped"
    """Nobody is told; the sender waits until it gives up."""
    REFUSED = "refused"
    """The sender is told: TCP RST or an ICMP error."""
    UNDECIDED = "undecided"
    """What decides is not understood, or was not collected."""


@dataclass(frozen=True)
class Outcome:
    """How one direction ended: at the last hop of that direction, for this reason, by that rule, route or entry."""

    end: End
    reason: str = ""
    decided_by: str = ""
    owner: str = ""
    remedy: str = ""
    """What to do, where that is known."""


@dataclass(frozen=True)
class Walk:
    """One way that the packet can take, there and back. ``back`` is None where no answer is sent."""

    hops: tuple[Hop, ...]
    there: Outcome
    back: Outcome | None = None
    probability: float = 1.0
    notes: tuple[str, ...] = ()
    """What the prediction takes for granted, and what else whoever reads it should know."""

    @property
    def succeeds(self) -> bool:
        """Whether the packet arrives and its answer comes back."""
        return self.there.end is End.ARRIVED and self.back is not None and self.back.end is End.ARRIVED

    @property
    def outcome(self) -> Outcome:
        """The one that says how it ended: of the reply, if the packet arrived and one was sent."""
        return self.back if self.there.end is End.ARRIVED and self.back is not None else self.there


@dataclass(frozen=True)
class Start:
    """Where the packet is sent: inside a pod (``namespace/name``), by a node itself (no pod), or OUTSIDE."""

    node: str
    pod: str
    packet: Packet


@dataclass(frozen=True)
class Prediction:
    """All ways that a packet can take, the most probable first; their probabilities add up to 1."""

    start: Start
    walks: tuple[Walk, ...]
    notes: tuple[str, ...] = field(default=())

    @property
    def succeeds(self) -> bool:
        """Whether it arrives and is answered on every way."""
        return bool(self.walks) and all(walk.succeeds for walk in self.walks)
