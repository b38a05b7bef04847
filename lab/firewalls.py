"""A firewall of this machine's own that would keep the lab's packets from each other, or from the mirror.

A packet that one table accepts may still be dropped by another, so that the lab's own table cannot help. The lab lets
packets between nodes pass iptables' FORWARD, which Docker makes drop, by a rule of its own (`network.up`); what else
drops has to be told by whoever has set it up.
"""

import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from lab import network, shell

FAMILIES = ("ip", "inet")
PURPOSES = {
    "input": "nodes could not reach the mirror",
    "forward": "nodes could not reach each other",
}
"""What is lost where a hook drops. Packets that a bridge forwards go through `forward` too, by br_netfilter."""
IPTABLES = ("ip", "filter", "FORWARD")
SILENT = ("counter", "log", "limit")
"""What a rule may do to a packet before its verdict without choosing packets (libnftables-json(5))."""


@dataclass(frozen=True)
class Drops:
    """A chain that the kernel calls by itself, and that drops what nothing in it accepts."""

    family: str
    table: str
    chain: str
    hook: str
    is_ufw: bool = False

    @property
    def words(self) -> str:
        return f"{self.family} {self.table} {self.chain}"


def check(bridge: str) -> list[str]:
    """A line for each chain that would drop the lab's packets; nothing where nft is not installed yet."""
    if not shutil.which("nft", path=shell.ADMIN_PATH):
        return []
    listing = shell.run(["nft", "--json", "list", "ruleset"], check=False, log_output=False)
    found = dropping(json.loads(listing)["nftables"], bridge) if listing.strip() else []
    has_iptables = shutil.which("iptables", path=shell.ADMIN_PATH) is not None
    lines = (problem(item, bridge) for item in found if not (has_iptables and item.words == " ".join(IPTABLES)))
    return list(dict.fromkeys(lines))


def dropping(objects: Iterable[Mapping[str, Any]], bridge: str) -> list[Drops]:
    """Chains of others that drop, without those that a rule about the bridge leads away from. Pure.

    ``objects`` are those of libnftables-json(5), which hold iptables' rules too unless they are of the legacy kind.
    """
    chains, rules = ([item[kind] for item in objects if kind in item] for kind in ("chain", "rule"))
    bases = [chain for chain in chains if "hook" in chain]
    found = []
    for base in bases:
        if base["family"] not in FAMILIES or base["hook"] not in PURPOSES or base["table"] == network.TABLE:
            continue
        own = [rule for rule in rules if _place(rule) == (base["family"], base["table"], base["name"])]
        elsewhere = {_place(other) for other in bases if other is not base}
        near = [rule for rule in rules if _table(rule) == _table(base) and _place(rule) not in elsewhere]
        if _closes(base, own) and not any(_is_about(rule, bridge) for rule in near):
            is_ufw = any(chain["name"].startswith("ufw-") for chain in chains if _table(chain) == _table(base))
            found.append(Drops(base["family"], base["table"], base["name"], base["hook"], is_ufw))
    return found


def problem(found: Drops, bridge: str) -> str:
    """What is lost, and the command that lets the lab's packets pass; Docker's chain needs iptables for the lab's."""
    if found.table == "firewalld":
        who = "firewalld"
        remedy = f"firewall-cmd --permanent --zone=trusted --add-interface={bridge} && firewall-cmd --reload"
        return f"firewall: {who} rejects what no zone accepts, so nodes could not reach the mirror; run `{remedy}`"
    who = "ufw's" if found.is_ufw else "nftables'"
    remedy = f"nft insert rule {found.words} iifname {bridge} accept"
    if found.is_ufw and found.hook == "input":
        remedy = f"ufw allow in on {bridge}"
    elif found.words == " ".join(IPTABLES):
        remedy = "apt-get install iptables"
    return f"firewall: {who} chain {found.words} drops by default, so {PURPOSES[found.hook]}; run `{remedy}`"


def _table(item: Mapping[str, Any]) -> tuple[str, str]:
    return item["family"], item["table"]


def _place(item: Mapping[str, Any]) -> tuple[str, str, str]:
    """Of a chain, or of the chain that a rule is in."""
    return item["family"], item["table"], item.get("chain") or item["name"]


def _closes(base: Mapping[str, Any], rules: "list[Mapping[str, Any]]") -> bool:
    """Whether a base chain drops what gets to its end: by its policy, or by a last rule for every packet."""
    last = [kind for part in rules[-1]["expr"] for kind in part if kind not in SILENT] if rules else []
    return base.get("policy") == "drop" or last in (["drop"], ["reject"])


def _is_about(rule: Mapping[str, Any], bridge: str) -> bool:
    """Whether a rule is for packets that come from the bridge, by name or in a list of names."""
    matches = (part["match"] for part in rule["expr"] if "match" in part)
    named = (match["right"] for match in matches if match["left"] == {"meta": {"key": "iifname"}})
    return any(bridge in (right.get("set", ()) if isinstance(right, dict) else [right]) for right in named)
