"""Packets between nodes: the command that sends and captures some on a node, and the reader of what it prints. Pure.

Bounded: to each other node a handful of packets, in plain and through the tunnel, for a few seconds at most.
"""

import base64
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from kubeproof.state.collector import shell
from kubeproof.state.errors import ParseError
from kubeproof.state.packets import INNER_PROTOCOL, SNAPSHOT_BYTES, tunnelled_echoes

KUBELET_PORT = 10250
"""A TCP port that answers on every node; one that refuses answers as well."""
IP_AND_ICMP = 28
"""Bytes of headers that an echo's data is shorter than the packet."""
SIZES = (8951, 8500, 4352, 1500, 1492, 1480, 1472, 1460, 1450, 1420, 1400, 1380, 1350, 1300, 1280, 1000, 576)
"""Sizes in bytes of packets that are tried where one of the interface's size is lost: those that tunnels, PPPoE and
clouds leave."""
SOURCE = "packets between nodes"

CONNECTED, REFUSED, TIMED_OUT, NO_ROUTE = "connected", "refused", "timed-out", "no-route"


@dataclass(frozen=True)
class PathProbe:
    """What came of packets to another node's address. ``mac`` is its ARP entry, empty if there is none."""

    ping: bool
    ssh: str
    mac: str
    passes: int | None = None
    """The largest packet in bytes that arrived with DF set, if that was tried."""
    own: str = ""
    """What came of a connection to a TCP port of the pod network's agents, where they have one."""


@dataclass(frozen=True)
class Tunnel:
    """What came of packets through the tunnel, to another node's VXLAN device."""

    ping: bool
    large: bool
    """A packet of the device's MTU with DF set."""
    tcp: str

    @property
    def passes(self) -> bool:
        """Whether anything came back: ICMP alone may be refused by the node's own rules."""
        return self.ping or self.tcp in (CONNECTED, REFUSED)


@dataclass(frozen=True)
class CapturedEcho:
    """One of our echoes on the wire: outer addresses."""

    source: IPv4Address
    destination: IPv4Address
    is_request: bool


@dataclass(frozen=True)
class PathProbes:
    """What one node sent and saw. ``paths`` is by node address, ``tunnels`` by address of the VXLAN device."""

    paths: dict[IPv4Address, PathProbe] = field(default_factory=dict)
    tunnels: dict[IPv4Address, Tunnel] = field(default_factory=dict)
    captured: frozenset[CapturedEcho] = frozenset()
    checksum_errors: int = 0
    """Packets of TCP and UDP with a wrong checksum that arrived meanwhile (InCsumErrors)."""
    offload: bool = True
    """Whether the VXLAN device leaves checksums to what carries its packets."""


def command(
    *, others: dict[IPv4Address, int], device: str, port: int, nonce: str, seconds: float, own_port: int | None = None
) -> str:
    """Shell text: send packets to ``others`` (address -> its ssh port) and through ``device``, and capture meanwhile.

    ``own_port`` is a TCP port that the pod network's agents have on each node. ``nonce`` (8 letters or digits) fills
    the echoes, by which they are found again in the captures of other nodes. Each answer is waited for ``seconds``.
    """
    if not others:
        return "true"
    return shell(
        "paths_between",
        OTHERS=" ".join(f"{address}:{ssh_port}" for address, ssh_port in others.items()),
        OWN_PORT=str(own_port or ""),
        DEVICE=device,
        NONCE=nonce.encode().hex(),
        SECONDS_EACH=str(seconds),
        SIZES=" ".join(map(str, SIZES)),
        HEADERS=str(IP_AND_ICMP),
        KUBELET_PORT=str(KUBELET_PORT),
        SNAPSHOT=str(SNAPSHOT_BYTES),
        FILTER=f"udp dst port {port} and {INNER_PROTOCOL} = 1",
    )


def parse(text: str, *, nonce: str) -> PathProbes:
    """Read what :func:`command` printed; lines that it does not print are passed over. Raises ParseError."""
    said, _, encoded = text.partition("capture\n")
    ways = {
        address: PathProbe(words[0] == "yes", words[1], _or_empty(words[2]), _number(words[3]), _or_empty(words[4]))
        for address, words in _lines(said, "way", 5)
    }
    tunnels = {
        address: Tunnel(words[0] == "yes", words[1] == "yes", words[2]) for address, words in _lines(said, "tunnel", 3)
    }
    errors = re.search(r"^checksum-errors (\d+)$", said, re.MULTILINE)
    if text.strip() and not errors:
        raise ParseError(SOURCE, "checksum-errors", "is missing, the command did not come to its end")
    return PathProbes(
        ways, tunnels, _seen(encoded, nonce.encode()), int(errors[1]) if errors else 0, "offload off" not in said
    )


def _lines(text: str, kind: str, count: int) -> Iterator[tuple[IPv4Address, list[str]]]:
    """An address and ``count`` words of each line of a kind."""
    for line in text.splitlines():
        first, _, rest = line.partition(" ")
        address, *words = rest.split() or [""]
        if first == kind and len(words) == count:
            with contextlib.suppress(ValueError):
                yield IPv4Address(address), words


def _seen(encoded: str, nonce: bytes) -> frozenset[CapturedEcho]:
    try:
        echoes = tunnelled_echoes(base64.b64decode(encoded), nonce) if encoded.strip() else []
    except ValueError as error:
        raise ParseError(SOURCE, "capture", f"cannot be read: {error}") from None
    return frozenset(
        CapturedEcho(packet.outer.source, packet.outer.destination, echo.is_request) for packet, echo in echoes
    )


def _or_empty(word: str) -> str:
    return "" if word == "-" else word


def _number(word: str) -> int | None:
    return int(word) if word.isdecimal() else None
