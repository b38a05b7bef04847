"""iptables rules as values, parsed from iptables-save(8).

A rule keeps every match that it has: those that the model has no field for are in :attr:`Rule.other`, so that nobody
takes a rule with one more condition for the rule without it. Comments do not take part in comparisons.
"""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Generic, TypeVar

from kubeproof.network.errors import ParseError

T = TypeVar("T")
SOURCE = "iptables-save"
NF_TABLES = "nf_tables"
LEGACY = "legacy"


@dataclass(frozen=True)
class Match(Generic[T]):
    """A condition on one property, or its opposite."""

    value: T
    negated: bool = False

    def __str__(self) -> str:
        return f"{'! ' if self.negated else ''}{self.value}"


@dataclass(frozen=True)
class Ports:
    """A range of ports, ends included."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}:{self.last}"


@dataclass(frozen=True)
class Mark:
    """A packet mark under a mask."""

    value: int
    mask: int

    def __str__(self) -> str:
        return f"{self.value:#x}/{self.mask:#x}"


@dataclass(frozen=True)
class Endpoint:
    """An address and, where given, a port that DNAT sends to."""

    address: IPv4Address
    port: int | None

    def __str__(self) -> str:
        return str(self.address) if self.port is None else f"{self.address}:{self.port}"


@dataclass(frozen=True)
class Rule:
    """One rule. No target means that the rule only counts. ``probability`` is that of `statistic --mode random`."""

    chain: str
    target: str = ""
    goto: bool = False
    source: Match[IPv4Network] | None = None
    destination: Match[IPv4Network] | None = None
    in_interface: Match[str] | None = None
    out_interface: Match[str] | None = None
    protocol: Match[str] | None = None
    source_port: Match[Ports] | None = None
    destination_port: Match[Ports] | None = None
    conntrack_states: Match[frozenset[str]] | None = None
    mark: Match[Mark] | None = None
    source_type: Match[str] | None = None
    destination_type: Match[str] | None = None
    probability: float | None = None
    to_destination: Endpoint | None = None
    set_mark: Mark | None = None
    random_fully: bool = False
    other: tuple[str, ...] = ()
    comment: str | None = field(default=None, compare=False)
    text: str = field(default="", compare=False)
    """The rule as iptables-save wrote it."""

    def __str__(self) -> str:
        """The rule as far as it decides, the same for equal rules: no comment, no module names."""
        words = [f"-A {self.chain}", *self._conditions(), *self.other]
        if self.target:
            words.append(f"{'-g' if self.goto else '-j'} {self.target}")
        if self.to_destination is not None:
            words.append(f"--to-destination {self.to_destination}")
        if self.set_mark is not None:
            words.append(f"--set-xmark {self.set_mark}")
        if self.random_fully:
            words.append("--random-fully")
        return " ".join(words)

    def _conditions(self) -> Iterator[str]:
        states = self.conntrack_states
        matches: tuple[tuple[str, Match[Any] | None], ...] = (
            ("-s", self.source),
            ("-d", self.destination),
            ("-i", self.in_interface),
            ("-o", self.out_interface),
            ("-p", self.protocol),
            ("--sport", self.source_port),
            ("--dport", self.destination_port),
            ("--ctstate", Match(",".join(sorted(states.value)), states.negated) if states else None),
            ("--mark", self.mark),
            ("--src-type", self.source_type),
            ("--dst-type", self.destination_type),
        )
        for option, match in matches:
            if match is not None:
                yield f"{'! ' if match.negated else ''}{option} {match.value}"
        if self.probability is not None:
            yield f"--probability {self.probability}"


@dataclass(frozen=True)
class Chain:
    """A chain; only a built-in one has a policy."""

    name: str
    policy: str | None
    rules: tuple[Rule, ...] = ()


@dataclass(frozen=True)
class Table:
    name: str
    chains: Mapping[str, Chain]


@dataclass(frozen=True)
class Ruleset:
    """Everything that one iptables variant holds. ``variant`` is nf_tables, legacy, or "" where none was printed."""

    variant: str = ""
    version: str = ""
    tables: Mapping[str, Table] = field(default_factory=dict)
    incompatible: tuple[str, ...] = ()
    """Tables with native nftables rules that iptables cannot show."""

    def chain(self, table: str, name: str) -> Chain | None:
        found = self.tables.get(table)
        return None if found is None else found.chains.get(name)

    def rules(self, table: str, chain: str) -> tuple[Rule, ...]:
        """The rules of a chain in order; none where there is no such chain."""
        found = self.chain(table, chain)
        return () if found is None else found.rules

    @property
    def rule_count(self) -> int:
        return sum(len(chain.rules) for table in self.tables.values() for chain in table.chains.values())


_GENERATED = re.compile(
    r"# Generated by iptables(?:-nft|-legacy)?-save v(?P<version>\S+)(?: \((?P<variant>\S+)\))? on "
)
_INCOMPATIBLE = re.compile(r"# Table `(?P<table>\w+)' is incompatible")
_CHAIN = re.compile(r":(?P<name>\S+) (?P<policy>\S+)(?: \[\d+:\d+\])?$")
_APPEND = re.compile(r"(?:\[\d+:\d+\] )?(?P<rule>-A .+)$")


def parse_iptables_save(text: str) -> Ruleset:
    """Parse ``iptables-save``, with or without counters. Before 1.8 no variant is printed: that is legacy.

    Raises ParseError with the line's number.
    """
    parser = _Parser()
    for number, line in enumerate(text.splitlines(), start=1):
        parser.take(number, line.strip())
    return parser.finish()


class _Parser:
    """Collects tables line by line."""

    def __init__(self) -> None:
        self.variant = ""
        self.version = ""
        self.incompatible: list[str] = []
        self.tables: dict[str, dict[str, tuple[str | None, list[Rule]]]] = {}
        self.table: str | None = None

    def take(self, number: int, line: str) -> None:
        where = f"line {number}"
        if not line:
            return
        if line.startswith("#"):
            self._comment(line)
        elif line.startswith("*"):
            self.table = line[1:]
            self.tables.setdefault(self.table, {})
        elif line == "COMMIT":
            self.table = None
        else:
            self._content(where, line)

    def _comment(self, line: str) -> None:
        if generated := _GENERATED.match(line):
            self.version = generated["version"]
            self.variant = generated["variant"] or LEGACY
        elif incompatible := _INCOMPATIBLE.match(line):
            self.incompatible.append(incompatible["table"])

    def _content(self, where: str, line: str) -> None:
        if self.table is None:
            raise ParseError(SOURCE, where, f"stands outside of a table: {line[:60]!r}")
        chains = self.tables[self.table]
        if declared := _CHAIN.match(line):
            policy = None if declared["policy"] == "-" else declared["policy"]
            chains.setdefault(declared["name"], (policy, []))
        elif appended := _APPEND.match(line):
            rule = parse_rule(appended["rule"], where)
            if rule.chain not in chains:
                raise ParseError(SOURCE, where, f"no chain {rule.chain} in table {self.table}")
            chains[rule.chain][1].append(rule)
        else:
            raise ParseError(SOURCE, where, f"is neither chain nor rule: {line[:60]!r}")

    def finish(self) -> Ruleset:
        if self.table is not None:
            raise ParseError(SOURCE, "end", f"table {self.table} has no COMMIT: the text was cut off")
        tables = {
            name: Table(name, {chain: Chain(chain, policy, tuple(rules)) for chain, (policy, rules) in chains.items()})
            for name, chains in self.tables.items()
        }
        return Ruleset(self.variant, self.version, tables, tuple(self.incompatible))


def parse_rule(text: str, where: str = "rule") -> Rule:
    """Parse one rule as ``-A CHAIN …``. Raises ParseError."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ParseError(SOURCE, where, f"{error}: {text[:60]!r}") from None
    if len(words) < 2 or words[0] != "-A":
        raise ParseError(SOURCE, where, f"does not begin with -A CHAIN: {text[:60]!r}")
    fields: dict[str, object] = {"chain": words[1], "text": text}
    other: list[str] = []
    module = ""
    for negated, option, arguments in _options(words[2:], where):
        if option == "-m":
            module = arguments[0] if arguments else ""
        elif not _known(fields, module, negated, option, arguments, where):
            other.extend(["!"] * negated + [option, *arguments])
    return Rule(**fields, other=tuple(other))  # type: ignore[arg-type]  # the readers give each field its type


