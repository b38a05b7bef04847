"""Confirms predictions: sends their packets, watches them in every namespace on the way, and compares."""

import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Address

from kubeproof.config.cluster import SshAccess
from kubeproof.state.errors import ParseError
from kubeproof.trace import confirming
from kubeproof.trace.confirming import Confirmation, Where
from kubeproof.trace.marked_packet import MarkedPacket
from kubeproof.trace.model import OUTSIDE, Prediction
from kubeproof.trace.watching import OWN, Sending, Sent, Spaces, Watched, watch
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
    return confirm_all([prediction], world, access)[0]


def confirm_all(predictions: Sequence[Prediction], world: World, access: Mapping[str, SshAccess]) -> list[Confirmation]:
    """The same for some packets, of one sender after the other, in the time of one: thirty are the most for tcpdump.

    Each needs a source port of its own. What counters and conntrack tell is of all of them.
    """
    inodes = {(name, pod): space.inode for name, node in world.nodes.items() for pod, space in node.pods.items()}
    for prediction in predictions:
        _require_sender(prediction, world)
    sendings = [
        Sending(
            MarkedPacket(each.start.packet, secrets.token_bytes(4), 1 + secrets.randbelow(0xFFFF)),
            each.start.node,
            each.start.pod,
        )
        for each in predictions
    ]
    hops = [hop for each in predictions for walk in each.walks for hop in walk.hops]
    ports = tuple({hop.outer.destination_port for hop in hops if hop.outer})
    spaces = _spaces([*((one.host, one.pod) for one in sendings), *((hop.node, hop.pod) for hop in hops)], inodes)
    if not spaces:
        raise UnconfirmedError(["there is no network namespace on the way that could be watched"])
    watched = watch(sendings, spaces, access, ports)
    if watched.refused:
        sent = any(not one.error for one in watched.sent)
        raise UnconfirmedError([f"{host}: {why}" for host, why in watched.refused.items()], sent=sent)
    pairs = zip(predictions, sendings, watched.sent, strict=True)
    return [_confirmed(each, sending.marked, sent, watched, ports) for each, sending, sent in pairs]


def _require_sender(prediction: Prediction, world: World) -> None:
    start = prediction.start
    if start.node == OUTSIDE and not _is_own(world, start.packet.source):
        raise UnconfirmedError([f"{start.packet.source} is not this machine's address, write outside as FROM"])
    if start.node == OUTSIDE and os.geteuid() != 0:
        raise UnconfirmedError(["this machine: only root can send such a packet from here, run this as root"])
    if start.node not in (OUTSIDE, *world.nodes):
        raise UnconfirmedError([f"{start.node}: {world.unreachable.get(start.node, 'is not a node that was read')}"])


def _confirmed(
    prediction: Prediction, marked: MarkedPacket, sent: Sent, watched: Watched, ports: tuple[int, ...]
) -> Confirmation:
    start = prediction.start
    try:
        seen = confirming.read(watched.raw, marked, sent.answers, ports)
    except ParseError as error:
        raise UnconfirmedError([str(error)], sent=not sent.error) from error
    walk, sights = confirming.compare(prediction, seen)
    return Confirmation(
        walk,
        sights,
        confirming.arrived(walk, start, seen),
        confirming.answer(start, seen),
        sent.error,
        tuple(_moved(watched)),
        tuple(_entries(watched)),
    )


def _is_own(world: World, address: IPv4Address) -> bool:
    return address == world.facts.outside or (world.outside is not None and world.outside.has_address(address))


def _spaces(wanted: Sequence[Where], inodes: Mapping[Where, str]) -> tuple[Spaces, ...]:
    by_host: dict[str, dict[str, str]] = {}
    for node, pod in list(dict.fromkeys(where for where in wanted if where[0] != OUTSIDE))[:MOST_SPACES]:
        inode = inodes.get((node, pod)) if pod else OWN
        if inode is not None:
            by_host.setdefault(node, {})[pod] = inode
    return tuple(Spaces(host, spaces) for host, spaces in by_host.items())


def _moved(watched: Watched) -> Iterator[str]:
    for host, raw in watched.raw.items():
        for pod, outputs in raw.outputs.items():
            before, after = (
                of_protocols(outputs[f"counters-{when}"]) | of_conntrack(outputs[f"conntrack-{when}"])
                for when in ("before", "after")
            )
            yield from (f"{_place(host, pod)}: {line}" for line in moved(before, after))


def _entries(watched: Watched) -> Iterator[str]:
    for host, raw in watched.raw.items():
        for pod, outputs in raw.outputs.items():
            for when in ("before", "after"):
                lines = outputs[f"entries-{when}"].splitlines()
                yield from (f"{_place(host, pod)} {when}: {' '.join(line.split())}" for line in lines if line.strip())


def _place(host: str, pod: str) -> str:
    return f"{host} {pod}".strip()


TELLING = re.compile(
    r"Discards|InErrors|InErrs|Csum|NoRoutes|(?<!DeferAccept)Drop|Prune|Filter|Unreach|NoPorts|AddrErr|HdrErr|TimeExc|(Reasm|Frag)Fails"
)
"""Those of /proc/net/snmp and /proc/net/netstat that say that something did not arrive; others move all the
time, as that of connections without data yet does."""
TELLING_OF_CONNTRACK = ("invalid", "insert_failed", "drop", "early_drop", "error")
_NUMBER = re.compile(r"(\w+)=(\d+)")


def moved(before: Mapping[str, int], after: Mapping[str, int]) -> Iterator[str]:
    """A line for each counter that has another value."""
    for name, value in after.items():
        if (more := value - before.get(name, value)) > 0:
            yield f"{name} +{more}"


def of_protocols(text: str) -> dict[str, int]:
    """Telling counters of /proc/net/snmp and /proc/net/netstat, such as "TcpExt.ListenDrops"."""
    found: dict[str, int] = {}
    lines = [line.split() for line in text.splitlines() if line.strip()]
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        if names[0] != values[0]:
            continue
        pairs = zip(names[1:], values[1:], strict=False)
        found |= {f"{names[0].rstrip(':')}.{name}": int(value) for name, value in pairs if TELLING.search(name)}
    return found


def of_conntrack(text: str) -> dict[str, int]:
    """Telling counters of `conntrack -S`, of all processors together."""
    found = dict.fromkeys((f"conntrack.{name}" for name in TELLING_OF_CONNTRACK), 0)
    for name, value in _NUMBER.findall(text):
        if name in TELLING_OF_CONNTRACK:
            found[f"conntrack.{name}"] += int(value)
    return found
