"""What hosts printed of a watched packet, as values: chains that it went through, interfaces that it passed. Pure."""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from kubeproof.state.errors import ParseError
from kubeproof.state.foreign import TRACE_TABLE
from kubeproof.state.packets import CookedPacket, Ipv4Packet, parse_cooked
from kubeproof.trace.marked_packet import (
    ABORT,
    ICMP_ERRORS,
    NUMBERS,
    PROTOCOLS,
    RST,
    SCTP_CHUNK,
    TCP_FLAGS,
    MarkedPacket,
    is_met,
)
from kubeproof.trace.model import Direction, Packet, Place

REQUEST, ANSWER = "request_", "answer_"
"""Chains that mark a packet, followed by the nonce: the first line of a trace tells which packet comes."""
HOOKS = {
    "prerouting": Place.PREROUTING,
    "input": Place.INPUT,
    "forward": Place.FORWARD,
    "output": Place.OUTPUT,
    "postrouting": Place.POSTROUTING,
}
END = "_end"
"""Its chains that are called by a hook after all others."""
_DIRECTIONS = {REQUEST: Direction.FORWARD, ANSWER: Direction.REPLY}
_FIRST = re.compile(rf"(?P<kind>{REQUEST}|{ANSWER})(?P<nonce>[0-9a-f]+)")
_EVENT = re.compile(
    r"trace id (?P<id>\w+) (?P<family>\w+) (?P<table>\S+) (?P<chain>\S+) "
    r"(?P<kind>packet:|rule|unknown rule handle|policy|verdict|return)(?P<rest>.*)"
)
_VERDICT = re.compile(r"(?P<text>.*?) *\(verdict (?P<verdict>[^)]*)\)")
_COUNTED = re.compile(r"counter packets \d+ bytes \d+ ?")
_RULE = re.compile(r" *TRACE: \d+ (?P<id>\w+) (?P<table>[^:]+):(?P<chain>[^:]+):\S+ +(?:-[46] )?(?P<text>.*)")
_LINK = re.compile(r"(?P<index>\d+): (?P<name>[^:@\s]+)")


@dataclass(frozen=True)
class Decision:
    """A rule that the packet met: as its tool prints it ("" for the policy of a chain), and what it decided."""

    table: str
    chain: str
    rule: str
    verdict: str
    """Such as "accept", "drop", "jump KUBE-SERVICES"."""

    def __str__(self) -> str:
        return self.rule or f"policy {self.verdict} of {self.table} {self.chain}"


@dataclass(frozen=True)
class Traversal:
    """The packet in the chains that one table has at one hook."""

    direction: Direction
    hook: Place
    packet: Packet
    """As it came there."""
    devices: tuple[str, str]
    """Interface that it came in by, and that it leaves by; "" for none."""
    decisions: tuple[Decision, ...]
    is_end: bool
    """Whether it has come through all chains of this hook."""
    is_tunnel: bool
    """Whether it is the UDP packet that carries it."""


@dataclass(frozen=True)
class Passing:
    """The packet at an interface, at a time in seconds since 1970 by the clock of the host."""

    direction: Direction
    device: str
    is_outgoing: bool
    packet: Packet
    outer: Packet | None
    """What carries it, at an interface between hosts."""
    time: float
    refusal: str = ""
    """What kind of answer says no, such as "RST"."""


# Chains ---------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Header:
    packet: Packet
    devices: tuple[str, str]
    numbers: tuple[str, ...]
    """IPv4's identification and an echo's, which NAT leaves alone."""

    @property
    def identity(self) -> tuple[object, ...]:
        return self.packet, self.numbers


@dataclass(frozen=True)
class _Group:
    """What one chain of a hook, with all that it calls, did to the packet."""

    trace_id: str
    table: str
    header: _Header
    decisions: tuple[Decision, ...]

    @property
    def chain(self) -> str:
        """Of the last line, which is the chain that the hook calls, if all went through it."""
        return self.decisions[-1].chain if self.decisions else ""

    @property
    def is_own(self) -> bool:
        return self.table.startswith(TRACE_TABLE)

    @property
    def marked(self) -> re.Match[str] | None:
        """As what packet its first rule marked it, if that did: there a trace begins."""
        return _FIRST.fullmatch(self.decisions[0].chain) if self.is_own and self.decisions else None


