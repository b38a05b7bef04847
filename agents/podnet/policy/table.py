"""The text of an nftables table, put together from sets, maps and chains. Pure."""

import hashlib
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address

from agents.podnet.policy.spans import Spans

NAME = "podnet"
FAMILY_AND_NAME = f"inet {NAME}"
NAME_LENGTH = 128
"""nftables takes 255 characters; a policy's full name may have more."""
COMMENT_LENGTH = 127
"""NFTNL_UDATA_COMMENT_MAXLEN of libnftnl with its terminating zero."""
ELEMENTS_IN_A_LINE = 8


class Table:
    """Sets and chains of one table; what has the same contents is there once."""

    def __init__(self) -> None:
        self._sets: dict[str, tuple[str, str, Sequence[str]]] = {}
        self._chains: dict[str, list[str]] = {}
        self._hooked: dict[str, str] = {}

    def add_set(self, name: str, kind: str, elements: Sequence[str], *, interval: bool = False) -> str:
        """A set (or, with ``kind`` as ``key : verdict``, a map); returns how a rule refers to it."""
        keyword = "map" if " : " in kind else "set"
        flags = "\t\tflags interval\n" if interval else ""
        self._sets[name] = (keyword, f"\t\ttype {kind}\n{flags}", elements)
        return f"@{name}"

    def add_chain(self, name: str, rules: Iterable[str], *, hook: str = "") -> str:
        self._chains[name] = list(rules)
        self._hooked[name] = hook
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
        return sum(len(rules) for rules in self._chains.values())

    @property
    def elements(self) -> int:
        return sum(len(elements) for *_, elements in self._sets.values())

    def text(self) -> str:
        """For ``nft -f``: in one transaction the table of before goes and this one comes."""
        parts = [f"table {FAMILY_AND_NAME}", f"delete table {FAMILY_AND_NAME}", f"table {FAMILY_AND_NAME} {{"]
        for name in sorted(self._sets):
            keyword, head, elements = self._sets[name]
            parts.append(f"\t{keyword} {name} {{\n{head}\t\telements = {{ {_lines(elements)} }}\n\t}}")
        # The hooked chains come last, as everything they refer to is read before them.
        for name in sorted(self._chains, key=lambda name: (bool(self._hooked[name]), name)):
            head = f"\t\t{self._hooked[name]}\n" if self._hooked[name] else ""
            body = "".join(f"\t\t{rule}\n" for rule in self._chains[name])
            parts.append(f"\tchain {name} {{\n{head}{body}\t}}")
        return "\n".join([*parts, "}", ""])


def address_span(first: int, last: int) -> str:
    """An address or a range of them as nft reads it."""
    return str(IPv4Address(first)) if first == last else f"{IPv4Address(first)}-{IPv4Address(last)}"


def digest(texts: Iterable[str]) -> str:
    """A short name for contents."""
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]


def chain_name(prefix: str, full_name: str) -> str:
    """The name of a policy's chain. Names of namespaces and policies hold only what nft takes in a chain's name."""
    name = f"{prefix}_{full_name}"
    return name if len(name) <= NAME_LENGTH else f"{name[: NAME_LENGTH - 13]}_{digest([name])}"


def comment(text: str) -> str:
    return f'comment "{text[:COMMENT_LENGTH]}"'


def _lines(elements: Sequence[str]) -> str:
    rows = (elements[at : at + ELEMENTS_IN_A_LINE] for at in range(0, len(elements), ELEMENTS_IN_A_LINE))
    return ",\n\t\t\t".join(", ".join(row) for row in rows)
