"""What was seen of a packet beside what was predicted: each hop seen as predicted, otherwise, or not. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from kubeproof.state.errors import ParseError
from kubeproof.state.packets import CookedPacket
from kubeproof.trace.marked_packet import MarkedPacket
from kubeproof.trace.model import OUTSIDE, Direction, End, Hop, Packet, Place, Prediction, Start, Walk
from kubeproof.trace.sightings import HOOKS, Passing, Traversal, passing, passings, traversals
from kubeproof.trace.watching import Raw

INTERFACES = (Place.VETH, Place.NIC, Place.BRIDGE, Place.ENCAPSULATION, Place.DECAPSULATION)
"""Where tcpdump sees the packet; the other places that are no hooks show in what comes after them."""
Where = tuple[str, str]
"""Node and pod; "" for the node's own namespace."""


ANSWERED = "answered"


class Status(Enum):
    SEEN = "seen as predicted"
    OTHERWISE = "seen otherwise"
    NOT_SEEN = "not seen"
    UNWATCHED = ""
    """Nothing shows there, or nobody watched there."""


@dataclass(frozen=True)
class Sight:
    """What was seen of one hop. ``found`` says what, where it is not as predicted."""

    status: Status
    found: str = ""


@dataclass(frozen=True)
class Sightings:
    """What was seen in one namespace, in order."""

    chains: tuple[Traversal, ...] = ()
    interfaces: tuple[Passing, ...] = ()


@dataclass(frozen=True)
class Confirmation:
    """One packet that was really sent, beside the way of the prediction that fits it best."""

    walk: Walk
    sights: tuple[Sight, ...]
    """Of each hop of ``walk``."""
    arrived: bool
    """Whether it came to the end of the way, as far as that can be seen."""
    answer: str
    """What came back to the sender: :data:`ANSWERED`, what it was refused by, such as "RST", or "" for nothing."""
    send_error: str = ""
    """What the sender's kernel said instead of sending it."""
    counters: tuple[str, ...] = ()
    """Those of errors and drops that moved meanwhile, a line for each: by this packet or another."""
    entries: tuple[str, ...] = ()
    """Of conntrack, before and after, a line for each."""

    @property
    def is_answered(self) -> bool:
        return self.answer == ANSWERED

    @property
    def agrees(self) -> bool:
        """Whether nothing that was seen is against the prediction."""
        return all(sight.status in (Status.SEEN, Status.UNWATCHED) for sight in self.sights)


def read(
    printed: Mapping[str, Raw], marked: MarkedPacket, answers: Iterable[CookedPacket], tunnel_ports: tuple[int, ...]
) -> dict[Where, Sightings]:
    """What hosts printed of a packet, by namespace; ``answers`` came to this machine. Raises ParseError."""
    found: dict[Where, Sightings] = {}
    for node, raw in printed.items():
        for pod, outputs in raw.outputs.items():
            try:
                seen = passings(outputs["capture"], outputs["links"], marked)
            except ParseError as error:
                raise ParseError(f"{node}: {error.source}", error.where, error.wrong) from error
            chains = traversals(outputs["trace"], outputs["xtables"], marked.nonce, tunnel_ports)
            found[node, pod] = Sightings(chains, seen)
    heard = tuple(one for each in answers if (one := passing(each, {}, marked)))
    return found | ({(OUTSIDE, ""): Sightings((), heard)} if heard else {})


def compare(prediction: Prediction, seen: Mapping[Where, Sightings]) -> tuple[Walk, tuple[Sight, ...]]:
    """The way of a prediction that fits best what was seen, and each of its hops beside that."""

    def fit(way: tuple[Walk, tuple[Sight, ...]]) -> int:
        return sum({Status.SEEN: 1, Status.UNWATCHED: 0}.get(sight.status, -1) for sight in way[1])

    return max(((walk, _sights(walk, prediction.start, seen)) for walk in prediction.walks), key=fit)


def _sights(walk: Walk, start: Start, seen: Mapping[Where, Sightings]) -> tuple[Sight, ...]:
    ends = {}
    for number, hop in enumerate(walk.hops):
        ends[hop.direction] = number
    outcomes = {Direction.FORWARD: walk.there.end, Direction.REPLY: walk.back.end if walk.back else End.UNDECIDED}
    found = []
    for number, hop in enumerate(walk.hops):
        end = outcomes[hop.direction] if ends[hop.direction] == number else None
        here = seen.get((hop.node, hop.pod)) if hop.node != OUTSIDE else None
        sight = _sight(hop, here, ends=end in (End.DROPPED, End.REFUSED)) if here else Sight(Status.UNWATCHED)
        came = answer(start, seen) if hop.direction is Direction.FORWARD and end else None
        found.append(sight if came is None or end is None else _beside_the_answer(sight, end, came))
    return tuple(found)


