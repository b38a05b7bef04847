"""Asking a DNS server for an IPv4 address: the query and its answer (RFC 1035). Pure but for reading resolv.conf.

The C library's resolver cannot tell apart a server that does not answer from one that cannot say, and the difference
is what a policy that forbids DNS is about.
"""

import struct
from ipaddress import IPv4Address
from pathlib import Path

RESOLV_CONF = Path("/etc/resolv.conf")
PORT = 53
_HEADER = struct.Struct("!HHHHHH")
_RECURSION_DESIRED = 0x0100
_A, _IN = 1, 1
RCODES = {1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}
"""RFC 1035, section 4.1.1."""


class NoAddressError(Exception):
    """The server answered, but with no address; says why."""


def server(resolv_conf: Path = RESOLV_CONF) -> str | None:
    """The first name server of resolv.conf."""
    try:
        lines = resolv_conf.read_text().splitlines()
    except OSError:
        return None
    return next((line.split()[1] for line in lines if line.startswith("nameserver ")), None)


def query(name: str, number: int) -> bytes:
    """A question for the IPv4 address of a fully qualified name. Raises UnicodeError for what is no name."""
    labels = name.rstrip(".").split(".")
    encoded = b"".join(bytes([len(label)]) + label.encode("ascii") for label in labels)
    return _HEADER.pack(number, _RECURSION_DESIRED, 1, 0, 0, 0) + encoded + b"\0" + struct.pack("!HH", _A, _IN)


def read_reply(data: bytes, number: int) -> IPv4Address | None:
    """The first address of a reply; None where ``data`` is no reply to that question. Raises NoAddressError."""
    try:
        return _read_reply(data, number)
    except (struct.error, IndexError):
        raise NoAddressError("the name server's reply cannot be read") from None


def _read_reply(data: bytes, number: int) -> IPv4Address | None:
    answered, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
    if answered != number or not flags & 0x8000:
        return None
    if code := flags & 0x000F:
        raise NoAddressError(f"the name server says {RCODES.get(code, code)}")
    position = _HEADER.size
    for _ in range(questions):
        position = _after_name(data, position) + 4
    for _ in range(answers):
        position = _after_name(data, position)
        kind, _, _, length = struct.unpack_from("!HHIH", data, position)
        position += 10
        if kind == _A and length == 4:
            return IPv4Address(data[position : position + 4])
        position += length
    raise NoAddressError("the name server knows no IPv4 address of that name")


def _after_name(data: bytes, position: int) -> int:
    while (length := data[position]) != 0:
        if length >= 0xC0:  # a pointer to an earlier name ends this one
            return position + 2
        position += length + 1
    return position + 1
