"""The probe pods' program where no network is needed: packets, names, requests."""

import io
import json
import struct
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from agents.probe import client, names, sctp
from agents.probe.attempts import FIRST_PORT, LAST_PORT, _SourcePorts
from agents.probe.wire import Answer, Identity, read_answer

ANSWER = Answer("kubeproof-x/a", "SCTP", 80, "10.244.1.2")


def test_checksum_is_castagnolis() -> None:
    assert sctp.crc32c(b"123456789") == 0xE3069283


def test_an_init_is_what_the_rfc_says() -> None:
    data = sctp.Packet(40000, 80, tag=0, kind=sctp.INIT, initiate_tag=7).to_bytes()
    assert struct.unpack_from("!HHI", data) == (40000, 80, 0)
    assert struct.unpack_from("!BBHIIHH", data, 12) == (1, 0, 20, 7, 65536, 1, 1)
    assert len(data) == 12 + 20


@pytest.mark.parametrize("cookie", [b"", b"1", b"1234", ANSWER.to_bytes()])
def test_packets_are_read_as_they_were_written(cookie: bytes) -> None:
    packet = sctp.Packet(80, 40000, tag=7, kind=sctp.INIT_ACK, initiate_tag=9, cookie=cookie)
    data = packet.to_bytes()
    assert len(data) % 4 == 0
    assert sctp.read(data) == packet


def test_an_abort_is_read() -> None:
    packet = sctp.Packet(80, 40000, tag=7, kind=sctp.ABORT)
    assert sctp.read(packet.to_bytes()) == packet


@pytest.mark.parametrize("data", [b"", bytes(12), bytes(40)])
def test_what_is_no_packet(data: bytes) -> None:
    assert sctp.read(data) is None


def test_a_wrong_checksum_is_no_packet() -> None:
    data = bytearray(sctp.Packet(40000, 80, tag=0, kind=sctp.INIT, initiate_tag=7).to_bytes())
    data[20] ^= 1
    assert sctp.read(bytes(data)) is None


def test_a_raw_socket_delivers_the_ip_header_too() -> None:
    assert sctp.behind_ip(bytes([0x46]) + bytes(23) + b"rest") == b"rest"
    assert sctp.behind_ip(b"") == b""


def test_answers_name_the_pod() -> None:
    assert read_answer(ANSWER.to_bytes()) == ANSWER
    assert read_answer(b"HTTP/1.1 400 Bad Request") is None
    assert read_answer(b"[]") is None
    assert Identity.from_environment({"POD_NAMESPACE": "x", "POD_NAME": "a"}).pod == "x/a"


def reply(query: bytes, *, rcode: int = 0, address: bytes = b"") -> bytes:
    number = query[:2]
    records = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 5, 4) + address if address else b""
    return number + struct.pack("!HHHHH", 0x8180 | rcode, 1, bool(address), 0, 0) + query[12:] + records


def test_names_are_asked_for_and_read() -> None:
    query = names.query("s-a.kubeproof-x.svc.cluster.local.", 77)
    assert query[12:].startswith(b"\x03s-a\x0bkubeproof-x\x03svc")
    assert names.read_reply(reply(query, address=bytes([10, 1, 2, 3])), 77) == IPv4Address("10.1.2.3")
    assert names.read_reply(reply(query), 78) is None
    assert names.read_reply(query, 77) is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (reply(names.query("a.b.", 1), rcode=3), "NXDOMAIN"),
        (reply(names.query("a.b.", 1), rcode=2), "SERVFAIL"),
        (reply(names.query("a.b.", 1)), "no IPv4 address"),
        (reply(names.query("a.b.", 1), address=bytes(4))[:-6], "cannot be read"),
        (b"\0", "cannot be read"),
    ],
)
def test_replies_without_an_address(data: bytes, reason: str) -> None:
    with pytest.raises(names.NoAddressError, match=reason):
        names.read_reply(data, 1)


def test_the_first_name_server_counts(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    assert names.server(file) is None
    file.write_text("search a\nnameserver 10.1.0.10\nnameserver 10.1.0.11\n")
    assert names.server(file) == "10.1.0.10"


def test_source_ports_come_in_turn() -> None:
    ports = _SourcePorts()
    first, *_ = taken = [ports.next() for _ in range(LAST_PORT - FIRST_PORT + 1)]
    assert sorted(taken) == list(range(FIRST_PORT, LAST_PORT + 1))
    assert ports.next() == first


@pytest.mark.parametrize("line", ["", "{}", "[1]", "null", '{"do": "sing"}', '{"do": "probe", "probes": [{"id": 1}]}'])
def test_what_is_no_request_is_answered(line: str) -> None:
    assert "problem" in client.answer(line)


def test_state_is_what_the_pod_network_wrote(tmp_path: Path) -> None:
    file = tmp_path / "policies.json"
    assert client.state(file) == {"state": None}
    file.write_text('{"enforced": true}')
    assert client.state(file) == {"state": {"enforced": True}}
    file.write_text("{")
    assert "cannot be read" in client.state(file)["problem"]


def test_a_channel_answers_line_by_line() -> None:
    answers = io.StringIO()
    client.serve(io.StringIO('{"do":"hello"}\nrubbish\n'), answers)
    hello, problem = (json.loads(line) for line in answers.getvalue().splitlines())
    assert hello["pod"] == "unknown/unknown"
    assert "problem" in problem
