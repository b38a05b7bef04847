"""The doctor on the live lab: each cause is made, it alone is named, repaired as printed, and the proof holds again."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeproof.config.cluster import LoadedInventory
from kubeproof.config.tables import paths
from kubeproof.doctor.catalogue import CAUSES, SUSPECTS
from kubeproof.doctor.report import to_json
from kubeproof.proof.probes import TITLES
from lab.paths import REPOSITORY
from lab.wait import wait_until
from tests.lab import breaking, ends
from tests.lab.breakages import BREAKAGES
from tests.lab.breaking import FAULTS, Fault, console, leader, other, worker
from tests.lab.commands import inv, succeed
from tests.lab.proving import IN_MOTION_SECONDS, diagnosed, names_of, rows
from tests.lab.remote import kubectl, ssh

SETTLE_SECONDS = 120
JOINING = "join-token-expired"
"""Has a test of its own: a host that is no node lacks more than a token."""
OF_OTHER_NETWORKS = ("carrier-refused",)
"""podnet sends nothing by BGP, IP in IP or UDP of its own: these are tried on states (tests/unit/doctor)."""

EVERY = os.environ.get("KUBEPROOF_EVERY_BREAKAGE") == "1"
"""Whether all ways to break a lab are gone through, which takes most of an hour, or those of each kind."""
SHOWN = [fault for fault in FAULTS if EVERY or fault.usual]

pytestmark = pytest.mark.usefixtures("running_lab")


@pytest.fixture
def undo() -> Iterator[list[Callable[[], None]]]:
    """What is done in the end whatever happens, the last one first."""
    steps: list[Callable[[], None]] = []
    yield steps
    for step in reversed(steps):
        step()


def _failing(inventory: LoadedInventory) -> list[str]:
    """Rows of the proof that do not hold. Only a probe may have nothing to look at."""
    found = [row for row in rows(inventory) if row.is_failing or not (row.ok or row.name in TITLES)]
    return [f"{row.name}@{row.node}: {row.found}" for row in found]


def _settles(inventory: LoadedInventory, *, but: str = "") -> None:
    """Wait until the proof holds; ``but`` begins the name of rows that may fail."""
    last: list[str] = []

    def holds() -> bool:
        last[:] = [row for row in _failing(inventory) if not but or not row.startswith(but)]
        return not last

    try:
        wait_until(holds, seconds=SETTLE_SECONDS, what="the proof to hold")
    except Exception:
        print("\n".join(last))
        raise


def _report(inventory: LoadedInventory, *told: str) -> dict[str, Any]:
    """What the doctor finds when nothing is in motion, which has to be ``told`` and nothing else."""
    report = diagnosed(inventory, lambda names: names == set(told))
    assert names_of(report) == set(told), json.dumps(to_json(report), indent=1)
    return to_json(report)


def _by_command(file: Path, told: str) -> dict[str, Any]:
    """What the command tells a program, which is what it tells a person."""
    found: dict[str, Any] = {}

    def is_right() -> bool:
        outcome = inv("doctor", "--json", str(file))
        assert outcome.code == 1, outcome.output
        assert "Traceback" not in outcome.output
        found.update(json.loads(file.read_text()))
        assert all(line in outcome.output for line in _lines(found))
        return [item["name"] for item in found["diagnoses"]] == [told]

    wait_until(is_right, seconds=IN_MOTION_SECONDS, what=f"the doctor to tell {told} and nothing else")
    return found


def remedies_of(report: dict[str, Any]) -> list[dict[str, str]]:
    return [remedy for item in report["diagnoses"] for case in item["cases"] for remedy in case["remedies"]]


def _lines(report: dict[str, Any]) -> list[str]:
    return [remedy["paste"] for remedy in remedies_of(report)]


def apply_remedies(report: dict[str, Any], tools: Path) -> None:
    """Run every remedy where it says, exactly as it is printed."""
    (tools / "virt-xml").write_text(breaking.HYPERVISOR)
    (tools / "virt-xml").chmod(0o755)
    for remedy in remedies_of(report):
        if remedy["where"] == "console":
            console(remedy["node"], remedy["paste"])
            continue
        more = {"PATH": f"{tools}:{os.environ['PATH']}"} if remedy["where"] == "hypervisor" else {}
        done = subprocess.run(
            ["bash", "-c", remedy["paste"]],
            cwd=REPOSITORY,
            env={**os.environ, **more},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{remedy['paste']}: {done.stderr}{done.stdout[-2000:]}"


def test_there_is_a_fault_for_each_diagnosis() -> None:
    made = {fault.name for fault in FAULTS} | {name for breakage in BREAKAGES for name in breakage.told}
    assert {cause.name for cause in (*CAUSES, *SUSPECTS)} - {JOINING, *OF_OTHER_NETWORKS} <= made


def test_each_has_an_end_of_a_trace_or_a_reason_for_none() -> None:
    assert {fault.name for fault in FAULTS} | {breakage.name for breakage in BREAKAGES} == set(ends.WAYS)


def test_a_healthy_cluster_has_nothing(tmp_path: Path, inventory: LoadedInventory) -> None:
    _settles(inventory)  # what came before may still be in motion
    file = tmp_path / "doctor.json"
    output = succeed("doctor", "--json", str(file))
    assert "nothing found" in output
    report = json.loads(file.read_text())
    assert (report["diagnoses"], report["not_looked_at"], report["unexplained"]) == ([], [], [])


@pytest.mark.parametrize("fault", SHOWN, ids=lambda fault: fault.name)
def test_a_fault_is_named_and_repaired(
    fault: Fault, inventory: LoadedInventory, tmp_path: Path, undo: list[Callable[[], None]]
) -> None:
    undo.append(fault.restore)
    fault.make()
    if fault.by_command:
        assert inv("verify").code == 1
        report = _by_command(tmp_path / "doctor.json", fault.name)
    else:
        assert _failing(inventory), "the proof does not see it"
        report = _report(inventory, fault.name)
    ends.check(fault.name, inventory)
    apply_remedies(report, tmp_path)
    if fault.frozen:
        # The agent must not be what repaired it.
        _settles(inventory, but="network-agent-ready")
        fault.restore()
    _settles(inventory)


def test_a_node_that_was_reset_by_hand_is_cleaned_and_joins_again(
    inventory: LoadedInventory, tmp_path: Path, undo: list[Callable[[], None]]
) -> None:
    """`kubeadm reset` leaves what it leaves, and a token that is no longer valid lets nobody in."""
    undo.append(lambda: _join_again(inventory))
    breaking.take_out(other())
    said = breaking.join_too_late(other())
    assert "JWS" in said, said
    assert _failing(inventory)
    report = _report(inventory, "cni-leftovers", JOINING)
    leftovers = [item for item in report["diagnoses"] if item["name"] != JOINING]
    apply_remedies({"diagnoses": leftovers}, tmp_path)
    report = _report(inventory, JOINING)
    assert any("left token" in line for line in report["diagnoses"][0]["cases"][0]["evidence"])
    apply_remedies(report, tmp_path)
    breaking.spread_the_demo()
    _settles(inventory)


def _join_again(inventory: LoadedInventory) -> None:
    """Whatever became of the test, the node is one again."""
    ssh(other().name, f"rm -f {paths.JOIN_CONFIG}")
    if other().name not in kubectl("get nodes -o name"):
        succeed("apply")
        breaking.spread_the_demo()
        _settles(inventory)


def test_what_is_down_is_said_and_nothing_is_made_up(undo: list[Callable[[], None]]) -> None:
    """The API server hangs, a kubelet is stopped, and a node does not answer by ssh: all at once."""
    api = "docker pause $(docker ps -q --filter label=io.kubernetes.container.name=kube-apiserver)"
    undo.append(lambda: (ssh(leader().name, api.replace("pause", "unpause", 1)), None)[1])
    undo.append(lambda: (ssh(worker().name, "systemctl start kubelet"), None)[1])
    undo.append(lambda: (console(other().name, "systemctl start ssh"), None)[1])
    ssh(leader().name, api)
    ssh(worker().name, "systemctl stop kubelet")
    console(other().name, "systemctl stop ssh")
    outcome = inv("doctor")
    assert outcome.code == 1
    assert "Traceback" not in outcome.output
    assert "nothing found" not in outcome.output
    assert f"containers-paused  {leader().name}" in outcome.output
    assert f"kubelet-healthy  {worker().name}" in outcome.output
    assert f"not looked at  node {other().name}: " in outcome.output
    assert "not looked at  the API could not be read" in outcome.output


def test_the_cluster_holds_in_the_end(inventory: LoadedInventory) -> None:
    _settles(inventory)
    assert _report(inventory)["diagnoses"] == []


def test_bad_input_is_refused(tmp_path: Path) -> None:
    assert inv("doctor", "-i", "no-such-file.py").code == 2
    refused = inv("doctor", "--json", str(tmp_path / "none" / "doctor.json"))
    assert refused.code == 2
    assert "there is no folder" in refused.output
