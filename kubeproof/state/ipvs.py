"""Virtual servers of IPVS and ipsets, as kube-proxy's mode ipvs makes them. Pure."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from kubeproof.state.errors import ParseError

_SOURCE = "/proc/net/ip_vs"
_VIRTUAL = re.compile(r"(TCP|UDP|SCTP) +([0-9A-F]{8}):([0-9A-F]{4}) (\S+)(.*)")
_REAL = re.compile(r"  -> ([0-9A-F]{8}):([0-9A-F]{4}) +(\S+) +(\d+) ")


@dataclass(frozen=True)
class RealServer:
    """Where a virtual server hands connections on to."""

    address: IPv4Address
    port: int
    method: str
    """Such as "Masq"."""
    weight: int
    """0 for one that gets no new connections."""

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


@dataclass(frozen=True)
class VirtualServer:
    """An address and port of IPv4 at which IPVS takes connections."""

    protocol: str
    """In lower case."""
    address: IPv4Address
    port: int
    scheduler: str
    persistent: bool = False
    """Whether a client stays with the server that it had (sessionAffinity)."""
    servers: tuple[RealServer, ...] = ()

    @property
    def in_use(self) -> tuple[RealServer, ...]:
        """Those that get new connections."""
        return tuple(server for server in self.servers if server.weight)

    def __str__(self) -> str:
        return f"{self.protocol} {self.address}:{self.port}"


def parse_virtual_servers(text: str) -> tuple[VirtualServer, ...]:
    """From /proc/net/ip_vs, in hexadecimal digits (net/netfilter/ipvs/ip_vs_ctl.c, ip_vs_info_seq_show).

    Those of IPv6 (in brackets) and of marks (FWM) are left out. Raises ParseError.
    """
    return tuple(_virtual(match, servers) for match, servers in _blocks(text))


def _blocks(text: str) -> Iterator[tuple[re.Match[str], list[str]]]:
    """Each virtual server with the lines of its real ones."""
    blocks: list[tuple[re.Match[str] | None, list[str]]] = []
    for line in text.splitlines():
        if line.startswith("  -> ") and blocks:
            blocks[-1][1].append(line)
        else:
            blocks.append((_VIRTUAL.match(line), []))
    return ((match, lines) for match, lines in blocks if match is not None)


def _virtual(match: re.Match[str], lines: list[str]) -> VirtualServer:
    address, port = IPv4Address(int(match[2], 16)), int(match[3], 16)
    servers = tuple(map(_real, lines))
    return VirtualServer(match[1].lower(), address, port, match[4], "persistent" in match[5], servers)


def _real(line: str) -> RealServer:
    found = _REAL.match(line)
    if found is None:
        raise ParseError(_SOURCE, line.strip(), "is no real server")
    return RealServer(IPv4Address(int(found[1], 16)), int(found[2], 16), found[3], int(found[4]))


def parse_ipsets(text: str) -> Mapping[str, tuple[str, ...]]:
    """Entries by name, with the type first, from ``ipset save``; what follows an entry but "nomatch" is left out.

    Raises ParseError.
    """
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        match line.split():
            case ["create", name, kind, *_]:
                found[name] = [kind]
            case ["add", name, entry, *rest]:
                if name not in found:
                    raise ParseError("ipset save", line, "is of a set that is not created")
                found[name].append(" ".join((entry, *rest[: rest[:1] == ["nomatch"]])))
    return {name: tuple(entries) for name, entries in found.items()}
