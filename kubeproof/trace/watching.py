"""Sends packets and watches them in network namespaces of hosts, by a script on each (watch.sh), all at once.

Nothing of it stays: the script ends when its input does, so with this process and with the connection, and what it
started ends by itself after LONGEST_SECONDS at the latest.
"""

import secrets
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import IO, cast

from kubeproof.access import sudo
from kubeproof.config.cluster import SshAccess
from kubeproof.config.patience import patient
from kubeproof.proof.hosts import CONNECT_SECONDS, command
from kubeproof.state import collector
from kubeproof.state.errors import ParseError
from kubeproof.state.foreign import TRACE_TABLE
from kubeproof.state.packets import ETHERTYPE_IPV4, SNAPSHOT_BYTES, CookedPacket, Ipv4Packet, parse_ipv4
from kubeproof.trace.marked_packet import MarkedPacket, capture_filter, is_met, nft_matches
from kubeproof.trace.sightings import ANSWER, END, HOOKS, REQUEST

LONGEST_SECONDS = 8
"""What a host watches at most, times ``patience``; 1.5 are usual, the others are for hosts under load."""
PACKET_SECONDS = 0.25
"""What each packet more than the first adds to that."""
ANSWER_SECONDS = 0.6
"""How long this machine listens for answers where it is the sender; a host does until it sees nothing more."""
TIMED_OUT = 124
"""Exit code of timeout(1), and so of ssh."""
OWN = "self"
"""In place of an inode number: the host's own network namespace."""
GAP_SECONDS = 0.02
"""Between two packets of a sender: the first is through by then, for kernels of one machine hand it on at once."""
PRIORITY = 350
"""Of the chains: before connection tracking and all of iptables' tables, and after them (netfilter_ipv4.h)."""
_SCRIPT = Path(__file__).with_name("watch.sh")


@dataclass(frozen=True)
class Spaces:
    """Network namespaces of one host, by pod (``namespace/name``; "" is its own): inode numbers, or OWN."""

    host: str
    inodes: Mapping[str, str]


@dataclass(frozen=True)
class Sending:
    """A packet, and the host and pod in whose network namespace it is sent; "" for this machine, or no pod."""

    marked: MarkedPacket
    host: str
    pod: str = ""


@dataclass(frozen=True)
class Sent:
    """A packet that was sent: ``answers`` are what came back to this machine, where it was the sender."""

    error: str = ""
    """What the kernel answered the sender, such as "Operation not permitted" or "Network is unreachable"."""
    answers: tuple[CookedPacket, ...] = ()


@dataclass(frozen=True)
class Raw:
    """What one host printed of each namespace, by kind: see ``report`` in watch.sh."""

    outputs: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Watched:
    """What was seen of all packets, by host. ``refused`` says of each host that could not watch why, in one line."""

    raw: Mapping[str, Raw]
    refused: Mapping[str, str] = field(default_factory=dict)
    sent: tuple[Sent, ...] = ()
    """In the order of the packets; nothing if none was."""


def watch(
    sendings: Sequence[Sending],
    spaces: tuple[Spaces, ...],
    access: Mapping[str, SshAccess],
    tunnel_ports: tuple[int, ...],
) -> Watched:
    """Send packets one after the other, once all hosts watch for them, and return what they saw.

    Those of one sender have to be in a row. If a host cannot watch, nothing is sent.
    """
    with ExitStack() as stack, ThreadPoolExecutor(len(spaces)) as pool:
        watchers = [
            stack.enter_context(closing(_Watcher(sendings, one, access[one.host], tunnel_ports))) for one in spaces
        ]
        states = list(pool.map(_Watcher.until_ready, watchers))
        if refused := {one.host: why for one, why in zip(spaces, states, strict=True) if why}:
            return Watched({}, refused)
        by_host = {watcher.spaces.host: watcher for watcher in watchers}
        sent: list[Sent] = []
        for (host, pod), group in groupby(sendings, lambda one: (one.host, one.pod)):
            packets = [one.marked for one in group]
            sent += by_host[host].send(pod, len(packets)) if host else _send_from_here(packets)
        list(pool.map(_Watcher.settle, (by_host[host] for host in {one.host for one in sendings if one.host})))
        reports = list(pool.map(_Watcher.report, watchers))
    raw = {one.host: found for one, found in zip(spaces, reports, strict=True) if isinstance(found, Raw)}
    lost = {one.host: found for one, found in zip(spaces, reports, strict=True) if isinstance(found, str)}
    return Watched(raw, lost, tuple(sent))