def traversals(trace: str, xtables: str, nonce: bytes, tunnel_ports: tuple[int, ...]) -> tuple[Traversal, ...]:
    """What `nft monitor trace` and `xtables-monitor --trace` printed of one packet in one namespace, in order.

    Both tell of the same rules; the second has those of iptables as iptables prints them. What they print of other
    packets, which are watched along with it or by another trace at the same time, is passed over.
    """
    return tuple(
        replace(one, is_tunnel=one.packet.protocol == "udp" and one.packet.destination_port in tunnel_ports)
        for one in _traversals(_of_packet(nonce.hex(), _groups(trace, _iptables_rules(xtables))))
    )


def _of_packet(nonce: str, groups: Iterable[_Group]) -> Iterator[_Group]:
    """Those of one packet, between which a second processor may have told of another.

    The kernel gives a packet another id where its interfaces change, but not while it is at one hook, where NAT
    changes its addresses.
    """
    ids, identities, table = set(), set(), ""
    for group in groups:
        if group.marked and group.marked["nonce"] == nonce:
            table = group.table
        elif group.marked:
            ids.discard(group.trace_id)
            continue
        elif (group.is_own and group.table != table) or not (
            group.trace_id in ids or group.header.identity in identities
        ):
            continue
        ids.add(group.trace_id)
        identities.add(group.header.identity)
        yield group


def _traversals(groups: Iterable[_Group]) -> list[Traversal]:
    found: list[Traversal] = []
    waiting: list[_Group] = []
    direction, last = Direction.FORWARD, None
    for group in groups:
        if group.marked:
            found += _at(waiting, direction, last)
            waiting, direction, last = [], _DIRECTIONS[group.marked["kind"]], None
        waiting.append(group)
        if group.is_own and group.chain.endswith(END):
            last = HOOKS[group.chain.removesuffix(END)]
            found += _at(waiting, direction, None, last)
            waiting = []
    return [*found, *_at(waiting, direction, last)]


def _at(
    groups: list[_Group], direction: Direction, before: Place | None, hook: Place | None = None
) -> Iterator[Traversal]:
    for group in groups:
        own_end = group.is_own and group.chain.endswith(END)
        decisions = () if group.is_own else group.decisions
        place = hook or _hook(group.header.devices, before)
        yield Traversal(direction, place, group.header.packet, group.header.devices, decisions, own_end, False)


def _hook(devices: tuple[str, str], before: Place | None) -> Place:
    """Of a packet that did not come to a hook's end: by its interfaces, and the hook that it had passed."""
    into, out = devices
    if before in (Place.FORWARD, Place.OUTPUT):
        return Place.POSTROUTING
    if before is Place.PREROUTING:
        return Place.FORWARD if out else Place.INPUT
    return Place.PREROUTING if into and not out else Place.OUTPUT if out and not into else Place.FORWARD


def _groups(trace: str, rules: Mapping[tuple[str, str, str], list[str]]) -> list[_Group]:
    """A chain of a hook begins with a line about the packet. What a rule such as REJECT sends comes before its line."""
    left = {key: iter(texts) for key, texts in rules.items()}
    groups: list[_Group] = []
    latest: dict[str, int] = {}
    for match in filter(None, map(_EVENT.match, trace.splitlines())):
        if match["kind"] == "packet:":
            latest.pop(match["id"], None)
            if header := _header(match["rest"]):
                latest[match["id"]] = len(groups)
                groups.append(_Group(match["id"], match["table"], header, ()))
        elif (number := latest.get(match["id"])) is not None:
            text = next(left.get((match["id"], match["table"], match["chain"]), iter(())), "")
            group = groups[number]
            groups[number] = replace(group, decisions=(*group.decisions, _decision(match, text)))
    return groups


def _decision(match: re.Match[str], iptables_rule: str) -> Decision:
    table, chain = f"{match['family']} {match['table']}", match["chain"]
    if match["kind"] == "policy":
        return Decision(table, chain, "", match["rest"].strip())
    decided = _VERDICT.match(match["rest"].strip())
    text, verdict = (decided["text"], decided["verdict"]) if decided else (match["rest"].strip(), "")
    if match["kind"] == "unknown rule handle":
        text = f"rule with handle {text}"
    return Decision(table, chain, iptables_rule or " ".join(_COUNTED.sub("", text).split()), verdict)


