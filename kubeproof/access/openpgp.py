"""Fingerprints of OpenPGP keys, read from the armoured text that apt and rpm are given. Pure.

Only as much of RFC 4880 as that takes: every primary key in the text counts, since apt and rpm would trust all of them.
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Iterator

PUBLIC_KEY = 6
"""Packet tag of a primary key; those of subkeys have a tag of their own (RFC 4880, section 4.3)."""
VERSION = 4
_BLOCK = re.compile(
    r"-----BEGIN PGP PUBLIC KEY BLOCK-----\r?\n(?P<headers>(?:[A-Za-z-]+: .*\r?\n)*)\s*\n(?P<body>.*?)"
    r"-----END PGP PUBLIC KEY BLOCK-----",
    re.DOTALL,
)

LONGEST_KEY = 0xFFFF
"""Bytes of a key packet of version 4: its fingerprint has the length in two octets."""


def fingerprints(armoured: str) -> tuple[str, ...]:
    """Fingerprints (40 digits 0-9 and A-F) of all primary keys in a text, in its order.

    Raises ValueError if there is none, or one that is no version 4 key.
    """
    found = [_fingerprint(body) for block in _BLOCK.finditer(armoured) for body in _primary_keys(_binary(block))]
    if not found:
        raise ValueError("there is no OpenPGP key in it")
    return tuple(found)


def _binary(block: "re.Match[str]") -> bytes:
    """The block's packets, without the checksum in its last line, which begins with "="."""
    lines = [line.strip() for line in block["body"].splitlines()]
    try:
        return base64.b64decode("".join(line for line in lines if not line.startswith("=")), validate=True)
    except binascii.Error as error:
        raise ValueError(f"its armour is damaged: {error}") from error


def _primary_keys(data: bytes) -> Iterator[bytes]:
    offset = 0
    while offset < len(data):
        tag, start, length = _header(data, offset)
        offset = start + length
        if offset > len(data):
            raise ValueError("it ends in the middle of a packet")
        if tag == PUBLIC_KEY:
            yield data[start:offset]


def _header(data: bytes, offset: int) -> tuple[int, int, int]:
    """Tag of the packet at ``offset``, where its body begins and how long that is (RFC 4880, section 4.2)."""
    first, *rest = data[offset : offset + 6]
    rest += [0] * (5 - len(rest))
    if not first & 0x80:
        raise ValueError("it is not made of OpenPGP packets")
    if first & 0x40:
        return first & 0x3F, *_new_length(rest, offset)
    kind = first & 3
    if kind == 3:
        raise ValueError("it has a packet of unknown length")
    size = 1 << kind
    return (first >> 2) & 0xF, offset + 1 + size, int.from_bytes(bytes(rest[:size]))


def _new_length(rest: list[int], offset: int) -> tuple[int, int]:
    if rest[0] < 192:
        return offset + 2, rest[0]
    if rest[0] < 224:
        return offset + 3, ((rest[0] - 192) << 8) + rest[1] + 192
    if rest[0] == 255:
        return offset + 6, int.from_bytes(bytes(rest[1:5]))
    raise ValueError("it has a packet in parts, which a key never is")


def _fingerprint(body: bytes) -> str:
    """SHA-1 over 0x99, the length in two octets and the packet (RFC 4880, section 12.2)."""
    if not body or body[0] != VERSION:
        raise ValueError(
            f"it has a key of version {body[0] if body else 'unknown'}, only version {VERSION} is known here"
        )
    if len(body) > LONGEST_KEY:
        raise ValueError(f"it has a key of {len(body)} bytes, more than its length can say")
    return hashlib.sha1(b"\x99" + len(body).to_bytes(2) + body, usedforsecurity=False).hexdigest().upper()
