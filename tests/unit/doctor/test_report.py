"""What the doctor says, and what its exit code is."""

import io
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from rich.console import Console

from kubeproof.doctor import examining
from kubeproof.doctor.catalogue import CAUSES
from kubeproof.doctor.evidence import Evidence
from kubeproof.doctor.report import Report, show, to_json, write_json
from kubeproof.proof.checks import run_all
from tests.unit.doctor import patient
from tests.unit.doctor.test_causes import BAD, LOST
from tests.unit.proof import good

FAULTS = {name: change for name, change, *_ in BAD}


def report(change: Callable[[Evidence], Evidence] = lambda item: item) -> Report:
    item = change(patient.evidence())
    answers = {cause: cause.look(item) for cause in CAUSES}
    failing = tuple(result for result in run_all(item.snapshot.contexts()) if not result.ok)
    return Report(item, answers, failing, datetime(2026, 1, 1, tzinfo=UTC), 1.5)


def shown(made: Report) -> str:
    out = io.StringIO()
    show(made, Console(file=out, width=400, highlight=False))
    return out.getvalue()


def test_nothing_is_one_line() -> None:
    assert shown(report()) == "nothing found (1.5s)\n"


def test_a_diagnosis_has_evidence_meaning_and_a_mend_to_paste() -> None:
    text = shown(report(FAULTS["stale-cni0"]))
    assert text.splitlines()[0] == "✗ stale-cni0  node-b"
    for words in (
        "symptom   new pods",
        "evidence  cni0 has 10.199.7.1/24",
        "meaning   the bridge",
        "(kubernetes#39557)",
    ):
        assert words in text
    assert "mend      node-b:" in text
    assert "ssh -o BatchMode=yes node-b 'ip -4 addr flush dev cni0 && ip addr add 10.98.1.1/24 dev cni0'" in text
    assert text.endswith("1 diagnosis (1.5s)\n")


def test_a_mend_is_for_where_it_can_be_run() -> None:
    text = shown(report(LOST))
    assert "node-b, at its own console:" in text
    assert "\n              iptables -P INPUT ACCEPT && iptables -P OUTPUT ACCEPT\n" in text
    assert "not looked at  node node-b: ssh: connect to host" in text
    assert "1 diagnosis, 1 thing could not be looked at" in text


def test_what_nodes_have_in_common_is_said_once() -> None:
    off = patient.both(patient.plane(network_policy="off"), *(_unenforced(name) for name in good.NAMES))
    text = shown(report(off))
    assert text.count("NETWORK_POLICY=enforce") == 1
    assert "✗ policies-not-enforced  node-a, node-b, node-c" in text
    assert "node-b: podnet says that it enforces none" in text


def _unenforced(name: str) -> patient.Change:
    from tests.unit.proof.test_checks import in_force

    return patient.state(name, in_force(enforced=False))


def test_without_an_api_the_reason_is_said_once() -> None:
    made = report(patient.no_api)
    assert not made.is_clear
    assert made.diagnoses == ()
    (line,) = [line for line in made.not_looked_at if "the API could not be read" in line]
    assert "stale-cni0" in line
    assert "the API could not be read: connection refused" in shown(made)


def test_what_the_proof_misses_and_nothing_explains_is_no_clean_bill() -> None:
    made = report(patient.state("node-b", lambda found: found.__class__(**{**vars(found), "subnet_env": None})))
    assert made.unexplained == ("subnet_env on node-b", "subnet_of_node_object on node-b")
    assert not made.is_clear
    assert "not explained  subnet_env on node-b" in shown(made)


def test_json_says_the_same(tmp_path: Path) -> None:
    made = report(FAULTS["stale-cni0"])
    write_json(made, tmp_path / "doctor.json")
    found = json.loads((tmp_path / "doctor.json").read_text())
    assert found == to_json(made)
    assert (found["schema"], found["schema_version"], found["clear"]) == ("kubeproof.doctor", 1, False)
    (diagnosis,) = found["diagnoses"]
    assert diagnosis["name"] == "stale-cni0"
    assert diagnosis["references"] == ["kubernetes#39557"]
    (mend,) = diagnosis["cases"][0]["mends"]
    assert mend["paste"] in shown(made)
    assert (mend["node"], mend["where"]) == ("node-b", "node")


@pytest.mark.parametrize(
    ("change", "code"),
    [(lambda item: item, 0), (FAULTS["swap-on"], 1), (patient.no_api, 1), (patient.unreachable("node-c", "gone"), 1)],
)
def test_exit_codes(change: patient.Change, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examining, "gather", lambda _: change(patient.evidence()))
    assert examining.examine(good.loaded()) == code


def test_a_file_that_cannot_be_written_is_wrong_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(examining, "gather", lambda _: pytest.fail("asked all the same"))
    assert examining.examine(good.loaded(), tmp_path / "none" / "doctor.json") == 2
    assert "there is no folder" in capsys.readouterr().out
