"""Captured packets."""

import contextlib
from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeproof.state.errors import ParseError
from kubeproof.state.packets import parse_echo, parse_ethernet, parse_pcap, parse_vxlan
from tests.unit.state.frames import echo, ethernet, ipv4, pcap, tunnelled, udp, vxlan

NODES = ("10.99.0.11", "10.99.0.12")
PODS = ("10.98.0.2", "10.98.1.2")


def test_outer_and_inner_headers() -> None:
    packet = parse_vxlan(tunnelled(NODES, PODS, echo(8, b"nonce"), vni=5))
    assert packet is not None
    assert (packet.outer.source, packet.outer.destination) == (IPv4Address(NODES[0]), IPv4Address(NODES[1]))
    assert (packet.port, packet.vni) == (8472, 5)
    assert (packet.inner.source, packet.inner.destination) == (IPv4Address(PODS[0]), IPv4Address(PODS[1]))
    message = parse_echo(packet.inner)
    assert message is not None
    assert (message.is_request, message.data) == (True, b"nonce")


def test_ethernet_padding_is_no_payload() -> None:
    packet = parse_ethernet(ethernet(ipv4(*NODES, 17, b"four") + b"\0" * 30))
    assert packet is not None
    assert packet.payload == b"four"


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        ethernet(b"\0" * 40, kind=0x0806),
        ethernet(ipv4(*NODES, 6, b"x" * 40)),
        ethernet(ipv4(*NODES, 17, b"x" * 40, fragment=3)),
        ethernet(ipv4(*NODES, 17, udp(8472, b"short"))),
        ethernet(ipv4(*NODES, 17, udp(8472, vxlan(1, ethernet(ipv4(*PODS, 1, b"")), flags=0)))),
        ethernet(ipv4(*NODES, 17, udp(8472, vxlan(1, ethernet(b"\0" * 40, kind=0x86DD))))),
    ],
)
def test_what_is_no_vxlan_around_ipv4_is_none(frame: bytes) -> None:
    assert parse_vxlan(frame) is None


def test_other_icmp_is_no_echo() -> None:
    packet = parse_ethernet(ethernet(ipv4(*PODS, 1, echo(3, b"unreachable"))))
    assert packet is not None
    assert parse_echo(packet) is None


@pytest.mark.parametrize(("order", "magic"), [("<", 0xA1B2C3D4), (">", 0xA1B2C3D4), ("<", 0xA1B23C4D)])
def test_pcap_of_either_byte_order_and_resolution(order: str, magic: int) -> None:
    assert parse_pcap(pcap(b"first", b"second!", order=order, magic=magic)) == (b"first", b"second!")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "pcap: file header: has 0 bytes"),
        (b"\0" * 24, "magic number 00000000"),
        (pcap(link_type=113), "link type 113 is not Ethernet"),
    ],
)
def test_malformed_pcap_is_named(content: bytes, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse_pcap(content)


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_a_last_packet_that_was_cut_off_hides_no_other(cut: int) -> None:
    assert parse_pcap(pcap(b"first", b"second!")[:-cut]) == (b"first",)


@given(st.binary(max_size=200))
def test_any_capture_is_parsed_or_refused(content: bytes) -> None:
    with contextlib.suppress(ParseError):
        parse_pcap(content)
    assert parse_pcap(pcap() + content) is not None


@given(st.binary(max_size=200))
def test_any_frame_is_parsed_or_none(frame: bytes) -> None:
    parse_vxlan(frame)
    parse_vxlan(tunnelled(NODES, PODS, b"")[:42] + frame)
