"""Confirms a prediction: sends the packet, watches it in every namespace that it may come through, and compares."""

import os
import secrets
from collections.abc import Iterator, Mapping
from ipaddress import IPv4Address

from kubeproof.config.cluster import SshAccess
from kubeproof.state.errors import ParseError
from kubeproof.trace import confirming, counters
from kubeproof.trace.confirming import Confirmation, Where
from kubeproof.trace.marked_packet import MarkedPacket
from kubeproof.trace.model import OUTSIDE, Prediction
from kubeproof.trace.watching import OWN, Spaces, Watched, watch
from kubeproof.trace.world import World

LOWEST_PORT, HIGHEST_PORT = 61000, 65535
"""Source ports to choose from: Linux gives programs those below (ip_local_port_range)."""
MOST_SPACES = 24
"""Namespaces that are watched at most: those of the most probable ways. Each costs four processes on its host."""


class UnconfirmedError(Exception):
    """Nothing was sent, or what was seen is not known; ``reasons`` says which and why, a line for each host."""

    def __init__(self, reasons: list[str], *, sent: bool = False) -> None:
        told = "a packet was sent, but what became of it is not known" if sent else "no packet was sent"
        self.reasons = [f"{told}: {reason}" for reason in reasons]
        super().__init__("; ".join(self.reasons))


def source_port() -> int:
    """A port to send from; another each time, as conntrack remembers those that were."""
    return LOWEST_PORT + secrets.randbelow(HIGHEST_PORT - LOWEST_PORT + 1)


def confirm(prediction: Prediction, world: World, access: Mapping[str, SshAccess]) -> Confirmation:
    """Send one packet and return what was seen of it, beside the prediction. Raises UnconfirmedError."""
    inodes = {(name, pod): space.inode for name, node in world.nodes.items() for pod, space in node.pods.items()}
    start = prediction.start
    if start.node == OUTSIDE and not _is_own(world, start.packet.source):
        raise UnconfirmedError([f"{start.packet.source} is not this machine's address, write outside as FROM"])
    if start.node == OUTSIDE and os.geteuid() != 0:
        raise UnconfirmedError(["this machine: only root can send such a packet from here, run this as root"])
    if start.node not in (OUTSIDE, *world.nodes):
        raise UnconfirmedError([f"{start.node}: {world.unreachable.get(start.node, 'is not a node that was read')}"])
    marked = MarkedPacket(start.packet, secrets.token_bytes(4), 1 + secrets.randbelow(0xFFFF))
    ports = tuple({hop.outer.destination_port for walk in prediction.walks for hop in walk.hops if hop.outer})
    spaces = _spaces(prediction, inodes)
    if not spaces:
        raise UnconfirmedError(["there is no network namespace on the way that could be watched"])
    watched = watch(marked, spaces, access, ports)
    sent = watched.is_sent and not watched.send_error
    if watched.refused:
        raise UnconfirmedError([f"{host}: {why}" for host, why in watched.refused.items()], sent=sent)
    try:
        seen = confirming.read(watched, marked, ports)
    except ParseError as error:
        raise UnconfirmedError([str(error)], sent=sent) from error
    walk, sights = confirming.compare(prediction, seen)
    return Confirmation(
        walk,
        sights,
        confirming.arrived(walk, (start.node, start.pod), seen),
        confirming.answer((start.node, start.pod), seen),
        watched.send_error,
        tuple(_moved(watched)),
        tuple(_entries(watched)),
    )


def _is_own(world: World, address: IPv4Address) -> bool:
    return address == world.facts.outside or (world.outside is not None and world.outside.has_address(address))


def _spaces(prediction: Prediction, inodes: Mapping[Where, str]) -> tuple[Spaces, ...]:
    start = (prediction.start.node, prediction.start.pod)
    wanted = ({start: None} if start[0] != OUTSIDE else {}) | {
        (hop.node, hop.pod): None for walk in prediction.walks for hop in walk.hops if hop.node != OUTSIDE
    }
    by_host: dict[str, dict[str, str]] = {}
    for node, pod in list(wanted)[:MOST_SPACES]:
        inode = inodes.get((node, pod)) if pod else OWN
        if inode is not None:
            by_host.setdefault(node, {})[pod] = inode
    return tuple(Spaces(host, spaces, start[1] if host == start[0] else None) for host, spaces in by_host.items())


def _moved(watched: Watched) -> Iterator[str]:
    for host, raw in watched.raw.items():
        for pod, outputs in raw.outputs.items():
            before, after = (
                counters.of_protocols(outputs[f"counters-{when}"]) | counters.of_conntrack(outputs[f"conntrack-{when}"])
                for when in ("before", "after")
            )
            yield from (f"{_place(host, pod)}: {line}" for line in counters.moved(before, after))


def _entries(watched: Watched) -> Iterator[str]:
    for host, raw in watched.raw.items():
        for pod, outputs in raw.outputs.items():
            for when in ("before", "after"):
                lines = outputs[f"entries-{when}"].splitlines()
                yield from (f"{_place(host, pod)} {when}: {' '.join(line.split())}" for line in lines if line.strip())


def _place(host: str, pod: str) -> str:
    return f"{host} {pod}".strip()
