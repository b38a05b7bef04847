"""The report: a table by check and node, a headline, and each failure with what to look at. JSON for programs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kubeproof.config.cluster import Cluster, LoadedInventory, SshAccess
from kubeproof.proof.checks import ALL_CHECKS
from kubeproof.proof.probes import TITLES
from kubeproof.proof.snapshot import API, REACHABLE, Snapshot
from kubeproof.rules.result import CheckResult, Status

SCHEMA = "kubeproof.proof"
SCHEMA_VERSION = 2
"""Raised when a field is renamed, removed, or changes its meaning; not when one is added."""

SYMBOLS = {
    Status.HOLDS: "[green]✓[/green]",
    Status.FAILS: "[bold red]✗[/bold red]",
    Status.BROKEN: "[bold yellow]![/bold yellow]",
    Status.NOT_RUN: "[dim]not run[/dim]",
}
RULES = {rule.id: rule for rule in ALL_CHECKS}
TITLES_BY_NAME = (
    {REACHABLE: "the node answers by ssh", API: "the API answers"}
    | {name: rule.holds for name, rule in RULES.items()}
    | TITLES
)


@dataclass(frozen=True)
class Report:
    """All results of one proof, and what they were read from. ``seconds`` is what it took."""

    snapshot: Snapshot
    results: tuple[CheckResult, ...]
    taken_at: datetime
    seconds: float

    @property
    def loaded(self) -> LoadedInventory:
        return self.snapshot.loaded

    @property
    def cluster(self) -> Cluster:
        return self.loaded.cluster

    @property
    def counts(self) -> Counter[Status]:
        return Counter(result.status for result in self.results)

    @property
    def holds(self) -> bool:
        """Whether everything that was run holds, and something was run."""
        counts = self.counts
        return counts[Status.HOLDS] > 0 and not counts[Status.FAILS] and not counts[Status.BROKEN]

    @property
    def headline(self) -> str:
        counts = self.counts
        run = len(self.results) - counts[Status.NOT_RUN]
        parts = [f"{counts[Status.HOLDS]} of {run} hold"]
        parts += [f"{counts[Status.FAILS]} do not"] if counts[Status.FAILS] else []
        parts += [f"{counts[Status.BROKEN]} probes did not work"] if counts[Status.BROKEN] else []
        parts += [f"{counts[Status.NOT_RUN]} not run"] if counts[Status.NOT_RUN] else []
        return ", ".join(parts)

    @property
    def left_out(self) -> list[str]:
        """Names of nodes that nothing is proven of but what they send to the others."""
        return [node.name for node in self.cluster.nodes if node.name in self.snapshot.left_out]


def cni_line(cluster: Cluster) -> str:
    """What CNI is in force, and what it does not do."""
    settings = cluster.settings
    summary = settings.network.summary.format(backend=settings.cni_backend)
    if settings.enforces_policy:
        policies = "it enforces NetworkPolicy"
    elif settings.network.enforces:
        policies = "NetworkPolicy is switched off, none is enforced"
    else:
        policies = "it enforces no NetworkPolicy: policies are accepted and have no effect"
    return f"CNI in force: {summary}; {policies}"


def show(report: Report, console: Console) -> None:
    """Print the table, the failures, and the headline last, where the eye ends."""
    console.print(_table(report))
    for result in report.results:
        if result.is_failing:
            _show_failure(result, report.loaded.ssh, console)
    _show_not_run(report, console)
    console.print(cni_line(report.cluster), markup=False)
    if report.left_out:
        _show_left_out(report, console)
    colour = "green" if report.holds else "red"
    console.print(f"[bold {colour}]{report.headline}[/bold {colour}] ({report.seconds:.1f}s)")


def _table(report: Report) -> Table:
    shown = {*(node.name for node in report.snapshot.proven), *(result.node for result in report.results)}
    nodes = [node.name for node in report.cluster.nodes if node.name in shown]
    table = Table(
        title="Proof", caption="✓ holds  ✗ does not hold  ! the probe itself did not work  – nothing to look at"
    )
    table.add_column("check")
    for node in nodes:
        table.add_column(node, justify="center")
    cells = {(result.name, result.node): SYMBOLS[result.status] for result in report.results}
    for name in dict.fromkeys(result.name for result in report.results):
        table.add_row(name, *(cells.get((name, node), "[dim]–[/dim]") for node in nodes))
    return table


def _show_failure(result: CheckResult, ssh: Mapping[str, SshAccess], console: Console) -> None:
    console.print(f"\n{SYMBOLS[result.status]} [bold]{escape(result.node)}  {escape(result.name)}[/bold]")
    for heading, text in (
        ("what", TITLES_BY_NAME.get(result.name, "")),
        ("expected", result.expected),
        ("found", result.found),
        ("meaning", RULES[result.name].explained if result.name in RULES else ""),
        ("look further", result.look_further),
        ("remedy", "\n".join(remedy.paste(ssh) for remedy in result.remedies)),
    ):
        if text:
            console.print(f"  [dim]{heading:12}[/dim]  {escape(text).replace(chr(10), chr(10) + ' ' * 16)}")


def _show_not_run(report: Report, console: Console) -> None:
    reasons: dict[str, dict[str, None]] = {}
    for result in report.results:
        if result.status is Status.NOT_RUN:
            reasons.setdefault(result.found, {})[f"{result.name}@{result.node}"] = None
    for reason, rows in reasons.items():
        console.print(f"not run, since {escape(reason)}: {escape(', '.join(rows))}")
    if reasons:
        console.print()


def _show_left_out(report: Report, console: Console) -> None:
    names, unreachable = report.left_out, report.snapshot.unreachable
    number = f"{len(names)} of {len(report.cluster.nodes)} nodes"
    console.print(f"left out by --limit: {number} ({', '.join(names)})", markup=False)
    for name in filter(unreachable.get, names):
        console.print(f"{name}: cannot be read, nothing is sent from there ({unreachable[name]})", markup=False)
    console.print("Only the other nodes are proven, and what is sent between them and these; not the cluster.")


def to_json(report: Report) -> dict[str, object]:
    counts = report.counts
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "taken_at": report.taken_at.astimezone(UTC).isoformat(timespec="seconds"),
        "seconds": round(report.seconds, 2),
        "holds": report.holds,
        "counts": {status.value: counts[status] for status in Status},
        "cluster": {
            "kubernetes_version": report.cluster.settings.kubernetes_version,
            "cni": report.cluster.settings.cni,
            "network_policy_enforced": report.cluster.settings.enforces_policy,
            "pod_cidr": str(report.cluster.settings.pod_cidr),
            "service_cidr": str(report.cluster.settings.service_cidr),
            "nodes": [
                {"name": node.name, "address": str(node.address), "role": node.role} for node in report.cluster.nodes
            ],
        },
        "left_out": report.left_out,
        "results": [_result(result, report.loaded.ssh) for result in report.results],
    }


def _result(result: CheckResult, ssh: Mapping[str, SshAccess]) -> dict[str, object]:
    rule = RULES.get(result.name)
    return {
        "node": result.node,
        "name": result.name,
        "kind": "probe" if result.name in TITLES else "check",
        "title": TITLES_BY_NAME.get(result.name, ""),
        "status": result.status.value,
        "expected": result.expected,
        "found": result.found,
        "meaning": rule.meaning if rule else "",
        "references": list(rule.references) if rule else [],
        "look_further": result.look_further,
        "remedies": [remedy.to_json(ssh) for remedy in result.remedies],
    }


def ordered(results: Sequence[CheckResult], cluster: Cluster) -> tuple[CheckResult, ...]:
    """By row, then by node in the order of the inventory."""
    rows, nodes = list(TITLES_BY_NAME), [node.name for node in cluster.nodes]
    return tuple(sorted(results, key=lambda result: (rows.index(result.name), nodes.index(result.node))))
