"""What the chains of nftables do to one packet, from ``nft -j list ruleset`` (libnftables-json(5)). Pure.

An expression that is not understood ends the walk as undecided, unless another condition of its rule keeps the packet
out, or the rule does nothing but count and log.
"""

import operator as ops
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from kubeproof.trace import routing
from kubeproof.trace.iptables_rules import masquerade_address
from kubeproof.trace.model import UNKNOWN_PORT, End, Outcome
from kubeproof.trace.owners import nft_text, owner_of_table
from kubeproof.trace.passing import INVALID, UNTRACKED, Decision, EndedError, Passing, undecided

DEEPEST = 16
_INERT = ("counter", "log", "comment", "quota", "last")
_ORDERS: dict[str, Callable[[Any, int], Any]] = {"<": ops.lt, ">": ops.gt, "<=": ops.le, ">=": ops.ge}
_BITWISE: dict[str, Callable[[int, int], int]] = {"|": ops.or_, "&": ops.and_, "^": ops.xor}
_PASSED, _RETURNED, _GOES_ON = "passed", "returned", "goes on"
Rule = Mapping[str, Any]


class _UnknownError(Exception):
    """An expression that is not understood."""


@dataclass
class Table:
    """A table of a family, its chains and sets by name."""

    family: str
    name: str
    chains: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    rules: dict[str, list[Rule]] = field(default_factory=dict)
    sets: dict[str, Mapping[str, Any]] = field(default_factory=dict)


def tables_of(objects: tuple[Mapping[str, Any], ...]) -> tuple[Table, ...]:
    """The tables of a ruleset."""
    found: dict[tuple[str, str], Table] = {}
    for item in objects:
        for kind, value in item.items():
            if kind == "table":
                found[value["family"], value["name"]] = Table(value["family"], value["name"])
            table = found.get((value.get("family"), value.get("table")))
            if table is None:
                continue
            if kind == "chain":
                table.chains[value["name"]] = value
            elif kind == "rule":
                table.rules.setdefault(value["chain"], []).append(value)
            elif kind in ("set", "map"):
                table.sets[value["name"]] = value
    return tuple(found.values())