def _send_from_here(packets: Sequence[MarkedPacket]) -> list[Sent]:
    """What this machine's kernel said against each, and the answers that came."""
    errors: list[str] = []
    heard: list[CookedPacket] = []
    with ExitStack() as stack:
        kinds = (
            (socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETHERTYPE_IPV4)),
            (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
        )
        try:
            ears, mouth = (stack.enter_context(socket.socket(*kind)) for kind in kinds)
        except OSError as error:
            return [Sent(str(error.strerror))] * len(packets)
        for marked in packets:
            errors.append(_send(mouth, marked, stack))
            heard += _heard(ears, packets, GAP_SECONDS)
        heard += _heard(ears, packets, patient(ANSWER_SECONDS))
    return [
        Sent(error, tuple(one for one in heard if _answers(one.packet, marked)))
        for error, marked in zip(errors, packets, strict=True)
    ]


def _send(mouth: socket.socket, marked: MarkedPacket, stack: ExitStack) -> str:
    """What the kernel said against it. The port of a datagram is held, lest the kernel refuse an answer."""
    packet = marked.packet
    try:
        if packet.protocol == "udp":
            held = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            held.bind((str(packet.source), packet.source_port))
        mouth.sendto(marked.content, (str(packet.destination), 0))
    except OSError as error:
        return str(error.strerror)
    return ""


def _answers(packet: Ipv4Packet, marked: MarkedPacket) -> bool:
    return any(is_met(condition, packet) for condition in marked.answers)