def _iptables_rules(xtables: str) -> dict[tuple[str, str, str], list[str]]:
    """Texts of rules by trace id, table and chain, in order; "" for a policy, and for rules of others than iptables."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for line in xtables.splitlines():
        if match := _RULE.match(line):
            found.setdefault((match["id"], match["table"], match["chain"]), []).append(match["text"].strip())
    return found


def _header(text: str) -> _Header | None:
    """Of a line about a packet; None if it is none of IPv4."""
    words = text.split()
    values = {" ".join(words[at : at + 2]): words[at + 2] for at in range(len(words) - 2)}
    devices = {words[at]: words[at + 1].strip('"') for at in range(len(words) - 1) if words[at] in ("iif", "oif")}
    protocol = next((name for name in NUMBERS if f"{name} sport" in values or f"{name} type" in values), None)
    protocol = protocol or next((name for name in NUMBERS if values.get("ip protocol") == name), None)
    if "ip saddr" not in values or protocol is None:
        return None
    ports = [int(values.get(f"{protocol} {end}", 0)) for end in ("sport", "dport")]
    packet = Packet(protocol, IPv4Address(values["ip saddr"]), IPv4Address(values["ip daddr"]), *ports)
    numbers = tuple(str(values.get(name, "")) for name in ("ip id", "icmp id"))
    return _Header(packet, (devices.get("iif", ""), devices.get("oif", "")), numbers)


# Interfaces -----------------------------------------------------------------------------------------------------------


def passings(capture: str, links: str, marked: MarkedPacket) -> tuple[Passing, ...]:
    """What tcpdump saw in one namespace: a capture file in base64, and `ip -o link` for the names of interfaces.

    Raises ParseError if it is no such file.
    """
    names = {int(match["index"]): match["name"] for line in links.splitlines() if (match := _LINK.match(line))}
    try:
        packets = parse_cooked(base64.b64decode(capture))
    except binascii.Error as error:
        raise ParseError("capture", "base64", str(error)) from error
    found = (passing(one, names, marked) for one in sorted(packets, key=lambda one: one.time))
    return tuple(one for one in found if one is not None)


def passing(seen: CookedPacket, names: Mapping[int, str], marked: MarkedPacket) -> Passing | None:
    """One captured packet; ``names`` are those of interfaces by their index. None for one that is not meant."""
    inner, outer = (seen.vxlan.inner, _packet(seen.packet)) if seen.vxlan else (seen.packet, None)
    packet = _packet(inner)
    if packet is None:
        return None
    is_answer = any(is_met(condition, inner) for condition in marked.answers)
    if not is_answer and not any(is_met(condition, inner) for condition in marked.requests):
        return None
    direction = Direction.REPLY if is_answer else Direction.FORWARD
    device = names.get(seen.interface, f"interface {seen.interface}")
    return Passing(direction, device, seen.is_outgoing, packet, outer, seen.time, _refusal(inner) if is_answer else "")


def _refusal(answer: Ipv4Packet) -> str:
    kind = answer.payload[:1]
    match PROTOCOLS.get(answer.protocol):
        case "icmp" if kind and kind[0] in ICMP_ERRORS:
            return f"ICMP {ICMP_ERRORS[kind[0]]}"
        case "tcp" if len(answer.payload) > TCP_FLAGS and answer.payload[TCP_FLAGS] & RST:
            return "RST"
        case "sctp" if answer.payload[SCTP_CHUNK : SCTP_CHUNK + 1] == bytes([ABORT]):
            return "ABORT"
    return ""


def _packet(found: Ipv4Packet) -> Packet | None:
    protocol = PROTOCOLS.get(found.protocol)
    if protocol is None:
        return None
    has_ports = protocol != "icmp"
    ports = [int.from_bytes(found.payload[at : at + 2], "big") if has_ports else 0 for at in (0, 2)]
    return Packet(protocol, found.source, found.destination, *ports)
