"""What the chains of one iptables table do to one packet (iptables(8), iptables-extensions(8)). Pure.

A rule with a condition that is not understood ends the walk as undecided, if the packet meets its other conditions and
its target would do something: nothing is guessed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, summarize_address_range
from itertools import pairwise

from kubeproof.state.iptables import Match, Ports, Rule
from kubeproof.state.verdict import is_named
from kubeproof.trace import routing
from kubeproof.trace.collecting import Facts
from kubeproof.trace.model import UNKNOWN_PORT, End, Outcome
from kubeproof.trace.owners import owner_of, rule_text
from kubeproof.trace.passing import UNTRACKED, Decision, EndedError, Passing, undecided
from kubeproof.trace.world import Iptables

DEEPEST = 16
"""Jumps within jumps: iptables refuses loops, a text need not."""
_INERT = (
    *("", "LOG", "NFLOG", "ULOG", "TRACE", "TCPMSS", "CHECKSUM", "CLASSIFY", "SET", "AUDIT", "DSCP", "TOS", "TTL"),
    *("ECN", "HL", "RATEEST", "LED", "SECMARK", "CONNSECMARK", "IDLETIMER"),
)
"""Targets after which the packet goes on to the next rule, with the same addresses, ports and mark."""
_OPTIONS_OF_RECENT = ("--rcheck", "--update", "--remove", "--seconds", "--hitcount", "--reap", "--name", "--mask")
_Option = tuple[bool, str, list[str]]


@dataclass
class Run:
    """One table at one hook. ``facts`` tell whose rules are."""

    tables: Iptables
    table: str
    passing: Passing
    facts: Facts

    def through(self, chain: str) -> None:
        """Send the packet through a built-in chain. Raises EndedError where that is its end."""
        if self._walk(chain, DEEPEST):
            return
        if self.tables.policies.get((self.table, chain)) == "DROP":
            text = f"iptables -t {self.table} -P {chain} DROP"
            owner = "Docker, or by hand" if chain == "FORWARD" else "by hand"
            raise EndedError(Outcome(End.DROPPED, f"no rule of {chain} takes it, and its policy is DROP", text, owner))

    def _walk(self, chain: str, depth: int) -> bool:
        """Whether a rule decided that the packet has passed the table."""
        for rule in self.tables.rules(self.table, chain):
            matched = matches(rule, self.passing)
            if matched is False or (matched is None and rule.target in _INERT):
                continue
            if matched is None:
                words = " ".join(rule.other) or "a condition"
                raise undecided(f"a rule is not understood: {words}", rule_text(self.table, rule), self._owner(rule))
            if rule.probability is not None and not self.passing.chance.happens(rule.probability):
                continue
            if rule.target == "RETURN":
                return False
            if self._target(rule, depth):
                return True
            if rule.goto:
                return False
        return False

    def _target(self, rule: Rule, depth: int) -> bool:
        """Do what a rule says; whether that was the last word of this table."""
        if self.tables.has(self.table, rule.target):
            if depth == 0:
                raise undecided("jumps go round in circles", rule_text(self.table, rule))
            return self._walk(rule.target, depth - 1)
        act = _TARGETS.get(rule.target)
        if rule.target in _INERT:
            return False
        if act is None:
            raise undecided(f"the target {rule.target} is not understood", rule_text(self.table, rule))
        try:
            what = act(rule, self.passing)
        except EndedError as ended:
            text, owner = rule_text(self.table, rule), self._owner(rule)
            raise EndedError(replace(ended.outcome, decided_by=text, owner=owner)) from None
        if what is None:
            return False
        self.passing.decisions.append(Decision(what, rule_text(self.table, rule), self._owner(rule)))
        return True

    def _owner(self, rule: Rule) -> str:
        return owner_of(rule, self.facts.pod_cidr, self.facts.network)


# Targets --------------------------------------------------------------------------------------------------------------
# Each returns what it did in words, or None where the packet goes on to the next rule.


def _accept(_rule: Rule, _passing: Passing) -> str | None:
    return "accepted"


def _drop(_rule: Rule, _passing: Passing) -> str | None:
    raise EndedError(Outcome(End.DROPPED, "dropped"))


def _reject(rule: Rule, _passing: Passing) -> str | None:
    option = dict(pairwise(rule.target_options)).get("--reject-with", "")
    raise EndedError(Outcome(End.REFUSED, f"rejected{f' with {option}' if option else ''}"))


def _set_mark(rule: Rule, passing: Passing) -> str | None:
    if rule.set_mark is None:
        raise undecided(f"MARK is not understood: {' '.join(rule.target_options)}")
    passing.mark = (passing.mark & ~rule.set_mark.mask) ^ rule.set_mark.value
    return None


def _connmark(rule: Rule, passing: Passing) -> str | None:
    options = rule.target_options
    tracked = passing.tracked
    masks = dict(pairwise(options))
    nf, ct = (int(masks.get(name, "0xffffffff"), 0) for name in ("--nfmask", "--ctmask"))
    if "--mask" in masks:
        nf = ct = int(masks["--mask"], 0)
    if tracked is None:
        return None
    if "--save-mark" in options:
        tracked.mark = (tracked.mark & ~ct) ^ (passing.mark & nf)
    elif "--restore-mark" in options:
        passing.mark = (passing.mark & ~nf) ^ (tracked.mark & ct)
    elif rule.set_mark is not None:
        tracked.mark = (tracked.mark & ~rule.set_mark.mask) ^ rule.set_mark.value
    else:
        raise undecided(f"CONNMARK is not understood: {' '.join(options)}")
    return None


def _dnat(rule: Rule, passing: Passing) -> str | None:
    if rule.to_destination is None:
        raise undecided(f"DNAT is not understood: {' '.join(rule.target_options)}")
    passing.send_to(rule.to_destination.address, rule.to_destination.port)
    return f"DNAT to {rule.to_destination}"


def _redirect(rule: Rule, passing: Passing) -> str | None:
    options = dict(pairwise(rule.target_options))
    port = options.get("--to-ports", "")
    if port and not port.isdecimal():
        raise undecided(f"REDIRECT to one of several ports: {port}")
    own = passing.space.network.addresses_of(passing.in_device) if passing.in_device else ()
    address = next((each.ip for each in own), IPv4Address("127.0.0.1"))
    passing.send_to(address, int(port) if port else None)
    return f"REDIRECT to {address}:{port or passing.packet.destination_port}"


def _masquerade(rule: Rule, passing: Passing) -> str | None:
    address = masquerade_address(passing)
    port = UNKNOWN_PORT if rule.random_fully or "--random" in rule.target_options else None
    passing.send_as(address, port)
    return f"SNAT to {address} (MASQUERADE)"


def masquerade_address(passing: Passing) -> IPv4Address:
    """The address that MASQUERADE takes: that of the interface, of the next hop's network if it has one there."""
    network, next_hop = passing.space.network, passing.next_hop or passing.packet.destination
    own = [each for each in network.addresses_of(passing.out_device) if each.scope != "host"]
    near = (each.ip for each in own if next_hop in each.interface.network)
    # lo has none of its own: then the first one of any interface is taken (inet_select_addr).
    rest = (each.ip for each in (*own, *network.addresses) if each.scope not in ("host", "link"))
    address = next(near, None) or next(rest, None)
    if address is None:
        raise EndedError(Outcome(End.DROPPED, f"MASQUERADE finds no address on {passing.out_device}"))
    return address


