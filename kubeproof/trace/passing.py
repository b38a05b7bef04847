"""A packet at one hook of one network namespace, and the connection that conntrack takes it to belong to. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address

from kubeproof.trace.model import End, Outcome, Packet, Place
from kubeproof.trace.world import Space

NEW, ESTABLISHED, INVALID, UNTRACKED = "NEW", "ESTABLISHED", "INVALID", "UNTRACKED"


class EndedError(Exception):
    """The packet goes no further; says how that came."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


def undecided(reason: str, decided_by: str = "", owner: str = "") -> EndedError:
    return EndedError(Outcome(End.UNDECIDED, reason, decided_by, owner))


class Chance:
    """What is chosen at random on one way; ``given`` are the choices that this way makes first.

    Each way is walked anew: the first choice that is not given is the first possible one, and the others are noted in
    ``alternatives``, each as what has to be given to take it.
    """

    def __init__(self, given: Sequence[int] = ()) -> None:
        self.given = tuple(given)
        self.made: list[int] = []
        self.probability = 1.0
        self.alternatives: list[tuple[int, ...]] = []

    def choose(self, probabilities: Sequence[float]) -> int:
        """The number of one of several things that happen with these probabilities."""
        possible = [number for number, probability in enumerate(probabilities) if probability > 0]
        at = len(self.made)
        if at < len(self.given):
            chosen = self.given[at]
        else:
            chosen = possible[0]
            self.alternatives += [(*self.made, other) for other in possible[1:]]
        self.made.append(chosen)
        self.probability *= probabilities[chosen]
        return chosen

    def happens(self, probability: float) -> bool:
        return self.choose((probability, 1 - probability)) == 0


@dataclass
class Tracked:
    """A connection: the first packet as it came, and what an answer to it has to look like."""

    original: Packet
    reply: Packet
    mark: int = 0
    destination_settled: bool = False
    source_settled: bool = False
    """Whether the chains of nat have had their say: they are asked once for each."""
    is_scheduled: bool = False
    """Whether IPVS has chosen its destination, which conntrack does not call DNAT (ip_vs_update_conntrack)."""

    @property
    def is_destination_translated(self) -> bool:
        return not self.is_scheduled and (self.reply.source, self.reply.source_port) != (
            self.original.destination,
            self.original.destination_port,
        )

    @property
    def is_source_translated(self) -> bool:
        return (self.reply.destination, self.reply.destination_port) != (
            self.original.source,
            self.original.source_port,
        )


@dataclass(frozen=True)
class Decision:
    """Something that a rule did."""

    what: str
    rule: str
    owner: str


@dataclass
class Passing:
    """What rules can ask of a packet at a hook, and change."""

    space: Space
    hook: Place
    packet: Packet
    chance: Chance
    in_device: str = ""
    out_device: str = ""
    mark: int = 0
    tracked: Tracked | None = None
    state: str = NEW
    is_reply: bool = False
    port_in: str = ""
    """Port of the bridge by which the packet came in, while it is at a bridge."""
    port_out: str = ""
    next_hop: IPv4Address | None = None
    decisions: list[Decision] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def states(self) -> frozenset[str]:
        """What `--ctstate` may name of it (iptables-extensions(8), conntrack)."""
        found = {self.state}
        if self.tracked and self.tracked.is_destination_translated:
            found.add("DNAT")
        if self.tracked and self.tracked.is_source_translated:
            found.add("SNAT")
        return frozenset(found)

    @property
    def is_frame(self) -> bool:
        """Whether it is at a bridge or a device, where a frame is seen and not yet, or no longer, a packet."""
        return self.hook in (Place.BRIDGE, Place.INGRESS, Place.EGRESS)

    @property
    def is_first(self) -> bool:
        """Whether the chains of nat are asked."""
        return self.tracked is not None and self.state == NEW and not self.is_reply

    @property
    def is_scheduled(self) -> bool:
        return self.tracked is not None and self.tracked.is_scheduled

    def send_to(self, address: IPv4Address, port: int | None) -> None:
        """DNAT."""
        port = self.packet.destination_port if port is None else port
        self._change(replace(self.packet, destination=address, destination_port=port))

    def send_as(self, address: IPv4Address, port: int | None) -> None:
        """SNAT; port 0 is one that the kernel chooses."""
        port = self.packet.source_port if port is None else port
        self._change(replace(self.packet, source=address, source_port=port))

    def _change(self, packet: Packet) -> None:
        self.packet = packet
        if self.tracked:
            self.tracked.reply = packet.reply
