"""Rows of the proof that no cause explains: each is told as the rule that it is, with its own remedy. Pure."""

from collections.abc import Iterable, Iterator

from kubeproof.doctor.causes_running import NODES_ROWS, SERVICE_ROWS
from kubeproof.doctor.diagnosis import Case, Cause, Diagnosis, Follows
from kubeproof.doctor.evidence import Evidence
from kubeproof.proof.report import RULES, TITLES_BY_NAME
from kubeproof.rules.pods import named_pods
from kubeproof.rules.result import CheckResult
from kubeproof.rules.rule import Rule

DUPLICATES = ("duplicate-hostname", "duplicate-machine-id", "duplicate-product-uuid")
QUIET = (
    *("subnet-env", "subnet-of-node-object", "swap", *DUPLICATES, "clock-skew", "docker0-down", "node-ready"),
    *("kubelet-reached", "cni-order", "reachable", "control-plane-healthy", "policy-chains-first", "felix-first"),
)
"""Rows for which no packet of the other rows is lost."""
FOLLOWING = {
    "flannel-device": ("flannel-address", "cni-mtu", *NODES_ROWS),
    "tun-device": ("flannel-address", "cni-mtu", *NODES_ROWS),
    "ipip-device": ("flannel-address", "cni-mtu", *NODES_ROWS),
    "cni-mtu": ("subnet-env",),
    "cni0-address": ("cni-mtu", "route-to-own-pods", "pod-veths", "network-agent-ready"),
    "subnet-env": ("subnet-of-node-object",),
    "iptables-mixed": SERVICE_ROWS,
    "pod-addresses": ("pod-default-routes", "pod-veths", "pod-namespaces"),
    "pod-default-routes": ("pod-veths",),
    "service-chains": ("service-endpoints", "node-ports", "service-masquerade"),
    "service-endpoints": ("node-ports",),
    "nft-services": ("nft-endpoints", "nft-node-ports"),
    "cni-order": ("node-ready",),
    "api": ("*",),
}
"""Rows of the same node that fail with another one."""
UNREADABLE = "could not be read"


def cause_of(name: str) -> Cause:
    """A row as a cause of its own. Of two nodes with one identity, only one has to change."""
    everywhere = (name,) if name in DUPLICATES else ()
    follows = Follows(here=(name, *FOLLOWING.get(name, ())), everywhere=everywhere, traffic=name not in QUIET)
    return Cause(RULES.get(name) or Rule(name, TITLES_BY_NAME.get(name, name)), _none, follows, is_row=True)


def _none(_: Evidence) -> Iterator[Case]:
    return iter(())


def case_of(row: CheckResult, *more: str) -> Case:
    """A failing row as a case with its remedies, or with what to look at where there is none."""
    shown = 6 if row.remedies else 4
    seen = [f"expected {line}" for line in row.expected.splitlines()[:3]]
    seen += [f"found {line}" for line in row.found.splitlines()[:shown]]
    pods = named_pods(row.found)
    if pods and any(" delete pod " in remedy.command for remedy in row.remedies):
        seen.append(f"the remedy makes these pods anew: {', '.join(pods)}")
    return Case(row.node, (*seen, *more), row.remedies, "" if row.remedies else row.look_further)


def untold(unknown: Iterable[CheckResult]) -> list[Diagnosis]:
    """Rows that no cause explains, each told with what repairs it, or with what to look at."""
    by_row: dict[str, list[Case]] = {}
    told: set[tuple[str, str]] = set()
    for row in unknown:
        if UNREADABLE in row.found and (row.node, row.found) in told:
            continue  # several checks read the same part
        told.add((row.node, row.found))
        by_row.setdefault(row.name, []).append(case_of(row))
    return [Diagnosis(cause_of(name), tuple(cases)) for name, cases in by_row.items()]
