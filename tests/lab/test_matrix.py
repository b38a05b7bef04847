"""The truth table on the live lab: every case of the suite, a user's own file, and that the check can fail."""

import json
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from kubeproof.config.cluster import LoadedInventory
from kubeproof.matrix import cases
from kubeproof.matrix.layout import TARGET_NAMESPACES
from kubeproof.trace import collecting
from kubeproof.trace.endpoints import Asked
from kubeproof.trace.model import End
from kubeproof.trace.world import make
from lab.paths import REPOSITORY
from lab.settings import load
from lab.wait import wait_until
from tests.lab.agents import no_agents
from tests.lab.commands import inv, succeed
from tests.lab.remote import kubectl, ssh
from tests.lab.tracing import confirm, disagreement

pytestmark = pytest.mark.usefixtures("running_lab")

TRACED = {
    "x": ("namespace-and-pod", "deny-ingress"),
    "y": ("block-except-pod",),
    "z": ("egress-to-pods", "port-by-name"),
}
"""Cases of the suite whose policies are in force at once, by namespace."""
SUITE_SECONDS = 600
"""What a full run may take."""
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


def test_the_whole_suite_is_as_expected(tmp_path: Path) -> None:
    table, junit = tmp_path / "table.json", tmp_path / "junit.xml"
    succeed("matrix", "--json", str(table), "--junit", str(junit), timeout=SUITE_SECONDS)
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


@pytest.fixture
def policies_of_the_suite() -> Iterator[None]:
    """In force, each set in a namespace of its own, between the probe pods that the tests before have kept."""
    addresses = {"pod_cidr": str(load().pod_cidr), "pod:y/b": _address("kubeproof-y", "b")}
    by_name = {case.name: case for case in cases.load()}
    objects = [
        {**policy, "metadata": {"namespace": f"kubeproof-{short}", "name": name}}
        for short, names in TRACED.items()
        for name in names
        for policy in by_name[name].policies_for(addresses)
    ]
    kubectl("apply -f -", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    try:
        wait_until(lambda: inv("verify").code == 0, seconds=60, what="the policies to be in force")
        yield
    finally:
        kubectl("delete networkpolicies --all --all-namespaces")


def _address(namespace: str, pod: str) -> str:
    return kubectl(f"get pod -n {namespace} {pod} -o jsonpath={{.status.podIP}}")


@pytest.mark.usefixtures("policies_of_the_suite")
def test_under_its_policies_traces_are_seen_as_predicted(inventory: LoadedInventory) -> None:
    """From every probe pod and node to every probe pod, and to the Services of those that policies select."""
    world = make(collecting.collect(inventory))
    pods = sorted(pod for node in world.nodes.values() for pod in node.pods if pod.startswith(TARGET_NAMESPACES))
    assert len(pods) == 9
    selected = [f"kubeproof-{short}" for short in TRACED]
    asked = [Asked(source, pod, "80") for source in (*pods, *world.nodes) for pod in pods if source != pod]
    asked += [Asked(source, f"{namespace}/a", "81") for source in pods for namespace in selected]
    asked += [Asked(source, f"{namespace}/s-a", "80") for source in pods for namespace in selected]
    asked = sorted((each for each in asked if each.source != each.destination), key=lambda each: each.source)
    found = list(confirm(world, asked, inventory.ssh))
    kinds = Counter(one.walk.outcome.end for _, one in found)
    assert len(found) > 140
    assert kinds.keys() == {End.ARRIVED, End.DROPPED}
    assert [wrong for each in found if (wrong := disagreement(*each))] == []
    denied = {one.walk.outcome.owner for _, one in found if one.walk.outcome.end is End.DROPPED}
    assert denied == {"podnet"}


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
