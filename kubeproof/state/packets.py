"""Captured packets as values: pcap files, and VXLAN packets with their outer and inner headers. Pure.

Only what the proof needs: classic pcap (pcap-savefile(5)) of Ethernet, IPv4, UDP, VXLAN (RFC 7348), ICMP echo.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address

from kubeproof.state.errors import ParseError

SOURCE = "pcap"
MAGIC = {0xA1B2C3D4: 1e6, 0xA1B23C4D: 1e9}
"""Time stamps in microseconds and in nanoseconds."""
FILE_HEADER = 24
RECORD_HEADER = 16
LINKTYPE_ETHERNET = 1
LINKTYPE_SLL2 = 276
"""What tcpdump writes of all interfaces together: Linux cooked v2, with each packet's interface."""
SLL2_HEADER = 20
SLL2_OUTGOING = 4
"""Kind of a packet that leaves by the interface."""
ETHERTYPE_IPV4 = 0x0800
PROTOCOL_ICMP = 1
PROTOCOL_UDP = 17
ETHERNET_HEADER = 14
UDP_HEADER = 8
VXLAN_HEADER = 8
VXLAN_VNI_VALID = 0x08
"""The I flag: the VNI field counts."""
ICMP_ECHO_REPLY = 0
ICMP_ECHO_REQUEST = 8
ICMP_ECHO_HEADER = 8
INNER_PROTOCOL = "udp[39]"
"""The inner IPv4 header's protocol, for filters (pcap-filter(7)): after UDP (8), VXLAN (8), Ethernet (14), at 9."""
SNAPSHOT_BYTES = 256
"""What is captured of each packet."""

Ends = tuple[IPv4Address, IPv4Address]


@dataclass(frozen=True)
class Ipv4Packet:
    """An IPv4 packet: addresses, protocol number, and what it carries."""

    source: IPv4Address
    destination: IPv4Address
    protocol: int
    payload: bytes

    @property
    def ends(self) -> Ends:
        return self.source, self.destination


@dataclass(frozen=True)
class VxlanPacket:
    """A packet on the wire between two nodes: outer addresses and UDP port, VNI, and the pods' own packet."""

    outer: Ipv4Packet
    port: int
    vni: int
    inner: Ipv4Packet


@dataclass(frozen=True)
class CookedPacket:
    """An IPv4 packet as it passed an interface, at a time in seconds since 1970."""

    time: float
    interface: int
    is_outgoing: bool
    packet: Ipv4Packet
    vxlan: VxlanPacket | None
    """The same, if it is one of a tunnel."""


@dataclass(frozen=True)
class Echo:
    """An ICMP echo message; ``is_request`` or else a reply."""

    is_request: bool
    data: bytes


def parse_pcap(content: bytes) -> tuple[bytes, ...]:
    """The Ethernet frames of a capture file, each as far as it was captured; a last one that was cut off is left out.

    Raises ParseError for what is no such file.
    """
    return tuple(frame for _, frame in _records(content, LINKTYPE_ETHERNET, "Ethernet"))


def parse_cooked(content: bytes) -> tuple[CookedPacket, ...]:
    """The IPv4 packets of a capture file of all interfaces (LINKTYPE_LINUX_SLL2). Raises ParseError likewise."""
    found = ((time, frame, parse_ipv4(frame[SLL2_HEADER:])) for time, frame in _records(content, LINKTYPE_SLL2, "SLL2"))
    return tuple(
        CookedPacket(time, int.from_bytes(frame[4:8], "big"), frame[10] == SLL2_OUTGOING, packet, _vxlan_in(packet))
        for time, frame, packet in found
        if packet is not None and int.from_bytes(frame[:2], "big") == ETHERTYPE_IPV4
    )


