"""The packet that is sent is a valid one, and is matched by what looks for it."""

import struct
from ipaddress import IPv4Address

import pytest

from kubeproof.state.packets import Ipv4Packet
from kubeproof.trace.marked_packet import (
    NUMBERS,
    PROTOCOLS,
    Condition,
    MarkedPacket,
    capture_filter,
    is_met,
    nft_matches,
)
from kubeproof.trace.model import Packet, Protocol

NONCE = bytes.fromhex("fffefdff")


def marked(protocol: Protocol) -> MarkedPacket:
    packet = Packet(protocol, IPv4Address("10.244.1.2"), IPv4Address("10.96.0.10"), 62000, 53)
    return MarkedPacket(packet, NONCE, 4242)


def ones_complement_sum(content: bytes) -> int:
    """Of RFC 1071: 0xffff over what holds its own checksum."""
    padded = content + b"\0" * (len(content) % 2)
    total = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    return total % 0xFFFF or 0xFFFF


def as_packet(content: bytes) -> Ipv4Packet:
    return Ipv4Packet(IPv4Address(content[12:16]), IPv4Address(content[16:20]), content[9], content[20:])


@pytest.mark.parametrize("protocol", PROTOCOLS.values())
def test_lengths_and_checksums_are_right(protocol: Protocol) -> None:
    content = marked(protocol).content
    header, body = content[:20], content[20:]
    assert int.from_bytes(header[2:4], "big") == len(content)
    assert int.from_bytes(header[4:6], "big") == 4242
    assert ones_complement_sum(header) == 0xFFFF
    pseudo = b"" if protocol == "icmp" else header[12:20] + struct.pack("!HH", NUMBERS[protocol], len(body))
    if protocol != "sctp":
        assert ones_complement_sum(pseudo + body) == 0xFFFF
    if protocol == "udp":
        assert int.from_bytes(body[4:6], "big") == len(body)


def test_the_checksum_of_sctp_is_crc32c() -> None:
    # As the kernel took it: it answered with ICMP instead of counting an error (InCsumErrors).
    body = marked("sctp").content[20:]
    assert body[8:12] == bytes.fromhex(CRC)


CRC = "a2026602"


@pytest.mark.parametrize("protocol", PROTOCOLS.values())
def test_it_is_a_request_and_no_answer(protocol: Protocol) -> None:
    one = marked(protocol)
    packet = as_packet(one.content)
    assert any(is_met(condition, packet) for condition in one.requests)
    assert not any(is_met(condition, packet) for condition in one.answers)


@pytest.mark.parametrize("protocol", PROTOCOLS.values())
def test_an_error_about_it_is_an_answer(protocol: Protocol) -> None:
    one = marked(protocol)
    error = Ipv4Packet(IPv4Address("10.0.0.1"), one.packet.source, 1, bytes([3, 1, 0, 0, 0, 0, 0, 0]) + one.content)
    assert any(is_met(condition, error) for condition in one.answers)


def test_what_acknowledges_the_highest_number_is_zero() -> None:
    assert MarkedPacket(marked("tcp").packet, b"\xff" * 4, 1).next == bytes(4)


def test_matches_are_of_the_packet_and_of_the_tunnel() -> None:
    condition = Condition(6, ((4, NONCE),))
    assert nft_matches([condition], [8472]) == [
        "meta nfproto ipv4 meta l4proto 6 @th,32,32 0xfffefdff",
        "udp dport 8472 @th,312,8 6 @th,432,32 0xfffefdff",
    ]
    assert capture_filter([condition], [8472]) == (
        "(ip[9] = 6 and ip[24:4] = 0xfffefdff) or (udp dst port 8472 and udp[39] = 6 and udp[54:4] = 0xfffefdff)"
    )


def test_an_address_is_matched_in_its_header() -> None:
    condition = Condition(17, ((2, b"\xf2\x30"),), ((16, IPv4Address("10.0.0.1").packed),))
    assert nft_matches([condition], [4789]) == [
        "meta nfproto ipv4 meta l4proto 17 @nh,128,32 0x0a000001 @th,16,16 0xf230",
        "udp dport 4789 @th,312,8 17 @th,368,32 0x0a000001 @th,416,16 0xf230",
    ]
