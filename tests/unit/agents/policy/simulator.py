"""Reads the nftables text that podnet emits and walks its chains for one packet of a connection, as the kernel does.

It knows the subset that is emitted and fails on anything else, so that it cannot agree by overlooking something.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network

PROTOCOL_WORDS = {"tcp": "TCP", "udp": "UDP", "sctp": "SCTP", "icmp": "ICMP"}
HEAD = ["table inet podnet", "delete table inet podnet", "table inet podnet {"]


@dataclass(frozen=True)
class Packet:
    """A packet in the forward hook. ``client``, ``endpoint`` and ``port`` are conntrack's view of its connection.

    ``state`` is the ct state; without a connection (invalid, untracked) only source and destination can be matched.
    """

    client: IPv4Address
    endpoint: IPv4Address
    protocol: str
    port: int = 0
    state: str = "new"
    reply: bool = False
    iif: str = "cni0"
    oif: str = "cni0"
    ipv6: bool = False

    @property
    def source(self) -> IPv4Address:
        return self.endpoint if self.reply else self.client

    @property
    def destination(self) -> IPv4Address:
        return self.client if self.reply else self.endpoint


@dataclass
class NftSet:
    """A set or verdict map: single keys with their verdicts, and inclusive ranges."""

    keys: dict[tuple[int, ...], str] = field(default_factory=dict)
    ranges: list[tuple[int, int]] = field(default_factory=list)

    def add(self, element: str) -> None:
        key, _, verdict = element.partition(" : ")
        parts = key.split(" . ")
        bounds = [_bounds(part) for part in parts]
        if len(parts) == 1 and bounds[0][0] != bounds[0][1]:
            self.ranges.append(bounds[0])
            self.ranges.sort()
            return
        assert all(first == last for first, last in bounds), element
        key_numbers = tuple(first for first, _ in bounds)
        assert key_numbers not in self.keys, f"{element} is there twice: nft refuses that"
        self.keys[key_numbers] = verdict

    def find(self, *key: int) -> str | None:
        """The verdict, "" in a set, None where it is missing."""
        if key in self.keys:
            return self.keys[key]
        at = bisect_right(self.ranges, (key[0], 2**32))
        return "" if len(key) == 1 and at and key[0] <= self.ranges[at - 1][1] else None


class Simulator:
    """One node's table."""

    def __init__(self, text: str) -> None:
        self.sets: dict[str, NftSet] = {}
        self.chains: dict[str, list[list[str]]] = {}
        self.priorities: dict[int, str] = {}
        lines = text.splitlines()
        assert lines[:3] == HEAD
        assert lines[-1] == "}"
        for kind, name, body in _blocks("\n".join(lines[3:-1])):
            if kind == "chain":
                self._add_chain(name, body)
            else:
                self.sets[name] = _read_set(body)

    def passes(self, packet: Packet) -> bool:
        """Whether both base chains let the packet through, in the order of their priorities."""
        return all(self._base(self.priorities[number], packet) for number in sorted(self.priorities))

    def _add_chain(self, name: str, body: list[str]) -> None:
        rules = [line.strip() for line in body]
        if rules and rules[0].startswith("type "):
            hook = re.fullmatch(r"type filter hook forward priority (-?\d+); policy accept;", rules.pop(0))
            assert hook, name
            self.priorities[int(hook[1])] = name
        self.chains[name] = [_words(rule) for rule in rules]

    def _base(self, chain: str, packet: Packet) -> bool:
        return self._walk(chain, packet) != "drop"

    def _walk(self, chain: str, packet: Packet) -> str:
        """``accept``, ``drop``, or ``return`` at the end of a chain (for a base chain: its policy, accept)."""
        for rule in self.chains[chain]:
            verdict = self._rule(rule, packet)
            if verdict in ("accept", "drop"):
                return verdict
            kind, _, target = verdict.partition(" ")
            if kind == "goto":
                return self._walk(target, packet)
            if kind == "jump":
                inner = self._walk(target, packet)
                if inner != "return":
                    return inner
        return "return"

    def _rule(self, words: list[str], packet: Packet) -> str:
        """The rule's verdict, "" where it does not match."""
        words = list(words)
        while words:
            if words[0] in ("accept", "drop"):
                assert len(words) == 1
                return words[0]
            if words[0] in ("jump", "goto"):
                assert len(words) == 2
                return " ".join(words)
            outcome = self._match(words, packet)
            if isinstance(outcome, str):
                assert not words
                return outcome
            if not outcome:
                return ""
        raise AssertionError("a rule without a verdict")

    def _match(self, words: list[str], packet: Packet) -> bool | str:
        """Takes one match off the words; a verdict where it is a look-up in a verdict map."""
        keys = [_take_key(words)]
        while words[0] == ".":
            words.pop(0)
            keys.append(_take_key(words))
        values = [key(packet) for key in keys]
        operand = words.pop(0)
        if operand == "vmap":
            found = self.sets[words.pop(0).removeprefix("@")]
            return False if None in values else found.find(*_numbers(values)) or False
        if None in values:
            return False
        if operand.startswith("@"):
            return self.sets[operand[1:]].find(*_numbers(values)) is not None
        (value,) = values
        if isinstance(value, str):
            return value in operand.strip('"').split(",")
        first, last = _bounds(operand)
        assert isinstance(value, int)
        return first <= value <= last


