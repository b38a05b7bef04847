"""All rules, and the table of what must hold. Pure."""

import re
from collections.abc import Iterable, Iterator, Mapping
from types import ModuleType

from kubeproof.rules import (
    devices,
    filters,
    host,
    identity,
    membership,
    paths,
    pods,
    policies,
    services,
    services_ipvs,
    services_nftables,
)
from kubeproof.rules.before_deploy import evaluate, udp_paths
from kubeproof.rules.rule import Rule

FAMILIES = {
    "A host and its place in the cluster": (host, identity, membership),
    "The pod network": (devices, paths, pods, udp_paths),
    "Rules of iptables, policies, Services": (filters, policies, services),
    "Services in kube-proxy's modes ipvs and nftables": (services_ipvs, services_nftables),
    "Before a deploy": evaluate.FAMILIES,
}
"""Modules of rules, by what heads them in the table."""
ONLY_DIAGNOSED = "Diagnosis"
SHOWN = {None: "", "error": "error", "warning": "warning", "either": "error or warning"}


def rules() -> dict[str, Rule]:
    """Rules that are asked before a deploy or as proof, by id; modules may have them from each other."""
    modules = [module for family in FAMILIES.values() for module in family]
    return {rule.id: rule for module in modules for rule in _of(module)}


def _of(module: ModuleType) -> Iterator[Rule]:
    return (item for item in vars(module).values() if isinstance(item, Rule))


def table(diagnosed: Iterable[Rule]) -> str:
    """What must hold, in Markdown: each rule, where it is asked, what it breaks, and where that is known from.

    ``diagnosed`` are those that the doctor looks at beside the proof, and what only it knows.
    """
    causes, told = {rule.id: rule for rule in diagnosed}, set[str]()
    head = ("Rule", "What must hold", "Before a deploy", "`verify`", "`doctor`", "What it breaks", "Known from")
    rows = [head, ("---",) * len(head)]
    families = {name: [rule for module in family for rule in _of(module)] for name, family in FAMILIES.items()}
    for heading, found in (*families.items(), (ONLY_DIAGNOSED, list(causes.values()))):
        rows.append((f"**{heading}**", *[""] * (len(head) - 1)))
        rows += [_row(rule, causes) for rule in dict.fromkeys(found) if rule.id not in told]
        told |= {rule.id for rule in found}
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows)


def _row(rule: Rule, causes: Mapping[str, Rule]) -> tuple[str, ...]:
    proof = rule.evaluate is not None
    meaning = re.sub("^(so|and|but) ", "", rule.meaning)
    breaks = f"{rule.symptom}: {meaning}" if rule.symptom else meaning
    asked = (SHOWN[rule.before_deploy], "yes" if proof else "", "yes" if proof or rule.id in causes else "")
    return (f"`{rule.id}`", rule.holds, *asked, breaks, ", ".join(rule.references))
