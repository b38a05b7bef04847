"""iptables rules as values, parsed from iptables-save(8).

A rule keeps every match that it has: those that the model has no field for, or cannot read, are in :attr:`Rule.other`,
so that nobody takes a rule with one more condition for the rule without it. Comments do not take part in comparisons.
"""

import re
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Generic, TypeVar

from kubeproof.state.errors import ParseError

T = TypeVar("T")
SOURCE = "iptables-save"
NF_TABLES = "nf_tables"
LEGACY = "legacy"


@dataclass(frozen=True)
class Match(Generic[T]):
    value: T
    negated: bool = False

    def __str__(self) -> str:
        return f"{'! ' if self.negated else ''}{self.value}"


@dataclass(frozen=True)
class Ports:
    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}:{self.last}"


@dataclass(frozen=True)
class Mark:
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
    """Words of conditions that the model has no field for."""
    target_options: tuple[str, ...] = ()
    """The same of the target, such as --reject-with: they narrow no match."""
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
        return " ".join([*words, *self.target_options])

    def command(self, option: str, table: str = "filter") -> str:
        """Shell text: ``iptables -D CHAIN …``, or with another option that takes a rule, each word quoted.

        Raises ValueError for a rule that iptables printed in words that it does not take again.
        """
        words = split_words(self.text or str(self))
        if UNSUPPORTED in words:
            raise ValueError(f"iptables cannot write this rule again: {self.text}")
        return shlex.join(["iptables", *([] if table == "filter" else ["-t", table]), option, *words[1:]])

    def _conditions(self) -> Iterator[str]:
        for name, option in _MATCHES.items():
            match: Match[Any] | None = getattr(self, name)
            if match is not None:
                value = ",".join(sorted(match.value)) if isinstance(match.value, frozenset) else match.value
                yield f"{'! ' if match.negated else ''}{option} {value}"
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
    """Everything that one iptables variant holds. ``variant`` is nf_tables, legacy, or "" where that is not known."""

    variant: str = ""
    version: str = ""
    tables: Mapping[str, Table] = field(default_factory=dict)
    incompatible: tuple[str, ...] = ()
    """Tables with native nftables rules that iptables cannot show, or why it shows none."""
    odd: tuple[str, ...] = ()
    """What could not be read, with the line's number; an odd rule is in its chain as well, with the target UNREAD."""

    def chain(self, table: str, name: str) -> Chain | None:
        found = self.tables.get(table)
        return None if found is None else found.chains.get(name)

    def is_closed(self, name: str) -> bool:
        """Whether a chain of the filter table drops what none of its rules takes."""
        chain = self.chain("filter", name)
        return chain is not None and chain.policy == "DROP"

    def rules(self, table: str, chain: str) -> tuple[Rule, ...]:
        """The rules of a chain in order; none where there is no such chain."""
        found = self.chain(table, chain)
        return () if found is None else found.rules

    def walk(self, table: str, rules: Iterable[Rule], takes: Callable[[Rule], bool], depth: int = 8) -> Iterator[Rule]:
        """Rules that a packet may come to: ``takes`` says of each whether it counts, and whether its chain is entered.

        Chains are entered ``depth`` times within each other: iptables refuses loops, a text need not.
        """
        for rule in filter(takes, rules):
            yield rule
            if depth > 0:
                yield from self.walk(table, self.rules(table, rule.target), takes, depth - 1)

    @property
    def used_tables(self) -> tuple[str, ...]:
        """Names of the tables that do something to packets: by a rule, or by a policy; those that no tool shows may."""
        used = [
            table.name
            for table in self.tables.values()
            if any(chain.rules or chain.policy not in (None, "ACCEPT") for chain in table.chains.values())
        ]
        return (*used, *self.incompatible)

    @property
    def policies(self) -> dict[str, str]:
        """Policy of each built-in chain, by "table chain"."""
        return {
            f"{table.name} {chain.name}": chain.policy
            for table in self.tables.values()
            for chain in table.chains.values()
            if chain.policy is not None
        }

    @property
    def rule_count(self) -> int:
        return sum(len(chain.rules) for table in self.tables.values() for chain in table.chains.values())


