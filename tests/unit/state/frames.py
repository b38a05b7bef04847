"""Builds captured frames for tests, byte by byte."""

import struct
from ipaddress import IPv4Address


def ethernet(payload: bytes, kind: int = 0x0800) -> bytes:
    return b"\x02" * 6 + b"\x04" * 6 + kind.to_bytes(2, "big") + payload


def ipv4(source: str, destination: str, protocol: int, payload: bytes, *, fragment: int = 0) -> bytes:
    addresses = IPv4Address(source).packed + IPv4Address(destination).packed
    return struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 1, fragment, 64, protocol, 0) + addresses + payload


def udp(port: int, payload: bytes) -> bytes:
    return struct.pack(">HHHH", 40000, port, 8 + len(payload), 0) + payload


def vxlan(vni: int, frame: bytes, *, flags: int = 0x08) -> bytes:
    return bytes([flags, 0, 0, 0]) + vni.to_bytes(3, "big") + b"\0" + frame


def echo(kind: int, data: bytes) -> bytes:
    return struct.pack(">BBHHH", kind, 0, 0, 1, 1) + data


def tunnelled(
    outer: tuple[str, str], inner: tuple[str, str], payload: bytes, *, port: int = 8472, vni: int = 1
) -> bytes:
    """An ICMP message between pods, in VXLAN between nodes, as a frame."""
    return ethernet(ipv4(*outer, 17, udp(port, vxlan(vni, ethernet(ipv4(*inner, 1, payload))))))


def pcap(*frames: bytes, order: str = "<", magic: int = 0xA1B2C3D4, link_type: int = 1) -> bytes:
    header = struct.pack(f"{order}IHHiIII", magic, 2, 4, 0, 0, 256, link_type)
    records = [struct.pack(f"{order}IIII", 0, 0, len(frame), len(frame)) + frame for frame in frames]
    return header + b"".join(records)
