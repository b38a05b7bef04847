"""The way of a packet over the picture: numbered stops, there and back, and the table of its hops. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from kubeproof.pages.picture import GUTTER, Box, Edge, Picture, Text
from kubeproof.pages.tables import Row, Table
from kubeproof.trace.confirming import Confirmation
from kubeproof.trace.model import OUTSIDE, Direction, Hop, Place, Prediction, Walk
from kubeproof.trace.report import MARKS, headline

RADIUS = 9
BESIDE = 16
"""From a part to the way there; the way back is as far beside that again, and both are within STRIP."""
BACK = 24
BELOW = 10
"""From the way there to the way back along the network."""
DIGIT = 3.6
"""Half of the width of a digit within a stop."""
LAYERS = {
    Place.VETH: "bridge",
    Place.BRIDGE: "bridge",
    Place.NIC: "interface",
    Place.FDB: "tunnel",
    Place.ENCAPSULATION: "tunnel",
    Place.DECAPSULATION: "tunnel",
}
"""Where in the picture it happens; all else of a node is between its bridge and its tunnel, or below that if it is
about the packet that carries another."""
Spot = tuple[str, str]


@dataclass(frozen=True)
class Way:
    """One way of a prediction; ``seen`` says of each of its hops what was seen of it, if a packet was sent."""

    prediction: Prediction
    walk: Walk
    seen: tuple[str, ...] = ()

    @classmethod
    def of(cls, prediction: Prediction, confirmation: Confirmation | None = None) -> "Way":
        """The one that the packet took; without one the first that fails, else the most probable.

        Raises ValueError for a prediction without any way.
        """
        if confirmation is not None:
            seen = (f"{MARKS[sight.status]} {sight.found}".strip() for sight in confirmation.sights)
            return cls(prediction, confirmation.walk, tuple(seen))
        if not prediction.walks:
            raise ValueError("there is no way to draw")
        return cls(prediction, next((walk for walk in prediction.walks if not walk.succeeds), prediction.walks[0]))

    @property
    def headline(self) -> str:
        return headline(self.prediction)

    @property
    def pods(self) -> frozenset[str]:
        """Those that it passes."""
        return frozenset(hop.pod for hop in self.walk.hops if hop.pod)

    def numbers(self) -> dict[tuple[Direction, Spot], int]:
        """Stops in the order in which they are first come to, from 1."""
        stops = dict.fromkeys((hop.direction, spot_of(hop)) for hop in self.walk.hops)
        return {stop: number for number, stop in enumerate(stops, start=1)}

    def table(self) -> Table:
        """All hops that decide or change something, with the numbers of their stops."""
        return Table("", ("stop", "node", "where", "what happens", "packet", "decided by", "seen"), tuple(self._rows()))

    def _rows(self) -> Iterator[Row]:
        numbers = self.numbers()
        last = self.walk.hops[-1] if self.walk.hops else None
        for hop, seen in zip(self.walk.hops, self.seen or [""] * len(self.walk.hops), strict=True):
            mark = "✗ " if hop is last and not self.walk.succeeds else ""
            number = (
                f"{mark}{numbers[hop.direction, spot_of(hop)]}{' back' if hop.direction is Direction.REPLY else ''}"
            )
            inside = f"{hop.node or 'outside'}{f', pod {hop.pod}' if hop.pod else ''}"
            packet = f"{hop.packet}\nin {hop.outer}" if hop.outer else str(hop.packet)
            yield (
                number,
                inside,
                hop.where,
                hop.what,
                packet,
                ": ".join(filter(None, (hop.owner, hop.decided_by))),
                seen,
            )
        if not self.walk.succeeds:
            outcome = self.walk.outcome
            yield "✗ end", "", outcome.end.value, outcome.reason, "", outcome.remedy, ""


def spot_of(hop: Hop) -> Spot:
    """The part of the picture that a hop happens in."""
    if hop.node == OUTSIDE:
        return OUTSIDE, "network"
    if hop.pod:
        return hop.node, hop.pod
    return hop.node, LAYERS.get(hop.place, "forwarding" if hop.outer is None else "peers")


def draw(way: Way, picture: Picture) -> None:
    """Draw it onto a picture that was laid out with room for it, and with its pods."""
    # Outside is to the left of the nodes that it is the nearest to.
    nearest = next(
        (picture.spots[hop.node, "network"] for hop in way.walk.hops if (hop.node, "network") in picture.spots), None
    )
    if nearest is not None:
        picture.spots[OUTSIDE, "network"] = (GUTTER - 12 - BESIDE, nearest[1])
    for direction in Direction:
        spots = [spot_of(hop) for hop in way.walk.hops if hop.direction is direction]
        points: list[tuple[float, float]] = []
        before: Spot | None = None
        for spot in dict.fromkeys(_with_networks(spots)):
            point = _place(picture, spot, direction)
            if point is not None:
                points += _around(picture, before, spot, points[-1], point) if points and before else []
                points.append(point)
                before = spot
        picture.edges.append(Edge(tuple(points), "way" if direction is Direction.FORWARD else "way back"))
    last = list(way.numbers())[-1:]
    for (direction, spot), number in way.numbers().items():
        point = _place(picture, spot, direction)
        if point is not None:
            ends = not way.walk.succeeds and (direction, spot) in last
            _stop(picture, point, str(number), "stop fails" if ends else "stop")


def _with_networks(spots: list[Spot]) -> Iterator[Spot]:
    """Between two nodes it passes the network that they are in."""
    for number, spot in enumerate(spots):
        before = spots[number - 1] if number else spot
        if before[0] != spot[0]:
            yield from ((node, "network") for node in (before[0], spot[0]) if node != OUTSIDE)
        yield spot


def _place(picture: Picture, spot: Spot, direction: Direction) -> tuple[float, float] | None:
    found = picture.spots.get(spot)
    if found is None:
        return None
    x, y = found
    if direction is Direction.FORWARD:
        return x + BESIDE, y
    return x + BESIDE + (-BACK if spot[0] == OUTSIDE else BACK), y + (BELOW if spot[1] == "network" else 0)


def _around(
    picture: Picture, before: Spot, spot: Spot, start: tuple[float, float], end: tuple[float, float]
) -> list[tuple[float, float]]:
    """Between nodes that are not side by side the way is drawn past the others, at the picture's right."""
    if before[1] == spot[1] == "network" and start[1] != end[1] and OUTSIDE not in (before[0], spot[0]):
        return [(picture.width - 3, start[1]), (picture.width - 3, end[1])]
    return []


def _stop(picture: Picture, point: tuple[float, float], number: str, css: str) -> None:
    x, y = point
    picture.above.append(Box(x - RADIUS, y - RADIUS, 2 * RADIUS, 2 * RADIUS, css))
    picture.texts.append(Text(x - DIGIT * len(number), y + 4, number, css))