UNREAD = "?"
UNSUPPORTED = "[unsupported"
"""What iptables-save writes for a match or target of a newer iptables: ``-m mark [unsupported revision]``."""
_GENERATED = re.compile(r"# Generated by (?P<program>[\w-]+) v(?P<version>\S+)(?: \((?P<variant>\S+)\))? on ")
_VERSION = re.compile(r"# (?P<program>iptables) v(?P<version>\S+)(?: \((?P<variant>\S+)\))?$")
"""What `iptables --version` prints, as a comment."""
_INCOMPATIBLE = re.compile(r"# Table `(?P<table>\w+)' (?:is incompatible|contains incompatible base-chains)")
_CHAIN = re.compile(r":(?P<name>\S+) (?P<policy>\S+)(?: \[\d+:\d+\])?$")
_APPEND = re.compile(r"(?:\[\d+:\d+\] )?(?P<rule>-A .+)$", re.DOTALL)
_BLANK = " \t\r\n"
LONGEST_TEXT = 256
"""Bytes of a comment (linux/netfilter/xt_comment.h, XT_MAX_COMMENT_LEN); each may be escaped."""
_WORD = re.compile(rf'"(?P<quoted>(?:[^"\\]|\\.)*)"(?=[{_BLANK}]|$)|(?P<plain>[^{_BLANK}"][^{_BLANK}]*)', re.DOTALL)


def parse_iptables_save(text: str) -> Ruleset:
    """Parse ``iptables-save``, with or without counters, and where it stands before it `# iptables --version`.

    Lines that cannot be read are in :attr:`Ruleset.odd`. Raises ParseError where nothing but such lines is found.
    """
    parser = _Parser()
    for number, line in whole_lines(text):
        parser.take(number, line.strip(_BLANK))
    return parser.finish()


def whole_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers; a comment may have line breaks in its quotes, which are written as they are."""
    lines = text.split("\n")
    position = 0
    while position < len(lines):
        first, line = position, lines[position]
        if _APPEND.match(line) and not _is_whole(line):
            joined = line
            for end in range(position + 1, len(lines)):
                joined += f"\n{lines[end]}"
                if lines[end] == "COMMIT" or len(joined) > len(line) + 2 * LONGEST_TEXT:
                    break
                if _is_whole(joined):
                    position, line = end, joined
                    break
        yield first + 1, line
        position += 1


def _is_whole(line: str) -> bool:
    if "\\" not in line and line.count('"') == line.count(' "') * 2:
        return True
    try:
        split_words(line)
    except ValueError:
        return False
    return True


def split_words(text: str) -> list[str]:
    """The words of a rule as iptables-save quotes them (libxtables, xtables_save_string). Raises ValueError."""
    return [word for word, _ in _words(text)]


def _words(text: str) -> list[tuple[str, bool]]:
    """Each word, and whether it stood in quotes. Within these a backslash takes any character's meaning away."""
    text = text.rstrip(_BLANK)
    found: list[tuple[str, bool]] = []
    position = 0
    while position < len(text):
        if text[position] in _BLANK:
            position += 1
            continue
        match = _WORD.match(text, position)
        if match is None:
            raise ValueError("No closing quotation")
        quoted = match["quoted"]
        found.append((match["plain"], False) if quoted is None else (re.sub(r"(?s)\\(.)", r"\1", quoted), True))
        position = match.end()
    return found


def variant_of(program: str, version: str, printed: str | None) -> str:
    """nf_tables, legacy, or "" if a header does not tell.

    nf_tables came with 1.8, calls itself xtables-save at first and by the name that it is called by since; it prints
    its variant since 1.8.8 (iptables commit 4bff5aef), which legacy does not.
    """
    if printed:
        return printed
    if "nft" in program or program == "xtables-save":
        return NF_TABLES
    release = [int(part) for part in re.findall(r"\d+", version)[:3]]
    known = bool(release) and not [1, 8] <= release < [1, 8, 8]
    return LEGACY if known or "legacy" in program else ""


