"""What the doctor says, and what its exit code is."""

import io
import json
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from kubeproof.doctor import examining, rows
from kubeproof.doctor.catalogue import CAUSES, SUSPECTS
from kubeproof.doctor.conclusion import conclude
from kubeproof.doctor.evidence import Evidence
from kubeproof.doctor.report import Report, show, to_json
from kubeproof.proof import report as proof_report
from kubeproof.proof.checks import run_all
from kubeproof.proof.probes import TITLES
from kubeproof.proof.report import TITLES_BY_NAME, ordered
from kubeproof.rules.result import CheckResult
from tests.unit.doctor import patient
from tests.unit.doctor.test_causes import BAD, LOST
from tests.unit.proof import good, test_checks

FAULTS = {name: change for name, change, *_ in BAD}


def report(change: Callable[[Evidence], Evidence] = lambda item: item) -> Report:
    item = patient.proven(change(patient.evidence()))
    return Report(item, conclude(item), datetime(2026, 1, 1, tzinfo=UTC), 1.5)


def shown(made: Report) -> str:
    out = io.StringIO()
    show(made, Console(file=out, width=400, highlight=False))
    return out.getvalue()


def test_nothing_is_one_line() -> None:
    assert shown(report()) == "nothing found (1.5s)\n"


def test_a_diagnosis_has_evidence_meaning_and_a_remedy_to_paste() -> None:
    text = shown(report(FAULTS["cni0-address"]))
    assert text.splitlines()[0] == "✗ cni0-address  node-b"
    for words in (
        "rule      cni0 has the first address of S",
        "symptom   new pods",
        "found 10.199.7.1/24",
        "meaning   the bridge",
        "(kubernetes#39557)",
    ):
        assert words in text
    assert "remedy    node-b:" in text
    assert (
        "ssh -o BatchMode=yes node-b 'ip addr add 10.98.1.1/24 dev cni0 && ip addr del 10.199.7.1/24 dev cni0'" in text
    )
    assert text.endswith("1 diagnosis (1.5s)\n")


def test_a_remedy_is_for_where_it_can_be_run() -> None:
    text = shown(report(LOST))
    assert "node-b, at its own console:" in text
    assert "\n              iptables -P INPUT ACCEPT && iptables -P OUTPUT ACCEPT\n" in text
    assert "not looked at  node node-b: ssh: connect to host" in text
    assert "1 diagnosis, 1 thing could not be looked at" in text


def test_what_nodes_have_in_common_is_said_once() -> None:
    off = patient.both(patient.plane(network_policy="off"), *(_unenforced(name) for name in good.NAMES))
    text = shown(report(off))
    assert text.count("NETWORK_POLICY=enforce") == 1
    assert "✗ policies-in-force  node-a, node-b, node-c" in text
    assert "node-b: podnet says that it enforces none" in text


def _unenforced(name: str) -> patient.Change:
    from tests.unit.proof.test_checks import in_force

    return patient.state(name, in_force(enforced=False))


def test_without_an_api_the_reason_is_said_once() -> None:
    made = report(patient.no_api)
    assert not made.is_clear
    assert [item.name for item in made.diagnoses] == ["api"]
    (line,) = [line for line in made.not_looked_at if "the API could not be read" in line]
    assert "pod-cidr-mismatch" in line
    assert "the API could not be read: connection refused" in shown(made)


def test_what_nothing_is_known_to_repair_is_no_clean_bill() -> None:
    made = report(patient.lost("pod-to-node", "node-b"))
    assert made.unexplained == ("pod-to-node on node-b",)
    assert not made.is_clear
    text = shown(made)
    assert "✗ pod-to-node  node-b" in text
    assert "look      ssh node-b true" in text
    assert "no cause is known for 1 row of the proof" in text