def _options(words: list[str], where: str) -> list[tuple[bool, str, list[str]]]:
    """Options with their arguments, and whether a "!" stands before them."""
    found: list[tuple[bool, str, list[str]]] = []
    negated = False
    for position, word in enumerate(words):
        takes_text = bool(found) and found[-1][1] == "--comment" and not found[-1][2]
        if takes_text:
            found[-1][2].append(word)
        elif word == "!":
            negated = True
        elif re.match(r"--?[a-zA-Z]", word):
            found.append((negated, word, []))
            negated = False
        elif not found:
            raise ParseError(SOURCE, where, f"word {position + 1} {word!r} belongs to no option")
        else:
            # iptables-save writes "!" only before an option; older matches print it before the value.
            if negated:
                found[-1] = (True, found[-1][1], found[-1][2])
                negated = False
            found[-1][2].append(word)
    return found


def _known(
    fields: dict[str, object], module: str, negated: bool, option: str, arguments: list[str], where: str
) -> bool:
    """Put an option that the model knows into its field; False if the model has none for it."""
    if option == "--random-fully" and not arguments:
        fields["random_fully"] = True
        return True
    if option == "--mode" and arguments == ["random"]:
        return True
    reader = _READERS.get((module, option)) or _READERS.get(("", option))
    if reader is None or len(arguments) != 1:
        return False
    name, read = reader
    try:
        value = read(arguments[0])
    except ValueError as error:
        raise ParseError(SOURCE, where, f"{option} {arguments[0]!r}: {error}") from None
    if name in fields:
        return False
    if name in _NEGATABLE:
        fields[name] = Match(value, negated)
    elif negated:
        return False
    else:
        fields[name] = value
    if option == "-g":
        fields["goto"] = True
    return True


