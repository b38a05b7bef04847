"""Where everything of the picture is: nodes side by side, their layers below each other. Lengths are px. Pure.

Widths of text are those of the widest monospaced fonts in use, so that nothing overlaps with whatever font there is.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from kubeproof.pages.layers import Column, Found, Part, Pod
from kubeproof.rules.result import Status

CHAR = 7.3
"""Width of a character of 12 px: DejaVu Sans Mono has 0.602 em, Menlo and Consolas less."""
LINE = 16
PAD = 10
GAP = 14
GUTTER = 76
LANE = 6
STRIP = 48
"""What a packet's way there and back takes beside the parts of a node."""
EDGE = 40
"""Between two layers: room for an edge's mark and what it is."""
WIDEST = 380
NARROWEST = 250
MOST_PODS = 6
POD_HEIGHT = 2 * LINE + 10
VETH_HEIGHT = LINE + 8
PART_HEIGHT = 4 * LINE + 10
HEAD_HEIGHT = 4 * LINE + 14
SYMBOLS = {Status.HOLDS: "✓", Status.FAILS: "✗", Status.BROKEN: "!", Status.NOT_RUN: "–"}
LAYERS = ("pods", "veths", "bridge", "tunnel", "interface", "network")


def css(status: Status) -> str:
    """The class of what has this end."""
    return status.value.replace(" ", "-")


@dataclass(frozen=True)
class Box:
    x: float
    y: float
    width: float
    height: float
    css: str


@dataclass(frozen=True)
class Text:
    """One line, its baseline at ``y``. ``whole`` is the text that it is short for, else empty."""

    x: float
    y: float
    text: str
    css: str = ""
    whole: str = ""

    @property
    def width(self) -> float:
        return len(self.text) * CHAR


@dataclass(frozen=True)
class Edge:
    points: tuple[tuple[float, float], ...]
    css: str

    @property
    def path(self) -> str:
        """As SVG's polyline takes it."""
        return " ".join(f"{x:g},{y:g}" for x, y in self.points)


@dataclass
class Picture:
    """Shapes in the order in which they are drawn: edges, boxes, what is above them, texts.

    ``spots`` are the right ends of parts, for what is drawn over the picture: by a node's name with a layer's, or with
    a pod's ``namespace/name``. That of the network is below it.
    """

    width: float
    height: float = 0
    edges: list[Edge] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    above: list[Box] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    spots: dict[tuple[str, str], tuple[float, float]] = field(default_factory=dict)


def fit(text: str, width: float) -> str:
    """A text that is not wider than ``width``: of a longer one the beginning and the end, which tell names apart."""
    room = max(1, int(width / CHAR))
    if len(text) <= room:
        return text
    end = (room - 1) // 2
    return f"{text[: room - 1 - end]}…{text[len(text) - end :]}"