@dataclass
class Run:
    """One table's chains at one hook."""

    table: Table
    passing: Passing

    def through(self, chain: str) -> None:
        """Send the packet through a base chain. Raises EndedError where that is its end."""
        if self._walk(chain, DEEPEST) == _PASSED:
            return
        if self.table.chains[chain].get("policy") == "drop":
            text = f"nft {self.table.family} {self.table.name} {chain}: policy drop"
            owner = owner_of_table(self.table.name)
            raise EndedError(Outcome(End.DROPPED, f"no rule of {chain} takes it, and its policy is drop", text, owner))

    def _walk(self, chain: str, depth: int) -> str:
        for rule in self.table.rules.get(chain, ()):
            done = self._rule(rule, depth)
            if done == _PASSED:
                return _PASSED
            if done == _RETURNED:
                return _GOES_ON
        return _GOES_ON

    def _rule(self, rule: Rule, depth: int) -> str:
        unknown: Any = None
        for statement in rule.get("expr", ()):
            name, value = _named(statement)
            if name in _INERT:
                continue
            try:
                if name == "match":
                    if not self._matches(value):
                        return _GOES_ON
                    continue
                if unknown is not None:
                    break
                done = self._statement(rule, name, value, depth)
            except _NotThereError:
                return _GOES_ON
            except _UnknownError:
                unknown = statement
                continue
            if done is not None:
                return done
        if unknown is not None and any(not self._is_harmless(each) for each in rule.get("expr", ())):
            raise self._undecided(rule, unknown)
        return _GOES_ON

    @staticmethod
    def _is_harmless(statement: Any) -> bool:
        return _named(statement)[0] in (*_INERT, "match", "limit")

    def _statement(self, rule: Rule, name: str, value: Any, depth: int) -> str | None:
        """Do one; None where the rule goes on."""
        if name in ("drop", "reject"):
            end = End.DROPPED if name == "drop" else End.REFUSED
            raise self._ended(rule, end, "dropped" if name == "drop" else "rejected")
        if name in ("dnat", "snat", "masquerade", "redirect"):
            self._translate(rule, name, value or {})
            return _PASSED
        match name:
            case "accept":
                self._decide(rule, "accepted")
                return _PASSED
            case "return":
                return _RETURNED
            case "jump" | "goto":
                return self._jump(name, value["target"], depth)
            case "vmap":
                return self._map(rule, value, depth)
            case "mangle":
                self._mangle(value)
            case "notrack":
                self.passing.tracked, self.passing.state = None, UNTRACKED
            case "continue":
                pass
            case _:
                raise _UnknownError
        return None

    def _jump(self, name: str, chain: str, depth: int) -> str | None:
        if depth == 0:
            raise _UnknownError
        done = self._walk(chain, depth - 1)
        return _PASSED if done == _PASSED else _RETURNED if name == "goto" else None

    def _map(self, rule: Rule, value: Mapping[str, Any], depth: int) -> str | None:
        key = self._value(value["key"])
        for element, verdict in self._elements(value["data"]):
            if _is_in(key, element):
                name, more = next(iter(verdict.items()))
                # What a map decides is the rule's doing.
                return self._statement({**rule, "what": f"vmap {value['data']} {_shown(element)}"}, name, more, depth)
        return None

    def _mangle(self, value: Mapping[str, Any]) -> None:
        key, to = value["key"], value["value"]
        if key == {"meta": {"key": "mark"}}:
            self.passing.mark = self._number(to)
        elif key == {"ct": {"key": "mark"}} and self.passing.tracked:
            self.passing.tracked.mark = self._number(to)
        elif "tcp option" not in key and "meta" not in key:  # these, as the MSS, change nothing that is looked at
            raise _UnknownError

    def _translate(self, rule: Rule, name: str, value: Mapping[str, Any]) -> None:
        passing = self.passing
        flags = value.get("flags", ())
        random = any(flag in flags for flag in ("random", "fully-random"))
        port = int(value["port"]) if isinstance(value.get("port"), int) else UNKNOWN_PORT if random else None
        if "port" in value and not isinstance(value["port"], int):
            raise _UnknownError
        if name == "masquerade":
            address = masquerade_address(passing)
        elif name == "redirect":
            own = passing.space.network.addresses_of(passing.in_device)
            address = next((each.ip for each in own), IPv4Address("127.0.0.1"))
        elif isinstance(value.get("addr"), str):
            address = IPv4Address(value["addr"])
        else:
            raise _UnknownError
        if name in ("masquerade", "snat"):
            passing.send_as(address, port)
            self._decide(rule, f"SNAT to {address}")
        else:
            passing.send_to(address, port)
            self._decide(rule, f"DNAT to {address}:{passing.packet.destination_port}")

    # Conditions

    def _matches(self, match: Mapping[str, Any]) -> bool:
        left, right, operator = match["left"], match["right"], match.get("op", "==")
        value = self._value(left)
        if operator in _ORDERS:
            return bool(_ORDERS[operator](value, self._number(right)))
        if operator not in ("==", "!=", "in"):
            raise _UnknownError
        return self._is_among(value, right) is (operator != "!=")

    def _is_among(self, value: Any, right: Any) -> bool:
        if isinstance(right, str) and right.startswith("@"):
            return any(_is_in(value, element) for element, _ in self._elements(right))
        if isinstance(right, dict) and "set" in right:
            right = right["set"]
        if isinstance(right, list):
            return any(_is_in(value, element) for element in right)
        return _is_in(value, right)

    def _elements(self, named: Any) -> Iterator[tuple[Any, Any]]:
        """Elements of a set, or with their data of a map."""
        if isinstance(named, dict):
            elements = named.get("set", ())
        else:
            found = self.table.sets.get(str(named).removeprefix("@"))
            if found is None:
                raise _UnknownError
            elements = found.get("elem", ())
        for element in elements:
            key, data = element if isinstance(element, list) else (element, None)
            yield (key["elem"]["val"] if isinstance(key, dict) and "elem" in key else key), data

    def _value(self, left: Any) -> Any:
        """What an expression is for this packet. Raises _UnknownError, and _NotThereError where the packet has none."""
        if isinstance(left, dict) and len(left) == 1:
            name, value = next(iter(left.items()))
            if name == "concat":
                return tuple(self._value(part) for part in value)
            if name == "&":
                return self._value(value[0]) & self._number(value[1])
            if name in _READERS:
                return _READERS[name](value, self.passing)
        raise _UnknownError

    def _number(self, value: Any) -> int:
        """A number, which may be worked out of the packet's mark."""
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, dict) and len(value) == 1:
            name, parts = next(iter(value.items()))
            if name in _BITWISE:
                return _BITWISE[name](self._number(parts[0]), self._number(parts[1]))
            return int(self._value(value))
        raise _UnknownError

    # What came of it

    def _decide(self, rule: Rule, what: str) -> None:
        self.passing.decisions.append(Decision(what, self._text(rule, what), owner_of_table(self.table.name)))

    def _text(self, rule: Rule, what: str) -> str:
        return nft_text(rule, f"{rule['what']} {what}" if "what" in rule else what)

    def _ended(self, rule: Rule, end: End, what: str) -> EndedError:
        return EndedError(Outcome(end, what, self._text(rule, what), owner_of_table(self.table.name)))

    def _undecided(self, rule: Rule, what: Any) -> EndedError:
        words = " ".join(map(str, what.values())) if isinstance(what, dict) else str(what)
        text = nft_text(rule, words[:80])
        return undecided(f"an expression is not understood: {words[:80]}", text, owner_of_table(self.table.name))


def _named(statement: Any) -> tuple[str, Any]:
    """A statement's name and what it is given; the ones without are texts."""
    if isinstance(statement, dict):
        name, value = next(iter(statement.items()))
        return str(name), value
    return str(statement), None


class _NotThereError(Exception):
    """A header that this packet does not have."""


