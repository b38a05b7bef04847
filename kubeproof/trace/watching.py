"""Sends one packet and watches it in network namespaces of hosts, by a script on each (watch.sh), all at once.

Nothing of it stays: the script ends when its input does, so with this process and with the connection, and what it
started ends by itself after LONGEST_SECONDS at the latest.
"""

import secrets
import shlex
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, cast

from kubeproof.access.remote_kubectl import over_ssh
from kubeproof.config.cluster import SshAccess
from kubeproof.config.patience import patient
from kubeproof.proof.hosts import CONNECT_SECONDS
from kubeproof.state import collector
from kubeproof.state.errors import ParseError
from kubeproof.state.packets import ETHERTYPE_IPV4, SNAPSHOT_BYTES, CookedPacket, parse_ipv4
from kubeproof.trace.marked_packet import MarkedPacket, capture_filter, is_met, nft_matches
from kubeproof.trace.sightings import ANSWER, END, HOOKS, REQUEST, table_of

LONGEST_SECONDS = 8
"""What a host watches at most, times ``patience``; 1.5 are usual, the others are for hosts under load."""
ANSWER_SECONDS = 0.6
"""How long this machine listens for answers where it is the sender; a host does until it sees nothing more."""
TIMED_OUT = 124
"""Exit code of timeout(1), and so of ssh."""
OWN = "self"
"""In place of an inode number: the host's own network namespace."""
PRIORITY = 350
"""Of the chains: before connection tracking and all of iptables' tables, and after them (netfilter_ipv4.h)."""
_SCRIPT = Path(__file__).with_name("watch.sh")


@dataclass(frozen=True)
class Spaces:
    """Network namespaces of one host, by pod (``namespace/name``; "" is its own): inode numbers, or OWN."""

    host: str
    inodes: Mapping[str, str]
    sends_from: str | None = None
    """The one that the packet is sent from, on the host that sends it."""


@dataclass(frozen=True)
class Raw:
    """What one host printed of each namespace, by kind: see ``report`` in watch.sh."""

    outputs: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Watched:
    """What was seen of a packet, by host. ``refused`` says of each host that could not watch why, in one line."""

    raw: Mapping[str, Raw]
    refused: Mapping[str, str] = field(default_factory=dict)
    send_error: str = ""
    """What the kernel answered the sender, such as "Operation not permitted" or "Network is unreachable"."""
    answers: tuple[CookedPacket, ...] = ()
    """What came back to this machine, where it was the sender."""
    is_sent: bool = True
    """Whether the sender was told to send it."""


def watch(
    marked: MarkedPacket, spaces: tuple[Spaces, ...], access: Mapping[str, SshAccess], tunnel_ports: tuple[int, ...]
) -> Watched:
    """Send a packet, once all hosts watch for it, and return what they saw.

    If one of them cannot, nothing is sent. If none of them is said to send it, this machine does.
    """
    with ExitStack() as stack, ThreadPoolExecutor(len(spaces)) as pool:
        watchers = [stack.enter_context(_watching(marked, one, access[one.host], tunnel_ports)) for one in spaces]
        states = list(pool.map(_Watcher.until_ready, watchers))
        if refused := {one.host: why for one, why in zip(spaces, states, strict=True) if why}:
            return Watched({}, refused, is_sent=False)
        sender = next((watcher for watcher in watchers if watcher.spaces.sends_from is not None), None)
        error, answers = (sender.send(), ()) if sender else _send_from_here(marked)
        reports = list(pool.map(_Watcher.report, watchers))
    raw = {one.host: found for one, found in zip(spaces, reports, strict=True) if isinstance(found, Raw)}
    lost = {one.host: found for one, found in zip(spaces, reports, strict=True) if isinstance(found, str)}
    return Watched(raw, lost, error, answers)


def _send_from_here(marked: MarkedPacket) -> tuple[str, tuple[CookedPacket, ...]]:
    """What this machine's kernel said against it, and the answers that came."""
    with ExitStack() as stack:
        kinds = (
            (socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETHERTYPE_IPV4)),
            (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW),
        )
        try:
            ears, mouth = (stack.enter_context(socket.socket(*kind)) for kind in kinds)
            if marked.packet.protocol == "udp":
                held = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
                held.bind((str(marked.packet.source), marked.packet.source_port))
            mouth.sendto(marked.content, (str(marked.packet.destination), 0))
        except OSError as error:
            return str(error.strerror), ()
        return "", tuple(_heard(ears, marked))


def _heard(ears: socket.socket, marked: MarkedPacket) -> Iterator[CookedPacket]:
    """Answers that come in; none is waited for longer than a host that sends it would."""
    deadline = time.monotonic() + patient(ANSWER_SECONDS)
    while (left := deadline - time.monotonic()) > 0:
        ears.settimeout(left)
        try:
            content, (_, _, kind, *_) = ears.recvfrom(SNAPSHOT_BYTES)
        except TimeoutError:
            return
        packet = parse_ipv4(content)
        if packet and kind == socket.PACKET_HOST and any(is_met(condition, packet) for condition in marked.answers):
            yield CookedPacket(time.time(), 0, False, packet, None)


