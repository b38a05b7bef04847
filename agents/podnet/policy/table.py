"""The text of an nftables table, put together from sets, maps and chains. Pure."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from agents.podnet.policy.spans import Spans

NAME = "podnet"
FAMILY_AND_NAME = f"inet {NAME}"
NAME_LENGTH = 128
"""nftables takes 255 characters; a policy's full name may have more."""
COMMENT_LENGTH = 127
"""NFTNL_UDATA_COMMENT_MAXLEN of libnftnl with its terminating zero."""
ELEMENTS_IN_A_LINE = 8


@dataclass(frozen=True, slots=True)
class NftSet:
    """A set, or a map to verdicts; ``head`` declares it, ``elements`` are as nft reads them (maps: "key : verdict")."""

    keyword: str
    head: str
    elements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Chain:
    """A chain; ``hook`` is empty for those that others jump to."""

    hook: str
    rules: tuple[str, ...]


@dataclass
class Table:
    """Sets and chains of one table; what has the same contents is there once.

    Sets whose name is made of their contents never change: what refers to other contents refers to another set.
    """

    sets: dict[str, NftSet] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)

    def add_set(self, name: str, kind: str, elements: Iterable[str], *, interval: bool = False) -> str:
        """A set (or, with ``kind`` as ``key : verdict``, a map); returns how a rule refers to it."""
        flags = "\n\t\tflags interval" if interval else ""
        self.sets[name] = NftSet("map" if " : " in kind else "set", f"type {kind}{flags}", tuple(elements))
        return f"@{name}"

    def add_chain(self, name: str, rules: Iterable[str], *, hook: str = "") -> str:
        self.chains[name] = Chain(hook, tuple(rules))
        return name

    def addresses(self, spans: Spans) -> str:
        """What matches these addresses: one address or range itself, or a set that all with the same share."""
        texts = [address_span(*span) for span in spans]
        if len(texts) == 1:
            return texts[0]
        return self.add_set(f"peers_{digest(texts)}", "ipv4_addr", texts, interval=True)

    def ports(self, spans: Spans) -> str:
        """What matches these ports. A set with a type: without one nft lists the ports as "invalid type"."""
        texts = [str(first) if first == last else f"{first}-{last}" for first, last in spans]
        if len(texts) == 1:
            return texts[0]
        return self.add_set(f"ports_{digest(texts)}", "inet_service", texts, interval=True)

    def endpoints(self, targets: Iterable[tuple[int, int]]) -> str:
        """What matches these pairs of address and port."""
        texts = [f"{IPv4Address(address)} . {port}" for address, port in targets]
        return self.add_set(f"named_{digest(texts)}", "ipv4_addr . inet_service", texts)

    @property
    def rules(self) -> int:
        return sum(len(chain.rules) for chain in self.chains.values())

    @property
    def elements(self) -> int:
        return sum(len(each.elements) for each in self.sets.values())

    def text(self) -> str:
        """For ``nft -f``: in one transaction whatever has this table's name goes and this one comes."""
        return f"table {FAMILY_AND_NAME}\ndelete table {FAMILY_AND_NAME}\n{declare(self.sets, self.chains)}"


def declare(sets: Mapping[str, NftSet], chains: Mapping[str, Chain]) -> str:
    """Adds sets and chains with all that is in them to the table; "" for none of them."""
    parts = [
        f"\t{each.keyword} {name} {{\n\t\t{each.head}\n\t\telements = {{ {rows(each.elements)} }}\n\t}}"
        for name, each in sorted(sets.items())
    ]
    # The hooked chains come last, as everything they refer to is read before them.
    for name, chain in sorted(chains.items(), key=lambda item: (bool(item[1].hook), item[0])):
        lines = [line for line in (chain.hook, *chain.rules) if line]
        parts.append("\n\t\t".join([f"\tchain {name} {{", *lines]) + "\n\t}")
    return "\n".join([f"table {FAMILY_AND_NAME} {{", *parts, "}", ""]) if parts else ""


def address_span(first: int, last: int) -> str:
    """An address or a range of them as nft reads it."""
    return str(IPv4Address(first)) if first == last else f"{IPv4Address(first)}-{IPv4Address(last)}"


def digest(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def chain_name(prefix: str, full_name: str) -> str:
    """The name of a policy's chain. Names of namespaces and policies hold only what nft takes in a chain's name."""
    name = f"{prefix}_{full_name}"
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 13]}_{digest([name])}"


def comment(text: str) -> str:
    return f'comment "{text[:COMMENT_LENGTH]}"'


def rows(elements: Sequence[str]) -> str:
    """Elements of a set, in lines that a person can read."""
    lines = (elements[at : at + ELEMENTS_IN_A_LINE] for at in range(0, len(elements), ELEMENTS_IN_A_LINE))
    return ",\n\t\t\t".join(", ".join(line) for line in lines)
