"""The proof from beginning to end, as `./inv verify` runs it."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from kubeproof.config.cluster import LoadedInventory
from kubeproof.proof import probes
from kubeproof.proof.checks import run_all
from kubeproof.proof.collect import collect
from kubeproof.proof.probe_run import run_matrix
from kubeproof.proof.report import Report, ordered, show
from kubeproof.proof.snapshot import Snapshot
from kubeproof.rules.result import CheckResult
from kubeproof.state.part import Asker
from kubeproof.terminal.console import step
from kubeproof.terminal.reporting import Output, reported

PAUSE_SECONDS = 0.5


def verify(
    loaded: LoadedInventory,
    outputs: Sequence[Output[Report]] = (),
    asker: Asker = Asker.PROOF,
    left_out: frozenset[str] = frozenset(),
) -> int:
    """Prove a cluster's network from live state, print the report, and return the exit code.

    0: everything that was run holds; 1: something does not, a probe did not work, or a node cannot be reached;
    2: a file of ``outputs`` cannot be written. ``asker`` may ask for more than the proof needs. Nodes that are
    ``left_out`` (by name) are read, as the rows of the others need it, and have no rows of their own.
    """
    return reported(lambda: prove(loaded, asker, left_out), show, lambda report: report.holds, outputs)


def prove(loaded: LoadedInventory, asker: Asker = Asker.PROOF, left_out: frozenset[str] = frozenset()) -> Report:
    """All checks and probes, but of nodes that are left out; nothing is printed but progress."""
    started, taken_at = time.monotonic(), datetime.now(UTC)
    with step(f"Reading {len(loaded.cluster.nodes)} nodes and the API"):
        snapshot = replace(collect(loaded, asker), left_out=left_out)
    return Report(snapshot, rows(snapshot), taken_at, time.monotonic() - started)


def prove_within(loaded: LoadedInventory, seconds: float) -> Report:
    """The proof of a cluster that is just starting: again and again until all of it holds, or ``seconds`` are over.

    Probes, which cost most of a proof, are sent where all checks hold, and in the last one.
    """
    deadline = time.monotonic() + seconds
    while True:
        started, taken_at = time.monotonic(), datetime.now(UTC)
        snapshot = collect(loaded)
        results = checks(snapshot)
        is_last = started > deadline
        if is_last or not any(result.is_failing for result in results):
            results += run_matrix(probes.plan(snapshot), snapshot)
            report = Report(snapshot, ordered(results, loaded.cluster), taken_at, time.monotonic() - started)
            if report.holds or is_last:
                return report
        time.sleep(PAUSE_SECONDS)


def checks(snapshot: Snapshot) -> list[CheckResult]:
    """What the proof holds without sending anything: who can be reached, and the rules of each node that was read."""
    return [*snapshot.reachability(), *run_all(snapshot.contexts())]


def rows(snapshot: Snapshot) -> tuple[CheckResult, ...]:
    """Everything that a proof holds, of what was read: checks at once, probes in a second round trip."""
    results = checks(snapshot)
    with step("Probing between pods, nodes and Services"):
        results += run_matrix(probes.plan(snapshot), snapshot)
    return ordered(results, snapshot.loaded.cluster)