def test_what_follows_from_a_diagnosis_is_said_in_one_line() -> None:
    made = report(patient.both(FAULTS["cni0-address"], patient.lost("pod-to-node", "node-b")))
    assert made.following == ("pod-to-node on node-b",)
    text = shown(made)
    assert "! does not hold either  pod-to-node on node-b; `./inv verify`" in text
    assert text.endswith("1 diagnosis (1.5s)\n")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        *((name, patient.state("node-b", change)) for name, change, _ in test_checks.ON_NODE_B),
        *((name, patient.api(change)) for name, change, _ in test_checks.IN_API),
        *((name, patient.lost(name, "node-b")) for name in TITLES),
        ("reachable", patient.unreachable("node-c", "no route to host")),
        ("api", patient.no_api),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_verify_and_doctor_never_disagree(
    name: str, change: patient.Change, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each row of the proof broken in each way that its tests know: both fail, and the doctor names it."""
    item = patient.proven(change(patient.evidence()))
    assert name in {row.name for row in item.failing}
    results = ordered(
        [*item.snapshot.reachability(), *run_all(item.snapshot.contexts()), *_probes(item)], good.cluster()
    )
    assert not proof_report.Report(good.snapshot(), results, datetime(2026, 1, 1, tzinfo=UTC), 1.0).holds
    monkeypatch.setattr(examining, "gather", lambda _: item)
    monkeypatch.setattr(examining, "rows", lambda _: results)
    assert examining.examine(good.loaded()) == 1
    said = capsys.readouterr().out
    assert "nothing found" not in said
    made = report(change)
    assert made.diagnoses
    told = {diagnosis.name for diagnosis in made.diagnoses}
    following = {line.partition(" on ")[0] for line in made.following}
    assert {row.name for row in item.failing} <= told | following
    for case in [case for diagnosis in made.diagnoses for case in diagnosis.cases]:
        assert case.remedies or case.look, case
        assert all(shlex.split(remedy.command) for remedy in case.remedies)


def _probes(item: Evidence) -> list[CheckResult]:
    return [row for row in item.failing if row.name in TITLES]


def test_each_row_is_known_to_follow_or_to_be_told_by_its_own_name() -> None:
    """Names of rows that causes speak of are those of the proof."""
    known = {*TITLES_BY_NAME, "*"}
    for cause in (*CAUSES, *SUSPECTS):
        assert {*cause.follows.here, *cause.follows.everywhere} <= known, cause.name
        assert {*cause.follows.hides} <= {"*", *(other.name for other in (*CAUSES, *SUSPECTS))}, cause.name
    assert {*rows.QUIET, *rows.FOLLOWING} <= known
    assert {name for names in rows.FOLLOWING.values() for name in names} <= known


def test_json_says_the_same() -> None:
    made = report(FAULTS["cni0-address"])
    found = json.loads(json.dumps(to_json(made)))
    assert (found["schema"], found["schema_version"], found["clear"]) == ("kubeproof.doctor", 2, False)
    (diagnosis,) = found["diagnoses"]
    assert diagnosis["name"] == "cni0-address"
    assert diagnosis["references"] == ["kubernetes#39557"]
    (remedy,) = diagnosis["cases"][0]["remedies"]
    assert remedy["paste"] in shown(made)
    assert (remedy["node"], remedy["where"]) == ("node-b", "node")


@pytest.mark.parametrize(
    ("change", "code"),
    [(lambda item: item, 0), (FAULTS["swap"], 1), (patient.no_api, 1), (patient.unreachable("node-c", "gone"), 1)],
)
def test_exit_codes(change: patient.Change, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    item = patient.proven(change(patient.evidence()))
    monkeypatch.setattr(examining, "gather", lambda _: item)
    monkeypatch.setattr(examining, "rows", lambda _: item.failing)
    assert examining.examine(good.loaded()) == code


def test_a_file_that_cannot_be_written_is_wrong_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(examining, "gather", lambda _: pytest.fail("asked all the same"))
    assert examining.examine(good.loaded(), tmp_path / "none" / "doctor.json") == 2
    assert "there is no folder" in capsys.readouterr().out
