"""Packets between nodes: the command that sends and captures some on a node, and the reader of what it prints. Pure.

Bounded: to each other node a handful of packets, in plain and through the tunnel, for a few seconds at most.
"""

import base64
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from kubeproof.access.patience import patient
from kubeproof.proof.capture import INNER_PROTOCOL, SNAPSHOT_BYTES
from kubeproof.state.collector import NOT_FOUND
from kubeproof.state.errors import ParseError
from kubeproof.state.packets import parse_echo, parse_pcap, parse_vxlan

WAIT_SECONDS = 4
"""How long an answer is waited for. Nodes begin within a second or two of each other, and a ping that is not answered
is sent again each second: so the other node's capture has begun for one of them."""
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
class Way:
    """What came of packets to another node's address. ``mac`` is its ARP entry, empty if there is none."""

    ping: bool
    ssh: str
    mac: str
    passes: int | None = None
    """The largest packet in bytes that arrived with DF set, if that was tried."""


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
class Seen:
    """One of our echoes on the wire: outer addresses."""

    source: IPv4Address
    destination: IPv4Address
    is_request: bool


@dataclass(frozen=True)
class Journey:
    """What one node sent and saw. ``ways`` is by node address, ``tunnels`` by address of the VXLAN device."""

    ways: dict[IPv4Address, Way] = field(default_factory=dict)
    tunnels: dict[IPv4Address, Tunnel] = field(default_factory=dict)
    seen: frozenset[Seen] = frozenset()
    checksum_errors: int = 0
    """Packets of TCP and UDP with a wrong checksum that arrived meanwhile (InCsumErrors)."""
    offload: bool = True
    """Whether the VXLAN device leaves checksums to what carries its packets."""


def command(*, others: dict[IPv4Address, int], device: str, port: int, nonce: str) -> str:
    """Shell text: send packets to ``others`` (address -> its ssh port) and through ``device``, and capture meanwhile.

    ``nonce`` (8 letters or digits) fills the echoes, by which they are found again in the captures of other nodes.
    """
    if not others:
        return "true"
    first, seconds = next(iter(others)), patient(WAIT_SECONDS)
    ways = "\n".join(f'way {address} {ssh_port} & kids="$kids $!"' for address, ssh_port in others.items())
    return f"""
for tool in tcpdump ping bash base64; do
  command -v $tool >/dev/null || {{ echo "$tool is not installed" >&2; exit {NOT_FOUND}; }}; done
d=$(mktemp -d) || exit 1; t=; kids=
trap '[ -z "$t" ] || kill $t 2>/dev/null; rm -rf "$d"' EXIT
errors() {{ awk '$1 !~ /^(Tcp|Udp):$/ {{ next }} $1 in column {{ sum += $column[$1]; next }}
  {{ for (i = 2; i <= NF; i++) if ($i == "InCsumErrors") column[$1] = i }} END {{ print sum + 0 }}' /proc/net/snmp; }}
tcp() {{ said=$(timeout {seconds} bash -c "</dev/tcp/$1/$2" 2>&1); code=$?
  case "$code $said" in 0*) echo {CONNECTED};; 124*) echo {TIMED_OUT};; *refused*) echo {REFUSED};; *) echo {NO_ROUTE};;
  esac; }}
answers() {{ ping -n -c 1 -w {seconds} -W {seconds} "$@" >/dev/null 2>&1 && echo yes || echo no; }}
passes() {{ for size in {" ".join(map(str, SIZES))}; do
  ( ping -n -c 1 -W 2 -M do -s $((size - {IP_AND_ICMP})) "$1" >/dev/null 2>&1 && echo $size ) & done; wait; }}
way() {{ tcp $1 $2 >"$d/ssh.$1" & pid=$!; ping=$(answers $1); wait $pid; largest=-
  mtu=$(cat /sys/class/net/$interface/mtu)
  [ $ping = no ] || [ $(answers -M do -s $((mtu - {IP_AND_ICMP})) $1) = yes ] ||
    largest=$(passes $1 | sort -n | tail -n 1)
  mac=$(ip -4 neigh show $1 | sed -n 's/.* lladdr \\([^ ]*\\).*/\\1/p' | head -n 1)
  printf 'way %s %s %s %s %s\\n' $1 $ping $(cat "$d/ssh.$1") "${{mac:--}}" "${{largest:--}}"; }}
through() {{ tcp $1 {KUBELET_PORT} >"$d/tcp.$1" & pid=$!; ping=$(answers -p {nonce.encode().hex()} $1); large=$ping
  [ $ping = no ] || large=$(answers -M do -s $(($(cat /sys/class/net/{device}/mtu) - {IP_AND_ICMP})) $1)
  wait $pid; printf 'tunnel %s %s %s %s\\n' $1 $ping $large $(cat "$d/tcp.$1"); }}
interface=$(ip -4 -o route get {first} | sed -n 's/.* dev \\([^ ]*\\).*/\\1/p')
before=$(errors)
tcpdump -i "$interface" -n -s {SNAPSHOT_BYTES} --immediate-mode -Z root -U -w "$d/c.pcap" \\
  'udp dst port {port} and {INNER_PROTOCOL} = 1' >/dev/null 2>"$d/err" & t=$!
n=0; listens() {{ grep -q 'listening on' "$d/err" || ! kill -0 $t 2>/dev/null || [ $n -ge 60 ]; }}
until listens; do n=$((n + 1)); sleep 0.05; done
{ways}
for gateway in $(ip -4 route show dev {device} 2>/dev/null | awk '$2 == "via" {{ print $3 }}'); do
  through $gateway & kids="$kids $!"; done
for kid in $kids; do wait $kid; done
kill -INT $t 2>/dev/null; wait $t; t=
echo "checksum-errors $(($(errors) - before))"
echo "offload $(ethtool -k {device} 2>/dev/null | sed -n 's/^tx-checksumming: *//p')"
echo capture; base64 "$d/c.pcap"
"""


def parse(text: str, *, nonce: str) -> Journey:
    """Read what :func:`command` printed; lines that it does not print are passed over. Raises ParseError."""
    said, _, encoded = text.partition("capture\n")
    ways = {
        address: Way(words[0] == "yes", words[1], _or_empty(words[2]), _number(words[3]))
        for address, words in _lines(said, "way", 4)
    }
    tunnels = {
        address: Tunnel(words[0] == "yes", words[1] == "yes", words[2]) for address, words in _lines(said, "tunnel", 3)
    }
    errors = re.search(r"^checksum-errors (\d+)$", said, re.MULTILINE)
    if text.strip() and not errors:
        raise ParseError(SOURCE, "checksum-errors", "is missing, the command did not come to its end")
    return Journey(
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


def _seen(encoded: str, nonce: bytes) -> frozenset[Seen]:
    try:
        frames = parse_pcap(base64.b64decode(encoded)) if encoded.strip() else ()
    except ValueError as error:
        raise ParseError(SOURCE, "capture", f"cannot be read: {error}") from None
    packets = [packet for frame in frames if (packet := parse_vxlan(frame))]
    pairs = [(packet, echo) for packet in packets if (echo := parse_echo(packet.inner)) and nonce in echo.data]
    return frozenset(Seen(packet.outer.source, packet.outer.destination, echo.is_request) for packet, echo in pairs)


def _or_empty(word: str) -> str:
    return "" if word == "-" else word


def _number(word: str) -> int | None:
    return int(word) if word.isdecimal() else None