def _snat(rule: Rule, passing: Passing) -> str | None:
    options = dict(pairwise(rule.target_options))
    written, _, ports = options.get("--to-source", "").partition(":")
    if not written or "-" in written or (ports and not ports.isdecimal()):
        raise undecided(f"SNAT is not understood: {' '.join(rule.target_options)}")
    random = rule.random_fully or "--random" in options
    passing.send_as(IPv4Address(written), int(ports) if ports else UNKNOWN_PORT if random else None)
    return f"SNAT to {written}"


def _untrack(rule: Rule, passing: Passing) -> str | None:
    if rule.target == "CT" and "--notrack" not in rule.target_options:
        return None
    passing.tracked, passing.state = None, UNTRACKED
    return None


_TARGETS: dict[str, Callable[[Rule, Passing], str | None]] = {
    "ACCEPT": _accept,
    "DROP": _drop,
    "REJECT": _reject,
    "MARK": _set_mark,
    "CONNMARK": _connmark,
    "DNAT": _dnat,
    "REDIRECT": _redirect,
    "MASQUERADE": _masquerade,
    "SNAT": _snat,
    "NOTRACK": _untrack,
    "CT": _untrack,
}


# Conditions -----------------------------------------------------------------------------------------------------------
# Each answer is True, False, or None where nobody can say.


