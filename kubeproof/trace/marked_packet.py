"""The one packet that a trace sends, and how it and its answers are known again everywhere. Pure.

NAT changes addresses and ports, and a tunnel wraps the packet; what no kernel changes is in the transport header or
the data: TCP's sequence number (its answer acknowledges the next one), SCTP's initiate tag (the answer's verification
tag), data of UDP and of an echo request. They are chosen at random, so no other packet has them.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kubeproof.state.packets import Ipv4Packet
from kubeproof.trace.model import Packet, Protocol

NUMBERS: dict[Protocol, int] = {"icmp": 1, "tcp": 6, "udp": 17, "sctp": 132}
"""Of IPv4's protocol field."""
PROTOCOLS: dict[int, Protocol] = {number: name for name, number in NUMBERS.items()}
IP_HEADER = 20
"""Bytes of an IPv4 header without options."""
TTL = 64
DO_NOT_FRAGMENT = 0x4000
SYN, RST = 2, 4
TCP_FLAGS = 13
"""Where they are in a TCP header."""
WINDOW = 64240
INIT, ABORT = 1, 6
SCTP_CHUNK = 12
"""Where the type of its first chunk is in an SCTP packet."""
ECHO_REQUEST, ECHO_REPLY = 8, 0
ICMP_ERRORS = {3: "destination unreachable", 11: "time exceeded"}
"""After 8 bytes they quote the packet (RFC 792)."""
ICMP_HEADER = 8
NAME_AT = 21
"""Where the data that is ours begins in a DNS query: after UDP's header (8), DNS's own (12) and a length (1)."""
QUERY_FLAGS, ANSWER_BIT = 0x0100, 0x80
"""Of a DNS header: recursion desired; and what its third byte has in answers (RFC 1035)."""
IN_TUNNEL = 8 + 8 + 14
"""Where the inner IPv4 header begins in a VXLAN packet: after UDP, VXLAN and Ethernet."""


@dataclass(frozen=True)
class Condition:
    """Packets of one protocol with certain bytes: (offset from the transport header, value)."""

    protocol: int
    fields: tuple[tuple[int, bytes], ...]
    addresses: tuple[tuple[int, bytes], ...] = ()
    """The same, from the IPv4 header."""


@dataclass(frozen=True)
class MarkedPacket:
    """What is sent: ``nonce`` are 4 random bytes; ``identification`` is IPv4's, an echo's and a query's, not 0."""

    packet: Packet
    nonce: bytes
    identification: int

    @property
    def content(self) -> bytes:
        """The packet with its IPv4 header."""
        source, destination = self.packet.source.packed, self.packet.destination.packed
        number = NUMBERS[self.packet.protocol]
        body = _BODIES[self.packet.protocol](self)
        start = struct.pack(
            "!BBHHHBB", 0x45, 0, IP_HEADER + len(body), self.identification, DO_NOT_FRAGMENT, TTL, number
        )
        ends = source + destination
        return start + _checksum(start + b"\0\0" + ends) + ends + body

    @property
    def text(self) -> bytes:
        """The nonce in 8 hexadecimal digits, as a name in DNS has to be."""
        return self.nonce.hex().encode()

    @property
    def next(self) -> bytes:
        """What acknowledges the nonce."""
        return ((int.from_bytes(self.nonce) + 1) & 0xFFFFFFFF).to_bytes(4)

    @property
    def requests(self) -> tuple[Condition, ...]:
        """What the packet itself matches, wherever it is."""
        number = NUMBERS[self.packet.protocol]
        match self.packet.protocol:
            case "tcp":
                return (Condition(number, ((4, self.nonce),)),)
            case "sctp":
                return (Condition(number, ((SCTP_CHUNK, bytes([INIT])), (16, self.nonce))),)
            case "udp":
                return (Condition(number, ((10, QUERY_FLAGS.to_bytes(2)), (NAME_AT, self.text))),)
            case "icmp":
                return (Condition(number, ((0, bytes([ECHO_REQUEST])), (8, self.text))),)

    @property
    def answers(self) -> tuple[Condition, ...]:
        """What its answers match: those of the server, and errors of ICMP about it."""
        quoted = self.requests[0].fields[-1]
        at = ICMP_HEADER + IP_HEADER + quoted[0]
        errors = [Condition(NUMBERS["icmp"], ((0, bytes([kind])), (at, quoted[1]))) for kind in ICMP_ERRORS]
        return (*self._own_answers(), *errors)

    def _own_answers(self) -> Iterator[Condition]:
        number = NUMBERS[self.packet.protocol]
        match self.packet.protocol:
            case "tcp":
                yield Condition(number, ((8, self.next),))
            case "sctp":
                yield Condition(number, ((4, self.nonce),))
            case "icmp":
                yield Condition(number, ((0, bytes([ECHO_REPLY])), (8, self.text)))
            case "udp":
                # Servers that know no DNS answer otherwise: then it has to be our port, which nobody else uses.
                back_to = self.packet.source_port.to_bytes(2)
                yield Condition(number, ((2, back_to),), ((16, self.packet.source.packed),))
                yield Condition(number, ((10, bytes([QUERY_FLAGS >> 8 | ANSWER_BIT])), (NAME_AT, self.text)))


