"""Rules in a node's kernel that are no part of Kubernetes, and whether they may be about its packets. Pure."""

import json
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any, TypeVar

from kubeproof.state.errors import ParseError
from kubeproof.state.iptables import Match, Ports, Rule, Ruleset
from kubeproof.state.verdict import is_named

T = TypeVar("T")
INTERFERING = ("drop", "reject", "redirect", "dnat", "queue", "notrack")
"""Statements of nftables after which a packet does not go on as it came."""
REFUSED = ("DROP", "REJECT", "QUEUE", "NFQUEUE", "NOTRACK", "CT", "TARPIT")
TRANSLATED = ("REDIRECT", "DNAT", "NETMAP", "TPROXY", "ACCEPT", "RETURN")
"""Targets before KUBE-SERVICES after which kube-proxy's rules do not see a packet, or see another one."""
OWN_TABLES = ("ip filter", "ip nat", "ip mangle", "ip raw", "ip security", "inet firewalld")
"""nft tables that are iptables' or firewalld's, looked at in another way."""
TRACE_TABLE = "kubeproof_trace_"
"""Begins the name of the table by which a packet is watched (`./inv trace`); its nonce follows, as two traces at once
have their own. It does nothing else to packets."""
OWN_PRIORITIES = (0, 32766, 32767)
"""Of the kernel's own rules: local, main, default (ip-rule(8))."""
NO_WAY = ("unreachable", "blackhole", "prohibit")
LOSSY = ("netem", "tbf", "ingress", "clsact", "blackhole", "police")
_UNKNOWN_MATCHES = ("--match-set", "--uid-owner", "--gid-owner", "--mac-source", "--cgroup", "--path")
"""Matches that only name some packets of which nobody knows whether they are the cluster's."""


@dataclass(frozen=True)
class Interest:
    """What of a node's traffic is the cluster's."""

    networks: tuple[IPv4Network, ...]
    ports: frozenset[int]
    devices: tuple[str, ...]
    chains: tuple[str, ...]
    """Prefixes of iptables chains that are its own, or of what is known to do it no harm."""

    def has_network(self, network: IPv4Network) -> bool:
        return any(network.overlaps(own) for own in self.networks)


# nftables -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NftRule:
    """A rule that ends a packet's way, or a chain's policy that does (``handle`` is 0)."""

    family: str
    table: str
    chain: str
    handle: int
    what: str
    matches: tuple[tuple[str, str, str], ...] = ()
    """Field (such as "tcp dport"), operator and value of each condition that could be read."""

    @property
    def removal(self) -> str:
        words = ["nft", "delete", "rule", self.family, self.table, self.chain, "handle", str(self.handle)]
        if not self.handle:
            words = ["nft", "add", "chain", self.family, self.table, self.chain, "{ policy accept; }"]
        return shlex.join(words)

    def __str__(self) -> str:
        conditions = "".join(f"{name} {'' if op == '==' else op + ' '}{value} " for name, op, value in self.matches)
        return f"nft {self.family} {self.table} {self.chain}: {conditions}{self.what}"

    def concerns(self, interest: Interest) -> bool:
        """Whether it may be about packets of the cluster: no condition of it keeps all of them out."""
        return all(_may_hold(*match, interest) for match in self.matches)


def parse_nft(text: str) -> tuple[NftRule, ...]:
    """Interfering rules, from lines of ``nft -j list table``. Raises ParseError."""
    lines = [line for line in text.splitlines() if line.strip()]
    return tuple(rule for line in lines for rule in _each("nft -j list table", line, _table))


def _each(source: str, text: str, make: Callable[[Any], Iterable[T]]) -> tuple[T, ...]:
    """What is made of JSON. Raises ParseError for one of another shape."""
    try:
        return tuple(make(json.loads(text or "[]")))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ParseError(source, "top", f"cannot be read: {error}") from error


def _table(found: Mapping[str, list[Mapping[str, Any]]]) -> Iterator[NftRule]:
    for item in found["nftables"]:
        rule, chain = item.get("rule"), item.get("chain")
        if chain and chain.get("policy") == "drop" and chain.get("hook"):
            yield NftRule(chain["family"], chain["table"], chain["name"], 0, f"policy drop at hook {chain['hook']}")
        if rule:
            yield from _rule(rule)


def _rule(rule: Mapping[str, Any]) -> Iterator[NftRule]:
    statements = [statement for statement in rule.get("expr", []) if isinstance(statement, dict)]
    what = next((name for statement in statements for name in statement if name in INTERFERING), None)
    if what is not None:
        matches = tuple(_condition(statement["match"]) for statement in statements if "match" in statement)
        yield NftRule(rule["family"], rule["table"], rule["chain"], int(rule["handle"]), what, matches)


def _condition(match: Mapping[str, Any]) -> tuple[str, str, str]:
    left, right = match.get("left"), match.get("right")
    return _field(left), str(match.get("op", "==")), _value(right)


def _field(left: object) -> str:
    if isinstance(left, dict):
        payload, meta = left.get("payload"), left.get("meta")
        if isinstance(payload, dict):
            protocol = payload.get("protocol", f"@{payload.get('base')}")
            return f"{protocol} {payload.get('field', payload.get('offset'))}"
        if isinstance(meta, dict):
            return f"meta {meta.get('key')}"
        return " ".join(left)
    return str(left)


