"""What podnet says of the policies that are in force on its node."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from kubeproof.state.jsontext import Item, read

POLICIES_FILE = "/run/podnet/policies.json"
"""Written after the rules were loaded, so what it names is in force."""
POLICY_TABLE = "inet podnet"
"""The nft table that podnet keeps its rules in."""


@dataclass(frozen=True)
class PoliciesInForce:
    """``policies`` maps namespace/name to the resourceVersion that is enforced; ``inexpressible`` to a reason."""

    enforced: bool
    policies: Mapping[str, str] = field(default_factory=dict)
    inexpressible: Mapping[str, str] = field(default_factory=dict)


def parse_policies(text: str) -> PoliciesInForce:
    """Parse POLICIES_FILE. Raises ParseError."""
    top = Item(POLICIES_FILE, "top", read(POLICIES_FILE, text))
    return PoliciesInForce(top.truth("enforced"), top.mapping("policies"), top.mapping("inexpressible"))


def parse_nft_tables(text: str) -> tuple[str, ...]:
    """Family and name of each table, from the lines ``table FAMILY NAME`` of ``nft list tables``."""
    return tuple(line.removeprefix("table ").strip() for line in text.splitlines() if line.startswith("table "))