def is_met(condition: Condition, packet: Ipv4Packet) -> bool:
    """Whether a packet has the bytes, beyond any tunnel."""
    addresses = bytes(12) + packet.source.packed + packet.destination.packed
    return (
        packet.protocol == condition.protocol
        and _have(condition.fields, packet.payload)
        and _have(condition.addresses, addresses)
    )


def _have(fields: Iterable[tuple[int, bytes]], content: bytes) -> bool:
    return all(content[at : at + len(value)] == value for at, value in fields)


def nft_matches(conditions: Iterable[Condition], tunnel_ports: Iterable[int]) -> list[str]:
    """Matches of nft for each condition: of the packet as it is, and inside VXLAN to any of the ports."""
    return [
        match
        for condition in conditions
        for match in (
            " ".join(["meta nfproto ipv4 meta l4proto", str(condition.protocol), *_nft(condition, 0, "nh", "th")]),
            *(
                f"udp dport {port} @th,{(IN_TUNNEL + 9) * 8},8 {condition.protocol} "
                + " ".join(_nft(condition, IN_TUNNEL, "th", "th"))
                for port in tunnel_ports
            ),
        )
    ]


def _nft(condition: Condition, tunnel: int, network: str, transport: str) -> Iterator[str]:
    at = tunnel + IP_HEADER if tunnel else 0
    for offset, value in condition.addresses:
        yield from _raw(network, tunnel + offset, value)
    for offset, value in condition.fields:
        yield from _raw(transport, at + offset, value)


def _raw(base: str, offset: int, value: bytes) -> Iterator[str]:
    for begin, part in _words(value):
        yield f"@{base},{(offset + begin) * 8},{len(part) * 8} 0x{part.hex()}"


def capture_filter(conditions: Iterable[Condition], tunnel_ports: Iterable[int]) -> str:
    """The same as a filter of pcap-filter(7)."""
    wanted = []
    for condition in conditions:
        wanted.append(f"(ip[9] = {condition.protocol}{_pcap(condition, 'ip', 0)})")
        for port in tunnel_ports:
            inner = f"udp[{IN_TUNNEL + 9}] = {condition.protocol}{_pcap(condition, 'udp', IN_TUNNEL)}"
            wanted.append(f"(udp dst port {port} and {inner})")
    return " or ".join(wanted)


def _pcap(condition: Condition, base: str, start: int) -> str:
    fields = [(start + at, value) for at, value in condition.addresses]
    fields += [(start + IP_HEADER + at, value) for at, value in condition.fields]
    words = ((at + begin, part) for at, value in fields for begin, part in _words(value))
    return "".join(f" and {base}[{at}:{len(part)}] = 0x{part.hex()}" for at, part in words)


def _words(value: bytes) -> Iterator[tuple[int, bytes]]:
    """At most four bytes at a time, which is all that pcap-filter(7) compares, and where they begin."""
    return ((begin, value[begin : begin + 4]) for begin in range(0, len(value), 4))


# What comes after the IPv4 header -------------------------------------------------------------------------------------


def _tcp(marked: MarkedPacket) -> bytes:
    packet, data_offset, largest_segment = marked.packet, 6 << 4, bytes([2, 4, 0x05, 0x50])
    start = struct.pack("!HH4sIBBH", *_ports(packet), marked.nonce, 0, data_offset, SYN, WINDOW)
    return _with_checksum(packet, start, b"\0\0" + largest_segment)


def _udp(marked: MarkedPacket) -> bytes:
    """A DNS query for the address of a name that nobody has: what a DNS server answers, and others may drop."""
    name = bytes([len(marked.text)]) + marked.text + b"\x07invalid\0"
    query = struct.pack("!HHHHHH", marked.identification, QUERY_FLAGS, 1, 0, 0, 0) + name + struct.pack("!HH", 1, 1)
    return _with_checksum(marked.packet, struct.pack("!HHH", *_ports(marked.packet), 8 + len(query)), query)


def _icmp(marked: MarkedPacket) -> bytes:
    rest = struct.pack("!HH", marked.identification, 1) + marked.text
    start = bytes([ECHO_REQUEST, 0])
    return start + _checksum(start + b"\0\0" + rest) + rest


def _sctp(marked: MarkedPacket) -> bytes:
    chunk = struct.pack("!BBH4sIHHI", INIT, 0, 20, marked.nonce, 65536, 1, 1, int.from_bytes(marked.nonce))
    start = struct.pack("!HHI", *_ports(marked.packet), 0)
    return start + _crc32c(start + bytes(4) + chunk).to_bytes(4, "little") + chunk


_BODIES = {"tcp": _tcp, "udp": _udp, "icmp": _icmp, "sctp": _sctp}


def _ports(packet: Packet) -> tuple[int, int]:
    return packet.source_port, packet.destination_port


def _with_checksum(packet: Packet, start: bytes, rest: bytes) -> bytes:
    """The checksum between them is over addresses, protocol and length, too (RFC 9293, section 3.1)."""
    length = len(start) + 2 + len(rest)
    ends = packet.source.packed + packet.destination.packed
    pseudo = ends + struct.pack("!BBH", 0, NUMBERS[packet.protocol], length)
    return start + _checksum(pseudo + start + b"\0\0" + rest) + rest


def _checksum(content: bytes) -> bytes:
    """Of RFC 1071, in the order of the wire."""
    padded = content + b"\0" * (len(content) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (~total & 0xFFFF).to_bytes(2)


def _crc32c(content: bytes) -> int:
    """Of RFC 9260, appendix A."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