def _value(right: object) -> str:
    """As nft writes it: a prefix, a range, a set, or a plain value."""
    if isinstance(right, dict):
        if "prefix" in right:
            return f"{right['prefix'].get('addr')}/{right['prefix'].get('len')}"
        if "range" in right:
            return "-".join(map(str, right["range"]))
        if "set" in right:
            return ", ".join(map(_value, right["set"])) if isinstance(right["set"], list) else f"@{right['set']}"
    return str(right)


def _may_hold(name: str, operator: str, value: str, interest: Interest) -> bool:
    values = value.split(", ")
    if value.startswith("@"):
        return True
    if name in ("ip saddr", "ip daddr", "arp saddr ip", "arp daddr ip"):
        found = any(map(interest.has_network, _networks(values)))
    elif name.split()[-1] in ("dport", "sport"):
        found = any(_has_port(each, interest.ports) for each in values)
    elif name in ("meta iifname", "meta oifname", "meta iif", "meta oif"):
        found = any(is_named(device, each.replace("*", "+")) for each in values for device in interest.devices)
    elif name.startswith("ip6 ") or value in ("ip6", "ipv6"):
        found = False
    else:
        return True
    return found if operator in ("==", "in") else True


def _networks(values: Iterable[str]) -> Iterator[IPv4Network]:
    for value in values:
        try:
            yield IPv4Network(value, strict=False)
        except ValueError:
            continue


def _has_port(value: str, ports: frozenset[int]) -> bool:
    first, _, last = value.replace(":", "-").partition("-")
    if not first.isdecimal():
        return True
    return any(int(first) <= port <= int(last if last.isdecimal() else first) for port in ports)


# iptables -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """An iptables rule and its table."""

    table: str
    rule: Rule

    def __str__(self) -> str:
        return f"iptables -t {self.table}: {self.rule.text or self.rule}"


def interfering(ruleset: Ruleset, interest: Interest) -> Iterator[Found]:
    """Rules of somebody else that refuse packets, or hand them on past kube-proxy's, which may be the cluster's."""
    for name, table in ruleset.tables.items():
        for chain in table.chains.values():
            if chain.policy is None:
                continue
            targets: tuple[str, ...] = REFUSED
            rules = chain.rules
            if name == "nat":
                if chain.name not in ("PREROUTING", "OUTPUT"):
                    continue
                targets = TRANSLATED
                at = next((number for number, rule in enumerate(rules) if rule.target == "KUBE-SERVICES"), len(rules))
                rules = rules[:at]
            for rule in ruleset.walk(name, rules, lambda rule: _concerns(rule, interest)):
                # In a chain that is called, RETURN only leads back.
                if rule.target in targets and (rule.target != "RETURN" or rule.chain == chain.name):
                    yield Found(name, rule)


def _concerns(rule: Rule, interest: Interest) -> bool:
    if rule.target.startswith(interest.chains):
        return False
    if any(word in _UNKNOWN_MATCHES for word in rule.other):
        return False
    if rule.conntrack_states and not rule.conntrack_states.negated and "NEW" not in rule.conntrack_states.value:
        return False
    several = [rule.other[at + 1] for at, word in enumerate(rule.other[:-1]) if word in ("--dports", "--sports")]
    ports = [part for words in several for part in words.split(",")]
    sides = all(
        side is None or side.negated or interest.has_network(side.value) for side in (rule.source, rule.destination)
    )
    devices = all(
        device is None or device.negated or any(is_named(own, device.value) for own in interest.devices)
        for device in (rule.in_interface, rule.out_interface)
    )
    return (
        sides and devices and _ports(rule, interest) and (not ports or any(_has_port(p, interest.ports) for p in ports))
    )


def _ports(rule: Rule, interest: Interest) -> bool:
    def may(match: Match[Ports] | None) -> bool:
        return match is None or match.negated or any(match.value.first <= p <= match.value.last for p in interest.ports)

    return may(rule.destination_port) and may(rule.source_port)


# Policy routing and traffic control -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class IpRule:
    """A rule of policy routing; ``selector`` is as `ip rule` takes it."""

    priority: int
    selector: str
    table: str
    networks: tuple[IPv4Network, ...]
    """What it is about by source and destination; empty for everything."""

    @property
    def removal(self) -> str:
        return f"ip rule del pref {self.priority} {self.selector}".strip()

    def __str__(self) -> str:
        return f"ip rule {self.priority}: {self.selector} {self.table}".replace("  ", " ")


def parse_ip_rules(text: str) -> tuple[IpRule, ...]:
    """Rules beside the kernel's own, from ``ip -4 -j rule``. Raises ParseError."""
    return _each(
        "ip rule", text, lambda items: map(_ip_rule, (i for i in items if i["priority"] not in OWN_PRIORITIES))
    )


def _ip_rule(item: Mapping[str, Any]) -> IpRule:
    sides = {"from": ("src", "srclen"), "to": ("dst", "dstlen")}
    named = {
        word: f"{item[key]}/{item.get(length, 32)}"
        for word, (key, length) in sides.items()
        if item.get(key, "all") != "all"
    }
    more = {word: str(item[word]) for word in ("fwmark", "iif", "oif") if word in item}
    selector = " ".join(f"{word} {value}" for word, value in {**named, **more}.items())
    networks = tuple(IPv4Network(value, strict=False) for value in named.values())
    table = str(item.get("action") or f"lookup {item.get('table', 'main')}")
    return IpRule(int(item["priority"]), selector, table, networks)


def parse_shaped(text: str) -> tuple[tuple[str, str], ...]:
    """Device and kind of what may lose packets, from ``tc -j qdisc show``. Raises ParseError."""
    return _each("tc qdisc", text, lambda items: ((i["dev"], i["kind"]) for i in items if i.get("kind") in LOSSY))
