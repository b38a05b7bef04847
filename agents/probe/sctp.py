"""The first two packets of an SCTP association, for kernels without SCTP sockets (RFC 9260). Pure.

The checksum has to be right: netfilter's conntrack calls a packet with a wrong one invalid and follows no connection.
"""

import struct
from dataclasses import dataclass

PROTOCOL = 132
"""IP protocol number (IANA)."""
INIT, INIT_ACK, ABORT = 1, 2, 6
"""Chunk types (RFC 9260, section 3.2)."""
STATE_COOKIE = 7
"""Parameter of an INIT ACK (section 3.3.3.1); it holds whatever the server likes: here, who it is."""
RECEIVE_BUFFER = 1 << 20
"""Bytes, of which the kernel grants what net.core.rmem_max allows. A raw socket that is full is none: the kernel then
says that nobody here knows the protocol (ICMP protocol unreachable)."""
RECEIVER_WINDOW = 65536
STREAMS = 1
"""A client that asks for none would be answered with an ABORT (section 3.3.2)."""
_HEADER = struct.Struct("!HHI")
_CHUNK = struct.Struct("!BBH")
_INIT = struct.Struct("!IIHHI")
_POLYNOMIAL = 0x82F63B78
"""Castagnoli's, reflected (section 6.8 and appendix A)."""


def _table() -> tuple[int, ...]:
    values = []
    for value in range(256):
        for _ in range(8):
            value = (value >> 1) ^ (_POLYNOMIAL if value & 1 else 0)
        values.append(value)
    return tuple(values)


_TABLE = _table()


def crc32c(data: bytes) -> int:
    """
    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    value = 0xFFFFFFFF
    for byte in data:
        value = (value >> 8) ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF


@dataclass(frozen=True)
class Packet:
    """A packet with one chunk. ``tag`` is the verification tag; ``initiate_tag`` and ``cookie`` are those of an INIT or
    INIT ACK, else 0 and empty."""

    source: int
    destination: int
    tag: int
    kind: int
    initiate_tag: int = 0
    cookie: bytes = b""

    def to_bytes(self) -> bytes:
        """The packet behind the IP header, with its checksum."""
        chunk = self._chunk()
        header = _HEADER.pack(self.source, self.destination, self.tag)
        checksum = crc32c(header + bytes(4) + chunk)
        return header + checksum.to_bytes(4, "little") + chunk

    def _chunk(self) -> bytes:
        if self.kind == ABORT:
            return _CHUNK.pack(ABORT, 0, _CHUNK.size)
        body = _INIT.pack(self.initiate_tag, RECEIVER_WINDOW, STREAMS, STREAMS, self.initiate_tag)
        if self.cookie:
            body += struct.pack("!HH", STATE_COOKIE, 4 + len(self.cookie)) + self.cookie
        # The length leaves out the last parameter's padding (section 3.2).
        return _CHUNK.pack(self.kind, 0, _CHUNK.size + len(body)) + body + bytes(-len(body) % 4)


def read(data: bytes) -> Packet | None:
    """The first chunk of a packet behind its IP header; None where it is none, or its checksum is wrong."""
    if len(data) < _HEADER.size + 4 + _CHUNK.size:
        return None
    source, destination, tag = _HEADER.unpack_from(data)
    if int.from_bytes(data[8:12], "little") != crc32c(data[:8] + bytes(4) + data[12:]):
        return None
    kind, _, length = _CHUNK.unpack_from(data, 12)
    body = data[12 + _CHUNK.size : 12 + length]
    if kind not in (INIT, INIT_ACK):
        return Packet(source, destination, tag, kind)
    if len(body) < _INIT.size:
        return None
    initiate_tag = int(_INIT.unpack_from(body)[0])
    return Packet(source, destination, tag, kind, initiate_tag, _cookie(body[_INIT.size :]))


def _cookie(parameters: bytes) -> bytes:
    while len(parameters) >= 4:
        kind, length = struct.unpack_from("!HH", parameters)
        if kind == STATE_COOKIE:
            return parameters[4:length]
        parameters = parameters[max(4, length + -length % 4) :]
    return b""


def behind_ip(data: bytes) -> bytes:
    """What follows the IPv4 header, which a raw socket delivers too."""
    return data[(data[0] & 0x0F) * 4 :] if data else b""
