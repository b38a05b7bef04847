"""What the doctor says: diagnoses with evidence, meaning and remedy; what could not be looked at. JSON as well."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from rich.console import Console
from rich.markup import escape

from kubeproof.doctor.conclusion import Conclusion
from kubeproof.doctor.diagnosis import Diagnosis
from kubeproof.doctor.evidence import Evidence
from kubeproof.terminal.summary import counted

SCHEMA = "kubeproof.doctor"
SCHEMA_VERSION = 2
"""Raised when a field is renamed, removed, or changes its meaning; not when one is added."""

WHERE = {
    "node": "",
    "here": ", from here",
    "console": ", at its own console",
    "firewall": ", in the firewall or security group between it and the others",
    "hypervisor": ", where it is a virtual machine of, then start it anew",
}


@dataclass(frozen=True)
class Report:
    evidence: Evidence
    conclusion: Conclusion
    taken_at: datetime
    seconds: float

    @property
    def diagnoses(self) -> tuple[Diagnosis, ...]:
        return self.conclusion.diagnoses

    @property
    def not_looked_at(self) -> tuple[str, ...]:
        """A line for each thing that could not be looked at, with the reason, and which causes that leaves open."""
        snapshot = self.evidence.snapshot
        lines = [f"node {name}: {reason}" for name, reason in snapshot.unreachable.items()]
        by_reason: dict[str, list[str]] = {}
        for cause, answer in self.conclusion.answers.items():
            for reason in answer.undecided:
                # The same of several nodes is one reason: the API's silence is no node's.
                short = reason[reason.find("the API could not be read") :] if "the API could not" in reason else reason
                causes = by_reason.setdefault(short, [])
                causes += [cause.name] if cause.name not in causes else []
        if isinstance(snapshot.objects, str) and not any("the API could not" in reason for reason in by_reason):
            lines.append(f"the API could not be read: {snapshot.objects}")
        lines += (
            [] if isinstance(snapshot.objects, str) else [f"not understood: {line}" for line in snapshot.objects.odd]
        )
        lines += [f"{reason}; open: {', '.join(causes)}" for reason, causes in by_reason.items()]
        return tuple(lines)

    @property
    def unexplained(self) -> tuple[str, ...]:
        """Rows of the proof that do not hold, and for which nothing is known that repairs them."""
        return tuple(f"{row.name} on {row.node}" for row in self.conclusion.unexplained)

    @property
    def following(self) -> tuple[str, ...]:
        """Rows of the proof that do not hold either, and follow from what is told."""
        return tuple(f"{row.name} on {row.node}" for row in self.conclusion.following)

    @property
    def is_clear(self) -> bool:
        """Whether the proof holds, everything was looked at, and nothing found."""
        return not (self.evidence.failing or self.diagnoses or self.not_looked_at)

    @property
    def headline(self) -> str:
        named = sum(
            not diagnosis.cause.is_row or any(case.remedies for case in diagnosis.cases) for diagnosis in self.diagnoses
        )
        parts = [counted(named, "diagnosis").replace("diagnosiss", "diagnoses")] if named else []
        rows = len(self.conclusion.unexplained)
        parts += [f"no cause is known for {counted(rows, 'row')} of the proof"] if rows else []
        parts += [] if parts or self.evidence.failing or self.not_looked_at else ["nothing found"]
        parts += (
            [f"{counted(len(self.evidence.failing), 'row')} of the proof do not hold"]
            if not parts and self.evidence.failing
            else []
        )
        parts += [counted(len(self.not_looked_at), "thing") + " could not be looked at"] if self.not_looked_at else []
        return ", ".join(parts)


def show(report: Report, console: Console) -> None:
    """Print the diagnoses, what is left open, and the headline last, where the eye ends."""
    for diagnosis in report.diagnoses:
        _show(diagnosis, report, console)
    for line in report.not_looked_at:
        console.print(f"[bold yellow]![/bold yellow] not looked at  {escape(line)}")
    if report.following:
        shown = ", ".join(report.following)
        console.print(f"[bold yellow]![/bold yellow] does not hold either  {escape(shown)}; `./inv verify` shows more")
    colour = "green" if report.is_clear else "red"
    console.print(f"[bold {colour}]{report.headline}[/bold {colour}] ({report.seconds:.1f}s)")


def _show(diagnosis: Diagnosis, report: Report, console: Console) -> None:
    nodes = ", ".join(case.node for case in diagnosis.cases)
    console.print(f"[bold red]✗[/bold red] [bold]{escape(diagnosis.name)}[/bold]  {escape(nodes)}")
    rule = diagnosis.cause.rule
    several = len(diagnosis.cases) > 1
    lines = [("rule", rule.holds), ("symptom", rule.symptom)]
    lines += [
        ("evidence", f"{case.node}: {line}" if several else line) for case in diagnosis.cases for line in case.evidence
    ]
    lines.append(("meaning", rule.explained))
    lines += [("remedy", line) for line in _remedies(diagnosis, report.evidence)]
    lines += [("look", case.look) for case in diagnosis.cases if case.look]
    last = ""
    for heading, text in [(heading, text) for heading, text in lines if text]:
        console.print(f"  [dim]{'' if heading == last else heading:8}[/dim]  {escape(text)}")
        last = heading
    console.print()


def _remedies(diagnosis: Diagnosis, evidence: Evidence) -> Iterator[str]:
    """What several nodes have in common is said once."""
    for remedy in dict.fromkeys(remedy for case in diagnosis.cases for remedy in case.remedies):
        yield f"{remedy.node}{WHERE[remedy.where]}:"
        yield f"  {remedy.paste(evidence.snapshot.loaded.ssh)}"


def to_json(report: Report) -> dict[str, object]:
    """The stable form of a report: see SCHEMA_VERSION. ``remedies[].paste`` is what the report prints."""
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "taken_at": report.taken_at.astimezone(UTC).isoformat(timespec="seconds"),
        "seconds": round(report.seconds, 2),
        "clear": report.is_clear,
        "diagnoses": [_diagnosis(item, report.evidence) for item in report.diagnoses],
        "not_looked_at": list(report.not_looked_at),
        "unexplained": list(report.unexplained),
        "following": list(report.following),
    }


def _diagnosis(diagnosis: Diagnosis, evidence: Evidence) -> dict[str, object]:
    rule = diagnosis.cause.rule
    return {
        "name": rule.id,
        "holds": rule.holds,
        "symptom": rule.symptom,
        "meaning": rule.meaning,
        "references": list(rule.references),
        "cases": [
            {
                "node": case.node,
                "evidence": list(case.evidence),
                "look": case.look,
                "remedies": [remedy.to_json(evidence.snapshot.loaded.ssh) for remedy in case.remedies],
            }
            for case in diagnosis.cases
        ],
    }