def _heard(ears: socket.socket, packets: Sequence[MarkedPacket], seconds: float) -> Iterator[CookedPacket]:
    """Answers that come in; none is waited for longer than a host that sends it would."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        ears.settimeout(left)
        try:
            content, (_, _, kind, *_) = ears.recvfrom(SNAPSHOT_BYTES)
        except TimeoutError:
            return
        packet = parse_ipv4(content)
        if packet and kind == socket.PACKET_HOST and any(_answers(packet, marked) for marked in packets):
            yield CookedPacket(time.time(), 0, False, packet, None)


def rules(packets: Sequence[MarkedPacket], table: str, tunnel_ports: tuple[int, ...]) -> str:
    """The table as one line for `nft -i`: it is there as a whole or not at all.

    The chains after all others hold no rule: they only let the trace show what has come so far.
    """
    goto = [
        f"{match} goto {chain}{marked.nonce.hex()}"
        for marked in packets
        for chain, conditions in ((ANSWER, marked.answers), (REQUEST, marked.requests))
        for match in nft_matches(conditions, tunnel_ports)
    ]
    first = "".join(
        f"chain {hook} {{ type filter hook {hook} priority -{PRIORITY}; {'; '.join(goto)}; }}; "
        for hook in ("prerouting", "output")
    )
    last = "".join(f"chain {hook}{END} {{ type filter hook {hook} priority {PRIORITY}; }}; " for hook in HOOKS)
    names = (f"{kind}{marked.nonce.hex()}" for marked in packets for kind in (REQUEST, ANSWER))
    marking = "".join(f"chain {name} {{ meta nftrace set 1; }}; " for name in names)
    return f"table inet {table} {{ flags owner; {marking}{first}{last}}}"


class _Watcher:
    """The script on one host."""

    def __init__(
        self, sendings: Sequence[Sending], spaces: Spaces, access: SshAccess, tunnel_ports: tuple[int, ...]
    ) -> None:
        self.spaces = spaces
        self._marker = secrets.token_hex(8)
        self._names = {f"n{number}": name for number, name in enumerate(spaces.inodes)}
        self._shorts = {name: short for short, name in self._names.items()}
        seconds = patient(LONGEST_SECONDS + PACKET_SECONDS * (len(sendings) - 1))
        words = ["timeout", "-k", "1", f"{seconds:g}", "sh", "-c", self._script(sendings, tunnel_ports, seconds)]
        self._process = subprocess.Popen(
            command(access, words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
        )
        self._input, self._output, self._errors = (
            cast("IO[str]", stream) for stream in (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        self._write(sudo.given_as_input(access.sudo_password))
        self._deadline = threading.Timer(seconds + patient(CONNECT_SECONDS), self._process.kill)
        self._deadline.start()

    def _script(self, sendings: Sequence[Sending], tunnel_ports: tuple[int, ...], seconds: float) -> str:
        packets = [one.marked for one in sendings]
        table = f"{TRACE_TABLE}{packets[0].nonce.hex()}"
        given = {
            "SECONDS_LONG": f"{seconds:g}",
            "TABLE": table,
            "RULES": rules(packets, table, tunnel_ports),
            "FILTER": capture_filter([each for one in packets for each in (*one.answers, *one.requests)], tunnel_ports),
            "SPACES": " ".join(f"{short}:{self.spaces.inodes[name]}" for short, name in self._names.items()),
            "ENTRIES": "|".join(f"(port|id)={_number(one)} " for one in packets),
            "MARKER": self._marker,
            "GAP": f"{GAP_SECONDS}",
        }
        for pod, short in self._shorts.items():
            mine = (one.marked for one in sendings if (one.host, one.pod) == (self.spaces.host, pod))
            given[f"PACKETS_{short}"] = " ".join(map(_words, mine))
        lines = (line for line in _SCRIPT.read_text().splitlines() if not line.lstrip().startswith("#"))
        return "\n".join([*(f"{name}={shlex.quote(value)}" for name, value in given.items()), *lines])

    def until_ready(self) -> str:
        """Wait until everything watches; why it does not, or ""."""
        line = self._line()
        return "" if line == "ready" else line.removeprefix("refused ") or self._last_words()

    def send(self, pod: str, count: int) -> list[Sent]:
        """Have the packets of a namespace sent."""
        self._tell(f"send {self._shorts[pod]}")
        told = self._line().split("|")
        # A sender that cannot begin says so once.
        told += told[-1:] * (count - len(told))
        return [Sent(each.removeprefix("sent").strip()) for each in told[:count]]

    def settle(self) -> None:
        """Wait until no more is seen of them."""
        self._tell("settle")
        self._line()

    def report(self) -> Raw | str:
        """What was seen; or why that is not known."""
        self._tell("report")
        text = self._output.read()
        try:
            outputs = collector.read(f"\n{text}", marker=self._marker)
        except ParseError:
            return self._last_words()
        found: dict[str, dict[str, str]] = {name: {} for name in self._names.values()}
        for name, output in outputs.items():
            short, _, kind = name.partition("-")
            found[self._names[short]][kind] = output.out
        return Raw(found)

    def close(self) -> None:
        """Have the script end, wherever it is."""
        with suppress(OSError):  # it may have ended already
            self._input.close()
        self._process.wait()
        self._deadline.cancel()

    def _line(self) -> str:
        return self._output.readline().rstrip("\n")

    def _tell(self, word: str) -> None:
        self._write(f"{word}\n")

    def _write(self, text: str) -> None:
        with suppress(OSError):  # where it has ended, what it printed tells
            self._input.write(text)
            self._input.flush()

    def _last_words(self) -> str:
        said = [line.strip() for line in self._errors.read().splitlines() if line.strip()]
        if said:
            return said[-1]
        late = self._process.wait() == TIMED_OUT
        return "it was too slow to watch, set patience" if late else "the connection was lost while it watched"


def _number(marked: MarkedPacket) -> int:
    """By which conntrack tells it from others."""
    return marked.identification if marked.packet.protocol == "icmp" else marked.packet.source_port


def _words(marked: MarkedPacket) -> str:
    """What the sender is given: the packet, its destination, and a port of UDP to hold, or 0."""
    packet = marked.packet
    held = packet.source_port if packet.protocol == "udp" else 0
    return f"{marked.content.hex()} {packet.destination} {held}"
