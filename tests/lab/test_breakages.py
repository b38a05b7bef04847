"""What is broken by hand: verify fails, the doctor names it and nothing else, and what it prints repairs it.

Those marked as usual run each time; KUBEPROOF_EVERY_BREAKAGE=1 runs all of them, which takes half an hour.
"""

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from kubeproof.config.cluster import LoadedInventory
from kubeproof.doctor.examining import diagnose
from kubeproof.doctor.report import to_json
from lab.wait import wait_until
from tests.lab import breakages, ends
from tests.lab.breakages import BREAKAGES, Breakage
from tests.lab.proving import Prover, diagnosed, names_of
from tests.lab.test_doctor import EVERY, apply_remedies, remedies_of

pytestmark = pytest.mark.usefixtures("running_lab")
SECONDS = 180
"""For the proof to hold when nothing is broken any more: pods are made anew."""
SHOWN = [breakage for breakage in BREAKAGES if EVERY or breakage.usual]


@pytest.fixture(scope="module")
def prover(inventory: LoadedInventory) -> Iterator[Prover]:
    proven: list[Prover] = []

    def holds() -> bool:
        with suppress(AssertionError):
            proven.append(Prover(inventory))
        return bool(proven)

    wait_until(holds, seconds=400, what="the proof to hold to begin with")
    yield proven[0]
    proven[0].wait(seconds=SECONDS)


@pytest.mark.parametrize("breakage", SHOWN, ids=lambda breakage: breakage.name.replace(" ", "-"))
def test_a_breakage_is_named_and_repaired(
    breakage: Breakage, inventory: LoadedInventory, prover: Prover, tmp_path: Path
) -> None:
    undone = breakages.filled(breakage.undo)
    try:
        breakages.make(breakage)
        report = diagnosed(inventory, breakage.is_told)
        found: dict[str, Any] = to_json(report)
        ends.check(breakage.name, inventory)
        apply_remedies(found, tmp_path)
        for _ in range(breakage.rounds - 1):
            if prover.holds(seconds=breakage.seconds):
                break
            apply_remedies(to_json(diagnose(inventory)), tmp_path)
        prover.wait(seconds=breakage.seconds)
    finally:
        breakages.undo(breakage, undone)
        with suppress(AssertionError):  # the API may not answer yet
            if breakages.renew():
                prover.wait(seconds=SECONDS)
    shown = json.dumps(found, indent=1)
    assert report.evidence.failing, f"the proof does not see it: {shown}"
    assert not report.is_clear
    assert breakage.is_told(names_of(report)), shown
    assert bool(remedies_of(found)) == breakage.has_remedy, shown
