"""From all that was seen to what is told: each failing row of the proof has a cause, or is one itself. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from kubeproof.doctor import rows
from kubeproof.doctor.catalogue import CAUSES, SUSPECTS
from kubeproof.doctor.causes_running import LACKING, SERVICE_ROWS, demo_down
from kubeproof.doctor.diagnosis import Answer, Case, Cause, Diagnosis
from kubeproof.doctor.evidence import Evidence
from kubeproof.proof.probes import TITLES
from kubeproof.proof.snapshot import API, REACHABLE
from kubeproof.rules.context import NO_API, NOT_READ
from kubeproof.rules.membership import kubelet_reached
from kubeproof.rules.result import CheckResult
from kubeproof.rules.services import lacks_entrance, service_chains


@dataclass(frozen=True)
class Conclusion:
    """What is told. ``following`` are failing rows that the diagnoses account for, ``unexplained`` those without a
    cause that is known, which are told as what they are."""

    diagnoses: tuple[Diagnosis, ...]
    answers: Mapping[Cause, Answer]
    following: tuple[CheckResult, ...]
    unexplained: tuple[CheckResult, ...]


def failing(results: Iterable[CheckResult]) -> tuple[CheckResult, ...]:
    return tuple(result for result in results if result.is_failing)


def conclude(evidence: Evidence) -> Conclusion:
    """Causes that are certain first, then checks that do not hold, then what may be in the way of packets."""
    answers = {cause: cause.look(evidence) for cause in CAUSES}
    told = _without_hidden([answer.diagnosis for answer in answers.values() if answer.diagnosis])
    checks = [row for row in evidence.failing if row.name not in TITLES]
    # Without the API, which is a row of its own, no probe is sent.
    probes = [row for row in evidence.failing if row.name in TITLES and not isinstance(evidence.snapshot.objects, str)]
    told, unknown = _with_rows(evidence, told, checks)
    if not any(item.cause.follows.traffic for item in told) and (probes or unknown):
        suspects = {cause: cause.look(evidence) for cause in SUSPECTS}
        answers |= suspects
        found = [answer.diagnosis for answer in suspects.values() if answer.diagnosis]
        unknown = [row for row in unknown if not _explained(row, found)]
        told += found
    unknown += [row for row in probes if not _explained(row, told) and not (told and row.found.startswith(LACKING))]
    told += rows.untold(unknown)
    unknown = [row for row in unknown if not row.remedies]
    known = [row for row in evidence.failing if row not in unknown]
    following = [row for row in known if not any(_is_told(row, item) for item in told)]
    return Conclusion(tuple(told), answers, tuple(following), tuple(unknown))


def _is_told(row: CheckResult, item: Diagnosis) -> bool:
    return item.name == row.name and (item.cause.is_row or any(case.node == row.node for case in item.cases))


def _without_hidden(found: list[Diagnosis]) -> list[Diagnosis]:
    """Without cases that their node only seems to have, because of another one that it has.

    The demo is moved or not ready for most of them; it is told where nothing else is.
    """
    kept = []
    for item in found:
        if item.cause is demo_down and len(found) > 1:
            continue
        others = [other for other in found if other is not item and other.cause.follows.traffic]
        cases = tuple(
            case
            for case in item.cases
            if not any(_hides(other, item, case) for other in found)
            and not (others and any(remedy.where == "firewall" for remedy in case.remedies))
        )
        kept += [replace(item, cases=cases)] if cases else []
    return kept


def _hides(other: Diagnosis, item: Diagnosis, case: Case) -> bool:
    names = other.cause.follows.hides
    if other is item or not (item.name in names or "*" in names):
        return False
    # What a cause does to all nodes hides what only that would be said of on any of them.
    rows_of, follows = item.cause.follows.here, other.cause.follows.everywhere
    everywhere = "*" in follows or (bool(rows_of) and set(rows_of) <= set(follows))
    return everywhere or any(each.node == case.node for each in other.cases)


def _explained(row: CheckResult, told: Iterable[Diagnosis]) -> bool:
    """Whether a failing row follows from what is told: lost packets fail any probe, and the way to kubelets."""
    return any(
        ((row.name in TITLES or row.name == kubelet_reached.id) and item.cause.follows.traffic)
        or any(item.cause.follows.covers(case.node, row.name, row.node) for case in item.cases)
        for item in told
    )


def _with_rows(
    evidence: Evidence, told: list[Diagnosis], checks: list[CheckResult]
) -> tuple[list[Diagnosis], list[CheckResult]]:
    """Add checks that nothing explains as diagnoses of their own; return those without a remedy, too."""
    by_row: dict[str, list[Case]] = {}
    found: list[Diagnosis] = []
    for row in checks:
        known = [*told, *(item for item in found if item.name != row.name)]
        if not row.remedies or _undecided(row, checks) or _late(evidence, row, known) or _explained(row, known):
            continue
        by_row.setdefault(row.name, []).append(rows.case_of(row))
        found = [Diagnosis(rows.cause_of(name), tuple(cases)) for name, cases in by_row.items()]
    known = [*told, *found]
    others = [row for row in checks if not (row.remedies or _undecided(row, checks) or _late(evidence, row, known))]
    return known, [row for row in others if not _explained(row, known)]


def _undecided(row: CheckResult, checks: list[CheckResult]) -> bool:
    """Whether a check only lacks what it compares with, which is a row of its own: the API, or another node."""
    failing = {check.name for check in checks} - {row.name}
    silent = API in failing and NO_API in row.found
    return silent or (NOT_READ in row.found and bool(failing & {REACHABLE, "flannel-device"}))


def _late(evidence: Evidence, row: CheckResult, told: list[Diagnosis]) -> bool:
    """Whether Services may only not be up to date: pods that are not reached leave them, at each node in its time."""
    if row.name not in SERVICE_ROWS:
        return False
    if row.name == service_chains.id and lacks_entrance(evidence.snapshot.context(row.node)):
        return False
    return any(item.cause.follows.traffic and item.name not in SERVICE_ROWS for item in told)