def draw(columns: Sequence[Column], network: str, width: float, strip: float = 0) -> Picture:
    """The picture of a cluster in this width: as many nodes side by side as have room, the others below them.

    ``network`` is the one that the nodes are in; ``strip`` is left free at the right of each node's parts.
    """
    width -= PAD if strip else 0
    across = max(1, min(len(columns), int((width - GUTTER + GAP) // (NARROWEST + strip + GAP))))
    rows = math.ceil(len(columns) / across)
    across = math.ceil(len(columns) / rows)
    wide = min(WIDEST, (width - GUTTER - GAP * (across - 1)) / across - strip)
    picture = Picture(width=GUTTER + across * (wide + strip) + (across - 1) * GAP + (PAD if strip else 0))
    for first in range(0, len(columns), across):
        _Band(picture, columns[first : first + across], wide, strip, picture.height).draw(network)
    return picture


@dataclass
class _Band:
    """Nodes side by side; ``top`` is where the next layer begins."""

    picture: Picture
    columns: Sequence[Column]
    wide: float
    strip: float
    top: float

    def draw(self, network: str) -> None:
        begin = self.top
        shown = max(min(len(column.pods), MOST_PODS) for column in self.columns)
        places = list(self._places())
        for x, column in places:
            self._head(x, column)
        self.top += HEAD_HEIGHT + PAD
        pods, veths = self.top, self.top + max(1, shown) * (POD_HEIGHT + 6) + LINE + 16
        bridge = veths + max(1, shown) * (VETH_HEIGHT + 6) + EDGE - 14
        tunnel = bridge + PART_HEIGHT + EDGE
        interface = tunnel + PART_HEIGHT + EDGE
        bottom = interface + PART_HEIGHT + EDGE
        for layer, y in zip(LAYERS, (pods, veths, bridge, tunnel, interface, bottom), strict=True):
            self._text(0, y + LINE + 2, layer, GUTTER - 4, "layer")
        for x, column in places:
            self._box(x, begin, self.wide + self.strip, interface + PART_HEIGHT + PAD - begin, "node")
            if column.reason:
                self._reason(x, pods, column.reason)
            else:
                self._pods(x, column, pods, veths, bridge)
                self._layers(x, column, (bridge, tunnel, interface, bottom))
        right = places[-1][0] + self.wide + self.strip
        self._box(GUTTER, bottom, right - GUTTER, LINE + 12, "network")
        self._text(GUTTER + PAD, bottom + LINE + 2, network, right - GUTTER - 2 * PAD - self.strip)
        self.picture.height = bottom + LINE + 12 + 2 * GAP

    def _places(self) -> Iterator[tuple[float, Column]]:
        for number, column in enumerate(self.columns):
            yield GUTTER + number * (self.wide + self.strip + GAP), column

    def _text(self, x: float, y: float, text: str, width: float, kind: str = "") -> None:
        shown = fit(text, width)
        self.picture.texts.append(Text(x, y, shown, kind, "" if shown == text else text))

    def _box(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        self.picture.boxes.append(Box(x, y, width, height, kind))

    def _edge(self, found: Found, *points: tuple[float, float]) -> None:
        self.picture.edges.append(Edge(points, css(found.status)))

    def _verdict(self, x: float, y: float, found: Found, good: str, width: float) -> None:
        """A symbol and what it is about; the rows that do not hold, if any."""
        more = f" +{len(found.rows) - 1}" if len(found.rows) > 1 else ""
        words = f"{found.rows[0]}{more}" if found.rows else good
        shown = fit(f"{SYMBOLS[found.status]} {words}", width)
        whole = ", ".join(found.rows) if len(found.rows) > 1 or not shown.endswith(words) else ""
        self.picture.texts.append(Text(x, y, shown, css(found.status), whole))

    def _head(self, x: float, column: Column) -> None:
        room = self.wide - 2 * PAD
        self._text(x + PAD, self.top + LINE + 4, column.name, room * 0.86, "name")
        for number, line in enumerate(column.lines, start=2):
            self._text(x + PAD, self.top + number * LINE + 6, line, room)
        self._verdict(x + PAD, self.top + 4 * LINE + 6, column.found, column.counts, room)

    def _reason(self, x: float, y: float, reason: str) -> None:
        """Why a node could not be read, in as many lines as it takes."""
        self._box(x + PAD, y, self.wide - 2 * PAD, 8 * LINE, css(Status.FAILS))
        self._text(x + 2 * PAD, y + LINE + 2, "✗ could not be read", self.wide - 4 * PAD, css(Status.FAILS))
        room = int((self.wide - 4 * PAD) / CHAR)
        for number in range(6):
            line = reason[number * room : (number + 1) * room]
            self._text(x + 2 * PAD, y + (number + 2) * LINE + 2, line, self.wide - 4 * PAD)

    def _pods(self, x: float, column: Column, pods: float, veths: float, bridge: float) -> None:
        """Pods, and below them their veths in the opposite order: so no two edges cross."""
        shown = column.pods[:MOST_PODS]
        margin = PAD + len(shown) * LANE + 3
        left, width, right = x + margin, self.wide - 2 * margin, x + self.wide
        room = self.wide - margin - PAD
        for number, pod in enumerate(shown):
            y = pods + number * (POD_HEIGHT + 6)
            self._pod(column.name, pod, left, y, room)
            below = len(shown) - 1 - number
            veth, lane = veths + below * (VETH_HEIGHT + 6), x + PAD + number * LANE
            middle = veth + VETH_HEIGHT / 2
            centre = y + POD_HEIGHT / 2
            self._edge(pod.found, (left, centre), (lane, centre), (lane, middle), (left, middle))
            lane = right - PAD - below * LANE
            self._edge(pod.found, (left + width, middle), (lane, middle), (lane, bridge))
            self._box(left, veth, width, VETH_HEIGHT, css(pod.found.status))
            self._text(left + 6, veth + LINE, pod.veth or "no veth is known", width - 12)
        words = [] if shown else ["no pods"]
        words += [f"{len(column.pods) - len(shown)} more"] if len(column.pods) > len(shown) else []
        words += [f"{column.own} with hostNetwork"] if column.own else []
        self._text(left, pods + len(shown) * (POD_HEIGHT + 6) + LINE, " · ".join(words), room, "aside")

    def _pod(self, node: str, pod: Pod, x: float, y: float, width: float) -> None:
        self._box(x, y, width, POD_HEIGHT, css(pod.found.status))
        self._text(x + 6, y + LINE, pod.name, width - 12)
        self._verdict(x + 6, y + 2 * LINE, Found(pod.found.status), pod.line, width - 12)
        self.picture.spots[node, pod.name] = (x + width, y + POD_HEIGHT / 2)

    def _layers(self, x: float, column: Column, tops: tuple[float, float, float, float]) -> None:
        bridge, tunnel, interface, bottom = tops
        right = x + self.wide - PAD
        for name, part, y in (
            ("bridge", column.bridge, bridge),
            ("tunnel", column.tunnel, tunnel),
            ("interface", column.interface, interface),
        ):
            if part is not None:
                self._part(x + PAD, y, part)
                self.picture.spots[column.name, name] = (right, y + PART_HEIGHT / 2)
        for name, found, words, above, below in (
            ("forwarding", column.forwarding, "forwarding", bridge + PART_HEIGHT, tunnel),
            ("peers", column.peers, "routes, ARP, FDB", tunnel + PART_HEIGHT, interface),
            ("between", column.between, "to other nodes", interface + PART_HEIGHT, bottom),
        ):
            self.picture.spots[column.name, name] = (right, (above + below) / 2)
            middle = x + 2 * PAD + 4
            self._edge(found, (middle, above), (middle, below))
            room = self.wide - 5 * PAD
            outside = PAD if below == bottom else 0
            self._verdict(middle + PAD, (above + outside + below) / 2 + 5, found, words, room)
        self.picture.spots[column.name, "network"] = (right, bottom + LINE + 18)

    def _part(self, x: float, y: float, part: Part) -> None:
        width = self.wide - 2 * PAD
        self._box(x, y, width, PART_HEIGHT, css(part.found.status))
        self._text(x + PAD, y + LINE + 2, part.title, width - 2 * PAD, "strong")
        for number, line in enumerate(part.lines[:2], start=2):
            self._text(x + PAD, y + number * LINE + 2, line, width - 2 * PAD)
        self._verdict(x + PAD, y + 4 * LINE + 2, part.found, "as it should be", width - 2 * PAD)