def rules(marked: MarkedPacket, table: str, tunnel_ports: tuple[int, ...]) -> str:
    """The table as one line for `nft -i`: it is there as a whole or not at all.

    The chains after all others hold no rule: they only let the trace show what has come so far.
    """
    goto = [f"{match} goto {ANSWER}" for match in nft_matches(marked.answers, tunnel_ports)]
    goto += [f"{match} goto {REQUEST}" for match in nft_matches(marked.requests, tunnel_ports)]
    first = "".join(
        f"chain {hook} {{ type filter hook {hook} priority -{PRIORITY}; {'; '.join(goto)}; }}; "
        for hook in ("prerouting", "output")
    )
    last = "".join(f"chain {hook}{END} {{ type filter hook {hook} priority {PRIORITY}; }}; " for hook in HOOKS)
    marking = "".join(f"chain {name} {{ meta nftrace set 1; }}; " for name in (REQUEST, ANSWER))
    return f"table inet {table} {{ flags owner; {marking}{first}{last}}}"


@contextmanager
def _watching(
    marked: MarkedPacket, spaces: Spaces, access: SshAccess, tunnel_ports: tuple[int, ...]
) -> Iterator["_Watcher"]:
    watcher = _Watcher(marked, spaces, access, tunnel_ports)
    try:
        yield watcher
    finally:
        watcher.end()


class _Watcher:
    """The script on one host."""

    def __init__(self, marked: MarkedPacket, spaces: Spaces, access: SshAccess, tunnel_ports: tuple[int, ...]) -> None:
        self.spaces = spaces
        self._marker = secrets.token_hex(8)
        self._names = {f"n{number}": name for number, name in enumerate(spaces.inodes)}
        seconds = patient(LONGEST_SECONDS)
        words = ["timeout", "-k", "1", f"{seconds:g}", "sh", "-c", self._script(marked, tunnel_ports, seconds)]
        self._process = subprocess.Popen(
            _over_ssh(access, words),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
        )
        self._input, self._output, self._errors = (
            cast("IO[str]", stream) for stream in (self._process.stdin, self._process.stdout, self._process.stderr)
        )
        self._deadline = threading.Timer(seconds + patient(CONNECT_SECONDS), self._process.kill)
        self._deadline.start()

    def _script(self, marked: MarkedPacket, tunnel_ports: tuple[int, ...], seconds: float) -> str:
        table, packet = table_of(marked), marked.packet
        given = {
            "SECONDS_LONG": f"{seconds:g}",
            "TABLE": table,
            "RULES": rules(marked, table, tunnel_ports),
            "FILTER": capture_filter((*marked.answers, *marked.requests), tunnel_ports),
            "SPACES": " ".join(f"{short}:{self.spaces.inodes[name]}" for short, name in self._names.items()),
            "PROTOCOL": packet.protocol,
            "PORT": str(marked.identification if packet.protocol == "icmp" else packet.source_port),
            "MARKER": self._marker,
        }
        if self.spaces.sends_from is not None:
            given["PACKET"], given["TARGET"] = marked.content.hex(), str(packet.destination)
            given["HELD_PORT"] = str(packet.source_port if packet.protocol == "udp" else 0)
            given["SENDER"] = self.spaces.inodes[self.spaces.sends_from]
        lines = (line for line in _SCRIPT.read_text().splitlines() if not line.lstrip().startswith("#"))
        return "\n".join([*(f"{name}={shlex.quote(value)}" for name, value in given.items()), *lines])

    def until_ready(self) -> str:
        """Wait until everything watches; why it does not, or ""."""
        line = self._line()
        return "" if line == "ready" else line.removeprefix("refused ") or self._last_words()

    def send(self) -> str:
        """Have the packet sent, and wait until no more is seen of it. Returns what the kernel said against it."""
        self._tell("send")
        sent = self._line()
        self._line()
        return sent.removeprefix("sent").strip()

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

    def end(self) -> None:
        """Have the script end, wherever it is."""
        with suppress(OSError):  # it may have ended already
            self._input.close()
        self._process.wait()
        self._deadline.cancel()

    def _line(self) -> str:
        return self._output.readline().rstrip("\n")

    def _tell(self, word: str) -> None:
        with suppress(OSError):  # where it has ended, what it printed tells
            self._input.write(f"{word}\n")
            self._input.flush()

    def _last_words(self) -> str:
        said = [line.strip() for line in self._errors.read().splitlines() if line.strip()]
        if said:
            return said[-1]
        late = self._process.wait() == TIMED_OUT
        return "it was too slow to watch, set patience" if late else "the connection was lost while it watched"


def _over_ssh(access: SshAccess, words: list[str]) -> list[str]:
    ssh, *rest = over_ssh(access, words)
    options = [
        f"ConnectTimeout={patient(CONNECT_SECONDS):g}",
        "ServerAliveInterval=2",
        f"ServerAliveCountMax={patient(3):g}",
    ]
    return [ssh, *(word for option in options for word in ("-o", option)), *rest]