class _Parser:
    """Collects tables line by line."""

    def __init__(self) -> None:
        self.variant = ""
        self.version = ""
        self.incompatible: list[str] = []
        self.tables: dict[str, dict[str, tuple[str | None, list[Rule]]]] = {}
        self.table: str | None = None
        self.odd: list[ParseError] = []

    def take(self, number: int, line: str) -> None:
        where = f"line {number}"
        if line.startswith("#"):
            self._comment(line)
        elif line.startswith("*"):
            self._end(where)
            self.table = line[1:]
            self.tables.setdefault(self.table, {})
        elif line == "COMMIT":
            self.table = None
        elif line:
            self._content(where, line)

    def _comment(self, line: str) -> None:
        if told := _GENERATED.match(line) or _VERSION.match(line):
            self.version = told["version"]
            self.variant = self.variant or variant_of(told["program"], told["version"], told["variant"])
        elif incompatible := _INCOMPATIBLE.match(line):
            self.incompatible.append(incompatible["table"])

    def _content(self, where: str, line: str) -> None:
        if self.table is None:
            self._is_odd(where, f"stands outside of a table: {line[:60]!r}")
            return
        chains = self.tables[self.table]
        if declared := _CHAIN.match(line):
            policy = None if declared["policy"] == "-" else declared["policy"]
            chains.setdefault(declared["name"], (policy, []))
        elif appended := _APPEND.match(line):
            rule = self._rule(where, appended["rule"])
            if rule.chain not in chains:
                self._is_odd(where, f"no chain {rule.chain} in table {self.table}")
            chains.setdefault(rule.chain, (None, []))[1].append(rule)
        else:
            self._is_odd(where, f"is neither chain nor rule: {line[:60]!r}")

    def _rule(self, where: str, text: str) -> Rule:
        try:
            return parse_rule(text, where)
        except ParseError as error:
            self.odd.append(error)
            chain, *rest = text.removeprefix("-A ").split() or [""]
            return Rule(chain, UNREAD, other=tuple(rest) or (text,), text=text)

    def _is_odd(self, where: str, wrong: str) -> None:
        self.odd.append(ParseError(SOURCE, where, wrong))

    def _end(self, where: str) -> None:
        if self.table is not None:
            self._is_odd(where, f"table {self.table} has no COMMIT: it may have been cut off")

    def finish(self) -> Ruleset:
        if self.odd and not self.tables:
            raise self.odd[0]
        self._end("end")
        tables = {
            name: Table(name, {chain: Chain(chain, policy, tuple(rules)) for chain, (policy, rules) in chains.items()})
            for name, chains in self.tables.items()
        }
        return Ruleset(self.variant, self.version, tables, tuple(self.incompatible), tuple(map(str, self.odd)))


def parse_rule(text: str, where: str = "rule") -> Rule:
    """Parse one rule as ``-A CHAIN …``. Raises ParseError if it is none, or a quote is left open."""
    try:
        words = _words(text)
    except ValueError as error:
        raise ParseError(SOURCE, where, f"{error}: {text[:60]!r}") from None
    if len(words) < 2 or words[0][0] != "-A":
        raise ParseError(SOURCE, where, f"does not begin with -A CHAIN: {text[:60]!r}")
    reader = _RuleReader({"chain": words[1][0], "text": text})
    for negated, option, arguments in _options(words[2:]):
        reader.take(negated, option, arguments)
    return reader.finish()


class _RuleReader:
    """Puts options into the fields of a rule, one after the other."""

    def __init__(self, fields: dict[str, object]) -> None:
        self.fields = fields
        self.other: list[str] = []
        self.target_options: list[str] = []
        self.module = ""
        self.idle = False
        """Whether no option of the module has come yet."""

    def take(self, negated: bool, option: str, arguments: list[str]) -> None:
        if option == "-m":
            self._end_of_module()
            self.module, *more = arguments or [""]
            self.idle = not more
            self.other += ["-m", self.module, *more] if more else []
        elif option in ("-j", "-g") and arguments and "target" not in self.fields and not negated:
            self._end_of_module()
            self.fields |= {"target": arguments[0], "goto": option == "-g"}
            self.target_options += arguments[1:]
        else:
            self.idle = self.idle and not option.startswith("--")
            if not _known(self.fields, self.module, negated, option, arguments):
                is_of_target = "target" in self.fields and option.startswith("--")
                rest = self.target_options if is_of_target else self.other
                rest += ["!"] * negated + [option, *arguments]

    def _end_of_module(self) -> None:
        if self.idle and self.module not in _WITHOUT_CONDITION:
            self.other += ["-m", self.module]
        self.module, self.idle = "", False

    def finish(self) -> Rule:
        self._end_of_module()
        more = {"other": tuple(self.other), "target_options": tuple(self.target_options)}
        return Rule(**self.fields, **more)  # type: ignore[arg-type]  # the readers give each field its type