def _beside_the_answer(sight: Sight, end: End, came: str) -> Sight:
    """The last hop there also tells which answer is to be expected."""
    if end in (End.DROPPED, End.REFUSED) and came == ANSWERED:
        return Sight(Status.OTHERWISE, "it was answered all the same")
    if end is End.REFUSED and came and sight.status is Status.UNWATCHED:
        return Sight(Status.SEEN, f"answered by {came}")
    if end is End.ARRIVED and came not in ("", ANSWERED):
        return Sight(Status.OTHERWISE, f"answered by {came}")
    return sight


def _sight(hop: Hop, seen: Sightings, *, ends: bool) -> Sight:
    if hop.place in HOOKS.values():
        return _at_hook(hop, seen, ends=ends)
    if hop.place in INTERFACES and hop.device:
        return Sight(Status.UNWATCHED) if ends else _at_interface(hop, seen)
    if hop.place is Place.SOCKET and not ends:
        delivered = any(one.is_end and one.hook is Place.INPUT for one in _chains(hop, seen, Place.INPUT))
        return Sight(Status.SEEN if delivered else Status.NOT_SEEN)
    return Sight(Status.UNWATCHED)


def _chains(hop: Hop, seen: Sightings, hook: Place) -> list[Traversal]:
    """What was seen at a hook of the packet itself, or of the one that carries it."""
    return [
        one
        for one in seen.chains
        if (one.direction, one.hook, one.is_tunnel) == (hop.direction, hook, hop.outer is not None)
    ]


def _at_hook(hop: Hop, seen: Sightings, *, ends: bool) -> Sight:
    found = _chains(hop, seen, hop.place)
    if not found:
        return Sight(Status.NOT_SEEN)
    # A packet may come to a hook twice: from a pod to the NodePort of another node, and from there to a pod beside it.
    passed = [one.packet for one in found if one.is_end]
    if ends and found[-1].is_end:
        return Sight(Status.OTHERWISE, "it went on")
    if ends or not passed:
        decisions = [decision for one in found for decision in one.decisions]
        told = f"ended by {decisions[-1]}" if decisions else "ended here"
        return Sight(Status.SEEN, told) if ends else Sight(Status.OTHERWISE, told)
    expected = hop.outer or hop.packet
    is_seen = any(fits(expected, packet) for packet in passed)
    return Sight(Status.SEEN) if is_seen else Sight(Status.OTHERWISE, str(passed[0]))


def _at_interface(hop: Hop, seen: Sightings) -> Sight:
    found = [one for one in seen.interfaces if one.direction is hop.direction and one.device == hop.device]
    if not found:
        return Sight(Status.NOT_SEEN)
    carried = hop.outer if hop.place is Place.NIC else None
    for one in found:
        same_tunnel = carried is None or (one.outer is not None and fits(carried, one.outer))
        if fits(hop.packet, one.packet) and same_tunnel:
            return Sight(Status.SEEN)
    return Sight(Status.OTHERWISE, str(found[0].packet))


def fits(expected: Packet, seen: Packet) -> bool:
    """Whether a packet is as predicted; a port that is 0 there could not be known."""
    ports = zip(
        (expected.source_port, expected.destination_port), (seen.source_port, seen.destination_port), strict=True
    )
    same_ends = (expected.protocol, expected.source, expected.destination) == (
        seen.protocol,
        seen.source,
        seen.destination,
    )
    return same_ends and all(port in (0, found) for port, found in ports)


# What became of it ----------------------------------------------------------------------------------------------------


def arrived(walk: Walk, start: Start, seen: Mapping[Where, Sightings]) -> bool:
    """Whether it was let in where the way ends; outside an answer has to tell."""
    if answer(start, seen) == ANSWERED:
        return True
    there = [hop for hop in walk.hops if hop.direction is Direction.FORWARD]
    here = seen.get((there[-1].node, there[-1].pod)) if there else None
    return here is not None and any(
        one.is_end and one.hook is Place.INPUT and one.direction is Direction.FORWARD for one in here.chains
    )


def answer(start: Start, seen: Mapping[Where, Sightings]) -> str:
    """What came back to the sender; "" if nothing did, or only what comes from another address than was asked."""
    here = seen.get((start.node, start.pod), Sightings())
    incoming = (one for one in here.interfaces if one.direction is Direction.REPLY and not one.is_outgoing)
    # What a node asked itself is translated back behind the interface.
    back = [one for one in incoming if one.refusal or not start.pod or fits(start.packet.reply, one.packet)]
    return (back[0].refusal or ANSWERED) if back else ""