def _ports(text: str) -> Ports:
    first, _, last = text.partition(":")
    return Ports(int(first or 0), int(last or first or 65535))


def _mark(text: str) -> Mark:
    value, _, mask = text.partition("/")
    return Mark(int(value, 0), int(mask, 0) if mask else 0xFFFFFFFF)


def _endpoint(text: str) -> Endpoint:
    address, _, port = text.partition(":")
    return Endpoint(IPv4Address(address), int(port) if port else None)


def _states(text: str) -> frozenset[str]:
    return frozenset(text.split(","))


_READERS: dict[tuple[str, str], tuple[str, Callable[[str], object]]] = {
    ("", "-s"): ("source", IPv4Network),
    ("", "-d"): ("destination", IPv4Network),
    ("", "-i"): ("in_interface", str),
    ("", "-o"): ("out_interface", str),
    ("", "-p"): ("protocol", str),
    ("tcp", "--sport"): ("source_port", _ports),
    ("udp", "--sport"): ("source_port", _ports),
    ("tcp", "--dport"): ("destination_port", _ports),
    ("udp", "--dport"): ("destination_port", _ports),
    ("sctp", "--dport"): ("destination_port", _ports),
    ("conntrack", "--ctstate"): ("conntrack_states", _states),
    ("mark", "--mark"): ("mark", _mark),
    ("addrtype", "--src-type"): ("source_type", str),
    ("addrtype", "--dst-type"): ("destination_type", str),
    ("statistic", "--probability"): ("probability", float),
    ("", "--to-destination"): ("to_destination", _endpoint),
    ("", "--set-xmark"): ("set_mark", _mark),
    ("", "--comment"): ("comment", str),
    ("", "-j"): ("target", str),
    ("", "-g"): ("target", str),
}
"""(module, option) -> field and reader; module "" stands for any. Modules matter where options share a name."""
_NEGATABLE = {
    "source",
    "destination",
    "in_interface",
    "out_interface",
    "protocol",
    "source_port",
    "destination_port",
    "conntrack_states",
    "mark",
    "source_type",
    "destination_type",
}
