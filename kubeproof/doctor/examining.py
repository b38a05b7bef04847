"""The doctor's visit from beginning to end, as `./inv doctor` makes it."""

import secrets
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from kubeproof.config.cluster import LoadedInventory
from kubeproof.doctor.conclusion import conclude, failing
from kubeproof.doctor.evidence import Evidence
from kubeproof.doctor.questions import control_plane_of, of_control_plane, parts_of
from kubeproof.doctor.report import Report, show, to_json
from kubeproof.proof.collect import collect_with
from kubeproof.proof.proving import rows
from kubeproof.state.part import texts
from kubeproof.terminal.console import step
from kubeproof.terminal.reporting import as_json, reported

SECONDS = 25
"""The longest question: packets that nobody answers, each waited for a few seconds."""


def examine(loaded: LoadedInventory, json_file: Path | None = None) -> int:
    """Look at a cluster, print what is wrong with it, and return the exit code.

    0: the proof holds, everything could be looked at, and nothing was found; 1: else;
    2: ``json_file`` cannot be written.
    """
    output = as_json(json_file, to_json)
    return reported(lambda: diagnose(loaded), show, lambda report: report.is_clear, [output])


def diagnose(loaded: LoadedInventory) -> Report:
    """Everything but printing; nothing is changed on any node."""
    started, taken_at = time.monotonic(), datetime.now(UTC)
    with step(f"Looking at {len(loaded.cluster.nodes)} nodes, sending packets between them, and asking the API"):
        evidence = gather(loaded)
    evidence = replace(evidence, failing=failing(rows(evidence.snapshot)))
    return Report(evidence, conclude(evidence), taken_at, time.monotonic() - started)


def gather(loaded: LoadedInventory) -> Evidence:
    """Read all nodes and the API, in one round trip for each node."""
    nonce, leader = secrets.token_hex(4), loaded.cluster.leader.name
    settings = loaded.cluster.settings
    snapshot, answers = collect_with(
        loaded,
        {node.name: parts_of(loaded, node.name, nonce=nonce) for node in loaded.cluster.nodes},
        {leader: texts(of_control_plane(settings))},
        seconds=SECONDS,
    )
    return Evidence(
        snapshot=snapshot,
        control_plane=control_plane_of(settings, answers.get(leader, {})),
        now=datetime.now(UTC),
        apply=loaded.inv("apply"),
    )