_WITHOUT_CONDITION = {"tcp", "udp", "udplite", "sctp", "dccp", "icmp", "ah", "esp", "comment"}
"""Modules that without an option say no more than -p does; others, such as socket, are a condition by themselves."""
_TAKES_TEXT = {"--comment", "--log-prefix", "--nflog-prefix", "--name", "--string", "--helper"}


def _options(words: list[tuple[str, bool]]) -> list[tuple[bool, str, list[str]]]:
    """Options with their arguments, and whether a "!" stands before them. A stray word is an option by itself."""
    found: list[tuple[bool, str, list[str]]] = []
    negated = False
    for word, quoted in words:
        takes_text = bool(found) and found[-1][1] in _TAKES_TEXT and not found[-1][2]
        if takes_text:
            found[-1][2].append(word)
        elif word == "!" and not quoted:
            negated = True
        elif not found or (re.match(r"--?[a-zA-Z]", word) and not quoted):
            found.append((negated, word, []))
            negated = False
        else:
            # iptables-save writes "!" only before an option; older matches print it before the value.
            if negated:
                found[-1] = (True, found[-1][1], found[-1][2])
                negated = False
            found[-1][2].append(word)
    return found


def _known(fields: dict[str, object], module: str, negated: bool, option: str, arguments: list[str]) -> bool:
    """Put an option that the model knows into its field; False if the model has none for it, or not for its value."""
    if option == "--random-fully" and not arguments:
        fields["random_fully"] = True
        return True
    if (option == "--mode" and arguments == ["random"]) or option == "--comment":
        fields.update(comment=arguments[0] if option == "--comment" and arguments else fields.get("comment"))
        return True
    reader = _READERS.get((module, option)) or _READERS.get(("", option))
    if reader is None or len(arguments) != 1:
        return False
    name, read = reader
    try:
        value = read(arguments[0])
    except ValueError:
        return False
    if name in fields or (negated and name not in _MATCHES):
        return False
    fields[name] = Match(value, negated) if name in _MATCHES else value
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


def _protocol(text: str) -> str:
    return _PROTOCOLS.get(text, text)


def _states(text: str) -> frozenset[str]:
    return frozenset(text.split(","))


_MATCHES = {
    "source": "-s",
    "destination": "-d",
    "in_interface": "-i",
    "out_interface": "-o",
    "protocol": "-p",
    "source_port": "--sport",
    "destination_port": "--dport",
    "conntrack_states": "--ctstate",
    "mark": "--mark",
    "source_type": "--src-type",
    "destination_type": "--dst-type",
}
"""Fields that are a Match, which can be negated, in the order in which they are written, each with its option."""
_PROTOCOLS = {"1": "icmp", "4": "ipencap", "ipv4": "ipencap", "6": "tcp", "17": "udp", "132": "sctp"}
"""Where a host has no /etc/protocols, numbers are printed; what Debian's calls ipencap, Red Hat's calls ipv4."""
_READERS: dict[tuple[str, str], tuple[str, Callable[[str], object]]] = {
    ("", "-s"): ("source", IPv4Network),
    ("", "-d"): ("destination", IPv4Network),
    ("", "-i"): ("in_interface", str),
    ("", "-o"): ("out_interface", str),
    ("", "-p"): ("protocol", _protocol),
    ("tcp", "--sport"): ("source_port", _ports),
    ("udp", "--sport"): ("source_port", _ports),
    ("tcp", "--dport"): ("destination_port", _ports),
    ("udp", "--dport"): ("destination_port", _ports),
    ("sctp", "--dport"): ("destination_port", _ports),
    ("conntrack", "--ctstate"): ("conntrack_states", _states),
    ("state", "--state"): ("conntrack_states", _states),
    ("mark", "--mark"): ("mark", _mark),
    ("addrtype", "--src-type"): ("source_type", str),
    ("addrtype", "--dst-type"): ("destination_type", str),
    ("statistic", "--probability"): ("probability", float),
    ("", "--to-destination"): ("to_destination", _endpoint),
    ("", "--set-xmark"): ("set_mark", _mark),
}
"""(module, option) -> field and reader; module "" stands for any. Modules matter where options share a name."""
