"""The proof in process, asked again and again until all of it holds that held before."""

import time
from collections.abc import Callable

from kubeproof.config.cluster import LoadedInventory
from kubeproof.doctor.examining import diagnose
from kubeproof.doctor.report import Report
from kubeproof.proof import probes
from kubeproof.proof.collect import collect
from kubeproof.proof.probe_run import run_matrix
from kubeproof.proof.proving import checks
from kubeproof.rules.result import CheckResult, Status
from kubeproof.terminal.errors import CommandError

PAUSE_SECONDS = 0.5
SHOWN = 8
IN_MOTION_SECONDS = 60
"""For how long pods that a change has started anew, and what kube-proxy and the network agents make of it, may be told
beside what is broken: a DaemonSet's new pod needs 15 s to be ready on a busy machine."""


def diagnosed(inventory: LoadedInventory, are_right: Callable[[set[str]], bool]) -> Report:
    """What the doctor says when nothing is in motion any more and the names of what it tells are right.

    What is broken stays broken, so that a wrong diagnosis stays, too: the doctor is asked again for a while, and its
    last answer is returned whatever it says.
    """
    deadline = time.monotonic() + IN_MOTION_SECONDS
    while True:
        report = diagnose(inventory)
        if are_right(names_of(report)) or time.monotonic() > deadline:
            return report
        time.sleep(PAUSE_SECONDS)


def names_of(report: Report) -> set[str]:
    """What a report tells, by name."""
    return {item.name for item in report.diagnoses}


class Prover:
    """Knows which rows hold of a cluster that is well; fewer of them are no proof, though nothing fails."""

    def __init__(self, loaded: LoadedInventory) -> None:
        self._loaded = loaded
        found = rows(self._loaded)
        wrong = [row for row in found if row.is_failing]
        assert not wrong, f"the proof does not hold to begin with:\n{_shown(wrong)}"
        self._usual = {(row.node, row.name) for row in found if row.status is Status.HOLDS}

    def wait(self, *, seconds: float) -> None:
        """Return when the whole proof holds. CommandError with what does not when ``seconds`` have passed."""
        deadline = time.monotonic() + seconds
        while missing := self.missing():
            if time.monotonic() > deadline:
                raise CommandError(f"after {seconds:.0f}s the proof does not hold:\n{missing}")
            time.sleep(PAUSE_SECONDS)

    def holds(self, *, seconds: float) -> bool:
        """Whether the whole proof holds before ``seconds`` have passed."""
        try:
            self.wait(seconds=seconds)
        except CommandError:
            return False
        return True

    def missing(self) -> str:
        """What does not hold that should, one line each; "" if all does."""
        found = rows(self._loaded)
        holding = {(row.node, row.name) for row in found if row.status is Status.HOLDS}
        wrong = [row for row in found if row.is_failing]
        absent = [f"{node} {name}: not proven" for node, name in sorted(self._usual - holding)]
        return _shown(wrong) if wrong else "\n".join(absent[:SHOWN])


def rows(inventory: LoadedInventory) -> list[CheckResult]:
    """The proof. Probes are sent only where all checks hold: they cost most of it."""
    snapshot = collect(inventory)
    found = checks(snapshot)
    if any(row.is_failing for row in found):
        return found
    return [*found, *run_matrix(probes.plan(snapshot), snapshot)]


def _shown(rows: list[CheckResult]) -> str:
    return "\n".join(f"{row.node} {row.name}: {row.found}" for row in rows[:SHOWN])
