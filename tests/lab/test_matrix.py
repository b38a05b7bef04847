"""The truth table on the live lab: every case of the suite, a user's own file, and that the check can fail."""

import json
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kubeproof.config.cluster import LoadedInventory
from kubeproof.matrix.channel import Channels
from kubeproof.matrix.result import RunResult
from kubeproof.matrix.running import Access, Options, Run
from lab.paths import REPOSITORY
from lab.settings import load
from tests.lab.agents import no_agents
from tests.lab.commands import inv, succeed
from tests.lab.matrix_traces import Traced
from tests.lab.remote import kubectl, ssh
from tests.lab.tracing import disagreement

pytestmark = pytest.mark.usefixtures("running_lab")

SUITE_SECONDS = 600
"""What a full run may take."""
TRACED_EACH = 10
"""Cases from one to the next whose cells are predicted, too."""
WATCHED = 200
"""Packets at least that are watched in the cases that are traced."""
UNDECIDED_SHARE = 0.02
CELLS_OF_A_CASE = 1000
"""At least: three namespaces of three pods, three protocols, two ports, three ways to a target, and other clients."""
OWN_FILE = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: only-from-b, namespace: kubeproof-x}
spec:
  podSelector: {matchLabels: {pod: a}}
  ingress:
    - from: [{podSelector: {matchLabels: {pod: b}}}]
"""


def _nothing_is_left() -> bool:
    return kubectl("get namespaces -o name -l app.kubernetes.io/managed-by=kubeproof") == "" and not kubectl(
        "get networkpolicies -A -o name"
    )


def test_the_whole_suite_is_as_expected_and_as_traced(tmp_path: Path, inventory: LoadedInventory) -> None:
    table, junit = tmp_path / "table.json", tmp_path / "junit.xml"
    traced: list[Traced] = []

    def channels(loaded: LoadedInventory, clients: Sequence[str]) -> Traced:
        traced.append(Traced(loaded, Channels.to(loaded, clients), TRACED_EACH))
        return traced[-1]

    result = Run(inventory, Options(json_file=table, junit_file=junit), Access(channels=channels)).run()
    assert result.holds
    assert result.seconds < SUITE_SECONDS
    _as_traced(traced[0], result)
    found = json.loads(table.read_text())
    totals = found["totals"]
    assert totals["cases"] > 100
    assert (totals["differs"], totals["wrong"], totals["failed"]) == (0, 0, 0)
    assert totals["cells"] > totals["holds"] * CELLS_OF_A_CASE
    assert found["not_probed"] == []
    not_run = [case for case in found["cases"] if case["not_run"]]
    assert all("1.20" in case["not_run"] and "endPort" in case["not_run"] for case in not_run)
    probed = [case for case in found["cases"] if not case["not_run"]]
    protocols = {table["protocol"] for case in probed for table in case["tables"]}
    assert protocols == {"TCP", "UDP", "SCTP"}
    cases = ElementTree.parse(junit).getroot().iter("testcase")  # noqa: S314  # written a moment ago by ./inv
    assert len(list(cases)) == totals["cases"]
    assert _nothing_is_left()


def _as_traced(traced: Traced, result: RunResult) -> None:
    """What was found blocked and allowed is what is predicted from the nodes' state, and seen of watched packets."""
    cells = list(traced.cells(result))
    undecided = sum(mark is None for _, _, mark in cells)
    print(
        f"{len(traced.looks)} cases, {len(cells)} cells, {undecided} undecided, {len(traced.watched)} watched packets"
    )
    assert len(cells) > len(traced.looks) * CELLS_OF_A_CASE
    assert undecided <= UNDECIDED_SHARE * len(cells)
    assert [f"{key}: {found}, {mark}" for key, found, mark in cells if mark not in (None, found)] == []
    assert len(traced.watched) >= WATCHED
    assert [wrong for each in traced.watched if (wrong := disagreement(*each))] == []


def test_a_file_of_ones_own_is_shown_as_grids(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text(OWN_FILE)
    output = succeed("matrix", str(file), "--keep")
    assert "x/c          X" in output
    assert "0 wrong" in output
    assert kubectl("get networkpolicies -A -o name") == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", "YAML"),
        ("{kind: Pod, apiVersion: v1, metadata: {name: x}}", "Pod"),
        (OWN_FILE.replace("kubeproof-x", "elsewhere"), "elsewhere"),
        (OWN_FILE + "      ports: [{port: 80, endPort: 81}]\n", "endPort"),
    ],
)
def test_a_file_that_cannot_be_tried_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    outcome = inv("matrix", str(file), "--keep")
    assert outcome.code == 2
    assert said in outcome.output
    assert "Traceback" not in outcome.output
    assert kubectl("get networkpolicies -A -o name") == ""


def test_without_enforcement_the_run_fails(tmp_path: Path) -> None:
    table = tmp_path / "table.json"
    with no_agents():
        for node in load().nodes:
            ssh(node.name, "nft delete table inet podnet")
        outcome = inv("matrix", "--only", "deny-ingress", "--keep", "--json", str(table))
    assert outcome.code == 1
    assert json.loads(table.read_text())["totals"]["wrong"] > 0
    assert "rule: denied: ingress of kubeproof-x/b: isolated by kubeproof-x/deny-ingress" in outcome.output
    assert inv("matrix", "--only", "deny-ingress", "--keep").code == 0


def test_after_ctrl_c_nothing_is_left() -> None:
    process = subprocess.Popen(
        [REPOSITORY / "inv", "matrix", "--only", "deny-*"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stdout
        for line in process.stdout:
            if "before-any-policy" in line:
                process.send_signal(signal.SIGINT)
                break
        rest = process.stdout.read()
    assert process.returncode == 130, rest
    assert _nothing_is_left()
