"""The commands that write a page."""

import time
from datetime import UTC, datetime
from pathlib import Path

from kubeproof.config.cluster import LoadedInventory
from kubeproof.pages import difference, page
from kubeproof.pages.way import Way
from kubeproof.proof import proving
from kubeproof.proof.collect import collect
from kubeproof.proof.report import Report, ordered, to_json
from kubeproof.state.part import Asker
from kubeproof.terminal import output_files
from kubeproof.terminal.console import console
from kubeproof.terminal.errors import UserError
from kubeproof.terminal.reporting import Output, as_json
from kubeproof.trace.running import Draw

ASKED = Asker.PROOF | Asker.PAGE
LARGEST_PAGE = 64 * 1024 * 1024
"""Bytes; one of 100 nodes has a fraction of it."""


def report(loaded: LoadedInventory, file: Path, since: Path | None) -> None:
    """Prove a cluster's network and write the page of it, whatever holds. Raises UserError."""
    earlier, problems = None, output_files.problems("FILE", file)
    try:
        earlier = _read(since) if since else None
    except UserError as error:
        problems += error.problems
    if problems:
        raise UserError(problems)
    made = proving.prove(loaded, ASKED)
    write(made, file, earlier)
    console.print(f"{file}: {made.headline}", markup=False)


def verify(loaded: LoadedInventory, json_file: Path | None, html_file: Path) -> int:
    """As :func:`kubeproof.proof.proving.verify`, and the page of that run."""
    outputs = [as_json(json_file, to_json), Output("--html", html_file, write)]
    return proving.verify(loaded, outputs, ASKED)


def drawing(file: Path, *, live: bool) -> Draw:
    """What writes a page with a trace over the picture. Raises UserError if there can be none."""
    problems = output_files.problems("--html", file)
    if not live:
        problems.append("--html: draws a live cluster, leave out --file")
    if problems:
        raise UserError(problems)
    return lambda loaded, prediction, confirmation: draw_walk(loaded, Way.of(prediction, confirmation), file)


def draw_walk(loaded: LoadedInventory, way: Way, file: Path) -> None:
    """Write a page with the way of a packet over it, and of the proof what needs no packets. Raises UserError."""
    started, taken_at = time.monotonic(), datetime.now(UTC)
    snapshot = collect(loaded, ASKED)
    results = ordered(proving.checks(snapshot), loaded.cluster)
    made = Report(snapshot, results, taken_at, time.monotonic() - started)
    output_files.write("--html", file, page.render(made, way=way))


def write(made: Report, file: Path, earlier: difference.Data | None = None) -> None:
    """Write the whole page or leave the old one. Raises UserError."""
    output_files.write("page", file, page.render(made, earlier))


def _read(since: Path) -> difference.Data:
    try:
        if since.stat().st_size > LARGEST_PAGE:
            raise UserError(f"--since {since}: is too large for a page, name one of ./inv report")
        return difference.read(since.read_bytes().decode(errors="replace"), str(since))
    except OSError as error:
        raise UserError(f"--since {since}: cannot be read ({error.strerror}), name a page of ./inv report") from error