def _records(content: bytes, expected: int, title: str) -> tuple[tuple[float, bytes], ...]:
    if len(content) < FILE_HEADER:
        raise ParseError(SOURCE, "file header", f"has {len(content)} bytes instead of {FILE_HEADER}")
    order = "<" if struct.unpack("<I", content[:4])[0] in MAGIC else ">"
    magic, *_, link_type = struct.unpack(f"{order}IHHiIII", content[:FILE_HEADER])
    if magic not in MAGIC:
        raise ParseError(SOURCE, "file header", f"magic number {content[:4].hex()} is not that of a pcap file")
    if link_type & 0xFFFF != expected:
        raise ParseError(SOURCE, "file header", f"link type {link_type} is not {title}")
    return tuple(_frames(content, order, MAGIC[magic]))


def _frames(content: bytes, order: str, fractions: float) -> Iterator[tuple[float, bytes]]:
    position = FILE_HEADER
    while (start := position + RECORD_HEADER) <= len(content):
        seconds, fraction, length, _ = struct.unpack(f"{order}IIII", content[position:start])
        position = start + length
        if position <= len(content):
            yield seconds + fraction / fractions, content[start:position]


def parse_ethernet(frame: bytes) -> Ipv4Packet | None:
    """The first fragment of an IPv4 packet in an Ethernet frame; None for anything else."""
    if len(frame) < ETHERNET_HEADER or int.from_bytes(frame[12:14], "big") != ETHERTYPE_IPV4:
        return None
    return parse_ipv4(frame[ETHERNET_HEADER:])


def parse_ipv4(packet: bytes) -> Ipv4Packet | None:
    """The first fragment of an IPv4 packet; None for anything else."""
    if len(packet) < 20:
        return None
    version, header = packet[0] >> 4, (packet[0] & 0x0F) * 4
    fragment_offset = int.from_bytes(packet[6:8], "big") & 0x1FFF
    if version != 4 or header < 20 or len(packet) < header or fragment_offset:
        return None
    total = int.from_bytes(packet[2:4], "big")
    return Ipv4Packet(IPv4Address(packet[12:16]), IPv4Address(packet[16:20]), packet[9], packet[header:total])


def parse_vxlan(frame: bytes) -> VxlanPacket | None:
    """A VXLAN packet with an IPv4 packet inside, to whatever UDP port; None for anything else."""
    outer = parse_ethernet(frame)
    return None if outer is None else _vxlan_in(outer)


def _vxlan_in(outer: Ipv4Packet) -> VxlanPacket | None:
    if outer.protocol != PROTOCOL_UDP or len(outer.payload) < UDP_HEADER + VXLAN_HEADER:
        return None
    port = int.from_bytes(outer.payload[2:4], "big")
    vxlan = outer.payload[UDP_HEADER : UDP_HEADER + VXLAN_HEADER]
    if not vxlan[0] & VXLAN_VNI_VALID:
        return None
    inner = parse_ethernet(outer.payload[UDP_HEADER + VXLAN_HEADER :])
    if inner is None:
        return None
    return VxlanPacket(outer, port, int.from_bytes(vxlan[4:7], "big"), inner)


def tunnelled_echoes(pcap: bytes, nonce: bytes) -> list[tuple[VxlanPacket, Echo]]:
    """The echoes in a capture file that went through a tunnel and hold a nonce. Raises ParseError."""
    packets = [packet for frame in parse_pcap(pcap) if (packet := parse_vxlan(frame))]
    return [(packet, echo) for packet in packets if (echo := parse_echo(packet.inner)) and nonce in echo.data]


def parse_echo(packet: Ipv4Packet) -> Echo | None:
    """The ICMP echo request or reply in a packet; None for anything else."""
    if packet.protocol != PROTOCOL_ICMP or len(packet.payload) < ICMP_ECHO_HEADER:
        return None
    kind = packet.payload[0]
    if kind not in (ICMP_ECHO_REQUEST, ICMP_ECHO_REPLY):
        return None
    return Echo(kind == ICMP_ECHO_REQUEST, packet.payload[ICMP_ECHO_HEADER:])