def _is_in(value: Any, element: Any) -> bool:
    """Whether a value is an element of a set: itself, in a prefix or in a range; of several parts each."""
    if isinstance(value, frozenset):  # states or flags, of which a rule may also ask for several at once
        if not isinstance(element, str):
            raise _UnknownError
        return element in value
    if isinstance(value, tuple):
        parts = element.get("concat", ()) if isinstance(element, dict) else ()
        return len(parts) == len(value) and all(map(_is_in, value, parts))
    if isinstance(element, dict):
        if "prefix" in element:
            network = f"{element['prefix']['addr']}/{element['prefix']['len']}"
            return isinstance(value, IPv4Address) and value in IPv4Network(network, strict=False)
        if "range" in element:
            first, last = (type(value)(end) for end in element["range"])
            return bool(first <= value <= last)
        raise _UnknownError
    if isinstance(value, str) and isinstance(element, str) and element.endswith("*"):
        return value.startswith(element[:-1])
    return str(value) == str(element)


def _shown(element: Any) -> str:
    return str(element) if not isinstance(element, dict) else " ".join(map(str, element.values()))


def _meta(value: Mapping[str, Any], passing: Passing) -> Any:
    match value.get("key"):
        case "iifname" | "iif":
            return passing.in_device
        case "oifname" | "oif":
            return passing.out_device
        case "l4proto":
            return passing.packet.protocol
        case "nfproto":
            return "ipv4"
        case "protocol":
            return "ip"
        case "mark":
            return passing.mark
        case "pkttype" if not passing.is_frame:
            return "host"
    raise _UnknownError


def _payload(value: Mapping[str, Any], passing: Passing) -> Any:
    packet = passing.packet
    protocol, name = value.get("protocol"), value.get("field")
    if protocol == "ip":
        if name in ("saddr", "daddr"):
            return packet.source if name == "saddr" else packet.destination
        if name == "protocol":
            return packet.protocol
    if (protocol, name) == ("ether", "type"):
        return "ip"
    if protocol in ("ip6", "arp", "icmpv6", "vlan"):
        raise _NotThereError
    return _transport(str(protocol), str(name), passing)


def _transport(protocol: str, name: str, passing: Passing) -> Any:
    packet = passing.packet
    if (protocol, name) not in _FIELDS:
        raise _UnknownError
    if protocol not in (packet.protocol, "th") or (protocol == "th" and packet.protocol == "icmp"):
        raise _NotThereError
    if name == "type":
        return "echo-reply" if passing.is_reply else "echo-request"
    if name == "flags":
        return frozenset({"syn", "ack"} if passing.is_reply else {"syn"})
    return _known_port(packet.source_port if name == "sport" else packet.destination_port)


_FIELDS = {(protocol, name) for protocol in ("tcp", "udp", "sctp", "th") for name in ("sport", "dport")} | {
    ("icmp", "type"),
    ("tcp", "flags"),
}


def _known_port(port: int) -> int:
    if port == UNKNOWN_PORT:
        raise _UnknownError
    return port


def _ct(value: Mapping[str, Any], passing: Passing) -> Any:
    """Of frames that are not known to be tracked yet, nf_conntrack_bridge may know the connection all the same."""
    if passing.is_frame and passing.tracked is None and passing.state != INVALID:
        raise _UnknownError
    return _connection(value, passing)


def _connection(value: Mapping[str, Any], passing: Passing) -> Any:
    key, tracked = value.get("key"), passing.tracked
    if key == "state":
        return frozenset((passing.state.lower(),))
    if tracked is None:
        raise _NotThereError
    if key == "mark":
        return tracked.mark
    if key == "direction":
        return "reply" if passing.is_reply else "original"
    if key == "status":
        found = {"snat"} if tracked.is_source_translated else set()
        return frozenset(found | ({"dnat"} if tracked.is_destination_translated else set()))
    if value.get("dir") in ("original", "reply"):
        packet = tracked.original if value["dir"] == "original" else tracked.reply
        if key in ("ip saddr", "ip daddr"):
            return packet.source if key == "ip saddr" else packet.destination
        if key in ("proto-src", "proto-dst"):
            return _known_port(packet.source_port if key == "proto-src" else packet.destination_port)
        if key == "protocol":
            return packet.protocol
    raise _UnknownError


def _fib(value: Mapping[str, Any], passing: Passing) -> Any:
    flags = value.get("flags", [])
    names = [flags] if isinstance(flags, str) else list(flags)
    if value.get("result") != "type" or names not in (["daddr"], ["saddr"]):
        raise _UnknownError
    address = passing.packet.destination if names == ["daddr"] else passing.packet.source
    return routing.type_of(passing.space, address)


def _numgen(value: Mapping[str, Any], passing: Passing) -> int:
    """A number by which kube-proxy's mode nftables chooses an endpoint."""
    if value.get("mode") != "random":
        raise _UnknownError
    count = int(value["mod"])
    return int(value.get("offset", 0)) + (passing.chance.choose([1 / count] * count) if count > 1 else 0)


_READERS: dict[str, Callable[[Mapping[str, Any], Passing], Any]] = {
    "meta": _meta,
    "payload": _payload,
    "ct": _ct,
    "fib": _fib,
    "numgen": _numgen,
}