def matches(rule: Rule, passing: Passing) -> bool | None:
    """Whether a packet meets all conditions of a rule but that of chance; None where one is not understood."""
    packet = passing.packet
    if rule.destination is not None and (packet.destination in rule.destination.value) is rule.destination.negated:
        return False
    if rule.source is not None and (packet.source in rule.source.value) is rule.source.negated:
        return False
    if rule.protocol is not None and _is_protocol(packet.protocol, rule.protocol.value) is rule.protocol.negated:
        return False
    return _all(_conditions(rule, passing))


def _all(answers: Iterator[bool | None]) -> bool | None:
    unknown = False
    for answer in answers:
        if answer is False:
            return False
        unknown = unknown or answer is None
    return None if unknown else True


def _is_protocol(protocol: str, named: str) -> bool:
    return named in (protocol, "all", "0")


def _conditions(rule: Rule, passing: Passing) -> Iterator[bool | None]:
    packet = passing.packet
    yield _port(rule.destination_port, packet.destination_port)
    yield _port(rule.source_port, packet.source_port)
    for device, match in ((passing.in_device, rule.in_interface), (passing.out_device, rule.out_interface)):
        if match is not None:
            yield is_named(device, match.value) is not match.negated
    if rule.conntrack_states is not None:
        yield bool(passing.states & rule.conntrack_states.value) is not rule.conntrack_states.negated
    if rule.mark is not None:
        yield (passing.mark & rule.mark.value.mask == rule.mark.value.value) is not rule.mark.negated
    for address, kind in ((packet.source, rule.source_type), (packet.destination, rule.destination_type)):
        if kind is not None:
            yield _is_of_type(passing, address, kind)
    for option in _options(rule.other):
        yield _option(option, passing, rule)


def _port(match: Match[Ports] | None, port: int) -> bool | None:
    if match is None:
        return True
    if port == UNKNOWN_PORT:
        return None
    return (match.value.first <= port <= match.value.last) is not match.negated


def _is_of_type(passing: Passing, address: IPv4Address, kind: Match[str]) -> bool | None:
    return (routing.type_of(passing.space, address).upper() in kind.value.split(",")) is not kind.negated


def _options(words: tuple[str, ...]) -> Iterator[_Option]:
    """Options with their arguments, and whether a "!" stands before them."""
    found: list[_Option] = []
    negated = False
    for word in words:
        if word == "!":
            negated = True
        elif word.startswith("-"):
            found.append((negated, word, []))
            negated = False
        elif found:
            found[-1][2].append(word)
    yield from found


def _option(option: _Option, passing: Passing, rule: Rule) -> bool | None:
    negated, name, arguments = option
    if name == "--mark" and rule.text.count("-m mark") > (rule.mark is not None):
        return None  # a second mark of the packet, and none of its connection
    if name in _OPTIONS_OF_RECENT or name in ("--set", "--rsource", "--rdest"):
        return _recent(name, negated, passing)
    if (name == "-m" and arguments == ["rpfilter"]) or name in ("--validmark", "--loose", "--invert"):
        return _rpfilter(name, passing, rule.other)
    read = _OPTIONS.get(name)
    answer = None if read is None else read(arguments, passing)
    return None if answer is None else answer is not negated


def _recent(name: str, negated: bool, passing: Passing) -> bool | None:
    """kube-proxy's sessionAffinity: a client that has not connected before is in no list."""
    if name in ("--rcheck", "--update", "--remove"):
        passing.notes.append("a client that has connected before stays with the endpoint that it had (recent)")
        return negated
    return not negated if name == "--set" else True


def _rpfilter(name: str, passing: Passing, words: tuple[str, ...]) -> bool | None:
    """`-m rpfilter [--loose] [--validmark] [--invert]`, answered at its first word."""
    others = [word for word in words if word in ("--validmark", "--loose", "--invert")]
    if name != "-m" and "-m" in words:
        return True
    if others and name not in ("-m", others[0]):
        return True
    mark = passing.mark if "--validmark" in words else 0
    route = routing.lookup(
        passing.space, routing.Key(passing.packet.source, passing.packet.destination, mark), passing.chance
    )
    holds = route is not None and ("--loose" in words or route.device == passing.in_device)
    return holds is not ("--invert" in words)


def _ports_of(text: str) -> list[Ports]:
    pairs = (part.partition(":") for part in text.split(","))
    return [Ports(int(first or 0), int(last or first) if colon else int(first)) for first, colon, last in pairs]


def _several(arguments: list[str], *ports: int) -> bool | None:
    if UNKNOWN_PORT in ports:
        return None
    return any(span.first <= port <= span.last for span in _ports_of(arguments[0]) for port in ports)