Value = int | str | None


def _judged(read: Callable[[Packet], int]) -> Callable[[Packet], Value]:
    """What conntrack holds can be matched only where there is a connection, and of IPv4 only where it is one."""
    return lambda packet: None if packet.state in ("invalid", "untracked") or packet.ipv6 else read(packet)


def _ipv4(read: Callable[[Packet], int]) -> Callable[[Packet], Value]:
    return lambda packet: None if packet.ipv6 else read(packet)


KEYS: dict[str, Callable[[Packet], Value]] = {
    "ct original ip saddr": _judged(lambda packet: int(packet.client)),
    "ct reply ip saddr": _judged(lambda packet: int(packet.endpoint)),
    "ct reply proto-src": _judged(lambda packet: packet.port),
    "ct state": lambda packet: packet.state,
    "ip saddr": _ipv4(lambda packet: int(packet.source)),
    "ip daddr": _ipv4(lambda packet: int(packet.destination)),
    "meta l4proto": lambda packet: packet.protocol.lower(),
    "meta nfproto": lambda packet: "ipv6" if packet.ipv6 else "ipv4",
    "iifname": lambda packet: packet.iif,
    "oifname": lambda packet: packet.oif,
}


def _take_key(words: list[str]) -> Callable[[Packet], Value]:
    for length in (4, 3, 2, 1):
        name = " ".join(words[:length])
        if name in KEYS:
            del words[:length]
            return KEYS[name]
    raise AssertionError(f"unknown match: {' '.join(words)}")


def _numbers(values: list[Value]) -> Iterator[int]:
    for value in values:
        assert isinstance(value, int)
        yield value


def _words(rule: str) -> list[str]:
    text, _, comment = rule.partition(" comment ")
    assert not comment or re.fullmatch(r'"[-a-z0-9./ ]{1,127}"', comment), comment
    return text.split()


def _blocks(text: str) -> Iterator[tuple[str, str, list[str]]]:
    for kind, name, body in re.findall(r"^\t(set|map|chain) (\S+) \{\n(.*?)^\t\}$", text, re.MULTILINE | re.DOTALL):
        yield kind, name, body.splitlines()


def _read_set(body: list[str]) -> NftSet:
    text = " ".join(line.strip() for line in body)
    found = re.fullmatch(r"type [a-z0-9_ .:]+?(?P<interval> flags interval)? elements = \{ (?P<elements>.+) \}", text)
    assert found, text
    result = NftSet()
    for element in found["elements"].split(", "):
        result.add(element)
    assert found["interval"] or not result.ranges
    return result


def _bounds(text: str) -> tuple[int, int]:
    if "/" in text:
        network = IPv4Network(text)
        return int(network.network_address), int(network.broadcast_address)
    first, _, last = text.partition("-")
    return _number(first), _number(last or first)


def _number(text: str) -> int:
    return int(IPv4Address(text)) if "." in text else int(text)
