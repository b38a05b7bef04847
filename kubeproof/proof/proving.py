"""The proof from beginning to end, as `./inv verify` runs it."""

import time
from datetime import UTC, datetime
from pathlib import Path

from kubeproof import output_files
from kubeproof.cluster import LoadedInventory
from kubeproof.console import console, step
from kubeproof.errors import EXIT_BAD_INPUT, EXIT_NOT_HOLDING, EXIT_OK, UserError
from kubeproof.proof import probes
from kubeproof.proof.checks import run_all
from kubeproof.proof.collect import collect
from kubeproof.proof.probe_run import run_matrix
from kubeproof.proof.report import Report, ordered, show, write_json


def verify(loaded: LoadedInventory, json_file: Path | None = None) -> int:
    """Prove a cluster's network from live state, print the report, and return the exit code.

    0: everything that was run holds; 1: something does not, a probe did not work, or a node cannot be reached;
    2: ``json_file`` cannot be written.
    """
    try:
        if problems := output_files.problems("--json", json_file):
            raise UserError(problems)
        report = prove(loaded)
        show(report, console)
        if json_file is not None:
            write_json(report, json_file)
    except UserError as error:
        for problem in error.problems:
            console.print(f"error: {problem}", markup=False)
        return EXIT_BAD_INPUT
    return EXIT_OK if report.holds else EXIT_NOT_HOLDING


def prove(loaded: LoadedInventory) -> Report:
    """All checks and probes; nothing is printed but progress."""
    started, taken_at = time.monotonic(), datetime.now(UTC)
    with step(f"Reading {len(loaded.cluster.nodes)} nodes and the API"):
        snapshot = collect(loaded)
    results = [*snapshot.reachability(), *run_all(snapshot.contexts())]
    with step("Probing between pods, nodes and Services"):
        results += run_matrix(probes.plan(snapshot), snapshot)
    return Report(loaded.cluster, ordered(results, loaded.cluster), taken_at, time.monotonic() - started)