def _in_range(arguments: list[str], address: IPv4Address) -> bool:
    first, _, last = arguments[0].partition("-")
    return IPv4Address(first) <= address <= IPv4Address(last or first)


def _tcp_flags(arguments: list[str], passing: Passing) -> bool | None:
    mask, wanted = (set(part.split(",")) - {"NONE"} for part in arguments)
    flags = {"SYN", "ACK"} if passing.is_reply else {"SYN"}
    everything = {"SYN", "ACK", "FIN", "RST", "URG", "PSH"}
    return flags & (everything if "ALL" in mask else mask) == wanted


def _icmp_type(arguments: list[str], passing: Passing) -> bool | None:
    sent = ("0", "echo-reply", "pong") if passing.is_reply else ("8", "echo-request", "ping")
    return arguments[0] in (*sent, "any", "255", f"{sent[0]}/0")


def _original(arguments: list[str], passing: Passing) -> bool | None:
    return passing.tracked.original.destination in IPv4Network(arguments[0]) if passing.tracked else None


def _ct_direction(arguments: list[str], passing: Passing) -> bool | None:
    return (arguments[0] == "REPLY") is passing.is_reply


def _connection_mark(arguments: list[str], passing: Passing) -> bool | None:
    value, _, mask = arguments[0].partition("/")
    current = passing.tracked.mark if passing.tracked else 0
    return current & int(mask or "0xffffffff", 0) == int(value, 0)


def _physdev(side: str) -> Callable[[list[str], Passing], bool | None]:
    return lambda arguments, passing: is_named(getattr(passing, side), arguments[0])


def _in_set(arguments: list[str], passing: Passing) -> bool | None:
    name, sides = arguments[0], arguments[1].split(",")
    kind, *entries = passing.space.ipsets.get(name, ("",))
    packet = passing.packet
    address = packet.source if sides[0] == "src" else packet.destination
    if kind in ("hash:ip", "hash:net") and len(sides) == 1:
        return _in_networks(address, entries)
    port = packet.source_port if sides[-1] == "src" else packet.destination_port
    if kind == "bitmap:port" and len(sides) == 1:
        return str(port) in entries
    if kind in ("hash:ip,port", "hash:ip,port,ip") and len(sides) == len(kind.split(",")):
        port = packet.source_port if sides[1] == "src" else packet.destination_port
        others = [f"{packet.source if side == 'src' else packet.destination}" for side in sides[2:]]
        return ",".join((f"{address}", f"{packet.protocol}:{port}", *others)) in entries
    return None


def _in_networks(address: IPv4Address, entries: list[str]) -> bool | None:
    """The entry with the longest prefix decides; it may be an exception ("nomatch")."""
    best: tuple[int, bool] = (-1, False)
    for entry in entries:
        words = entry.split()
        first, _, last = words[0].partition("-")
        networks = (
            summarize_address_range(IPv4Address(first), IPv4Address(last)) if last else [IPv4Network(first, False)]
        )
        for network in networks:
            if address in network and network.prefixlen > best[0]:
                best = (network.prefixlen, "nomatch" not in words)
    return best[1]


_OPTIONS: dict[str, Callable[[list[str], Passing], bool | None]] = {
    "--dports": lambda arguments, passing: _several(arguments, passing.packet.destination_port),
    "--sports": lambda arguments, passing: _several(arguments, passing.packet.source_port),
    "--ports": lambda arguments, passing: _several(
        arguments, passing.packet.destination_port, passing.packet.source_port
    ),
    "--src-range": lambda arguments, passing: _in_range(arguments, passing.packet.source),
    "--dst-range": lambda arguments, passing: _in_range(arguments, passing.packet.destination),
    "--tcp-flags": _tcp_flags,
    "--syn": lambda _arguments, passing: not passing.is_reply,
    "--icmp-type": _icmp_type,
    "--ctorigdst": _original,
    "--ctdir": _ct_direction,
    "--mark": _connection_mark,
    "--pkt-type": lambda arguments, _passing: arguments[0] == "unicast",
    "--physdev-in": _physdev("port_in"),
    "--physdev-out": _physdev("port_out"),
    "--physdev-is-in": lambda _arguments, passing: bool(passing.port_in),
    "--physdev-is-out": lambda _arguments, passing: bool(passing.port_out),
    "--physdev-is-bridged": lambda _arguments, passing: bool(passing.port_in and passing.port_out),
    "--match-set": _in_set,
}
