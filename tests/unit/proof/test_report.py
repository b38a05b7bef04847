"""The report and the course of a proof."""

import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from kubeproof.config.cluster import LoadedInventory, Node, SshAccess
from kubeproof.proof import collect as collecting
from kubeproof.proof import hosts, probe_run, proving
from kubeproof.proof.collect import collect
from kubeproof.proof.probes import Matrix
from kubeproof.proof.report import Report, ordered, show, to_json
from kubeproof.proof.snapshot import Snapshot
from kubeproof.rules.result import CheckResult, Remedy, Status
from kubeproof.state.collector import Output
from kubeproof.terminal.reporting import as_json
from tests.unit.node.test_parts import outputs
from tests.unit.proof import good
from tests.unit.serving import serving

TAKEN_AT = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


def result(name: str, node: str, status: Status = Status.HOLDS) -> CheckResult:
    return CheckResult(node, name, status, "[expected]", "found [this]", "ssh there 'look'")


def report(*results: CheckResult) -> Report:
    return Report(good.snapshot(), results, TAKEN_AT, 4.2)


def shown(made: Report) -> str:
    console = Console(file=io.StringIO(), width=120, highlight=False)
    show(made, console)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def test_the_headline_counts_what_was_run() -> None:
    made = report(
        result("swap", "node-a"),
        result("swap", "node-b", Status.FAILS),
        result("dns-names", "node-b", Status.BROKEN),
        result("dns-names", "node-c", Status.NOT_RUN),
    )
    assert made.headline == "1 of 3 hold, 1 do not, 1 probes did not work, 1 not run"
    assert not made.holds


@pytest.mark.parametrize(
    ("statuses", "holds"),
    [
        ([Status.HOLDS], True),
        ([Status.HOLDS, Status.NOT_RUN], True),
        ([Status.HOLDS, Status.BROKEN], False),
        ([Status.HOLDS, Status.FAILS], False),
        ([Status.NOT_RUN], False),
        ([], False),
    ],
)
def test_a_proof_holds_only_if_something_was_run_and_all_of_it_holds(statuses: list[Status], holds: bool) -> None:
    assert report(*(result("swap", "node-a", status) for status in statuses)).holds is holds


def test_the_table_has_a_row_for_each_check_and_a_column_for_each_node() -> None:
    text = shown(report(result("swap", "node-a"), result("swap", "node-c", Status.FAILS)))
    (row,) = [line for line in text.splitlines() if line.strip("│ ").startswith("swap") and "✓" in line]
    assert [cell.strip() for cell in row.strip("│").split("│")] == ["swap", "✓", "–", "✗"]


def test_a_failure_shows_expected_found_and_where_to_look() -> None:
    text = shown(report(result("swap", "node-b", Status.FAILS)))
    assert "no swap is in use" in text
    assert "[expected]" in text
    assert "found [this]" in text
    assert "ssh there 'look'" in text
    assert "kubelet refuses to start while swap is on" in " ".join(text.split())


def test_a_failure_shows_what_repairs_it() -> None:
    failing = result("swap", "node-b", Status.FAILS)
    text = shown(report(replace(failing, remedies=(Remedy("node-b", "swapoff -a"),))))
    assert "ssh -o BatchMode=yes node-b 'swapoff -a'" in text


def test_it_says_which_cni_is_in_force_and_what_it_does_not_do() -> None:
    text = " ".join(shown(report(result("swap", "node-a"))).split())
    assert "podnet, this project's own pod network, not flannel; it enforces NetworkPolicy" in text


def test_rows_that_were_not_run_have_their_reason() -> None:
    text = shown(report(result("dns-names", "node-b", Status.NOT_RUN)))
    assert "not run, since found [this]: dns-names@node-b" in text


def test_results_are_in_the_order_of_rows_and_nodes() -> None:
    made = [result("dns-names", "node-b"), result("swap", "node-c"), result("swap", "node-a")]
    assert [(item.name, item.node) for item in ordered(made, good.cluster())] == [
        ("swap", "node-a"),
        ("swap", "node-c"),
        ("dns-names", "node-b"),
    ]


def test_nodes_that_are_left_out_have_no_column_of_their_own_and_the_cluster_is_not_proven() -> None:
    results = (result("pod-to-pod-other-node", "node-c"), result("swap", "node-b"))
    made = replace(report(*results), snapshot=good.snapshot(left_out=frozenset({"node-a", "node-c"})))
    text = shown(made)
    (head,) = [line for line in text.splitlines() if " check " in line]
    assert "node-a" not in head
    assert "node-b" in head
    assert "node-c" in head
    assert "left out by --limit: 2 of 3 nodes (node-a, node-c)\nOnly the other nodes are proven" in text
    assert to_json(made)["left_out"] == ["node-a", "node-c"]
    assert "left out" not in shown(report(*results))
    silent = replace(made.snapshot, unreachable={"node-a": "timed out", "node-b": "no route"})
    text = shown(replace(made, snapshot=silent))
    assert "node-a: cannot be read, nothing is sent from there (timed out)\n" in text
    assert "node-b: cannot be read" not in text


def test_a_proof_of_one_node_reads_all_of_them_and_has_its_rows_only(monkeypatch: pytest.MonkeyPatch) -> None:
    collected = good.snapshot(unreachable={"node-c": "timed out"}, objects="connection refused")
    monkeypatch.setattr(proving, "collect", lambda *_: collected)
    made = proving.prove(good.loaded(), left_out=frozenset({"node-a", "node-c"}))
    assert made.snapshot.states.keys() == set(good.NAMES)
    by_node: dict[str, set[str]] = {}
    for row in made.results:
        by_node.setdefault(row.node, set()).add(row.name)
    # Without the API nothing is known of the node that it is asked by, whoever is left out.
    assert by_node.pop("node-a") == {"api"}
    assert by_node.keys() == {"node-b"}
    assert {"reachable", "swap", "node-port"} <= by_node["node-b"]
    assert not made.holds


# JSON -----------------------------------------------------------------------------------------------------------------


def test_the_json_form() -> None:
    made = to_json(report(result("swap", "node-a"), result("dns-names", "node-b", Status.NOT_RUN)))
    assert made == {
        "schema": "kubeproof.proof",
        "schema_version": 2,
        "taken_at": "2024-01-02T03:04:05+00:00",
        "seconds": 4.2,
        "holds": True,
        "counts": {"holds": 1, "fails": 0, "broken": 0, "not run": 1},
        "cluster": {
            "kubernetes_version": "1.20.2",
            "cni": "podnet",
            "network_policy_enforced": True,
            "pod_cidr": "10.98.0.0/16",
            "service_cidr": "10.97.0.0/16",
            "nodes": [
                {"name": "node-a", "address": "10.99.0.11", "role": "control-plane"},
                {"name": "node-b", "address": "10.99.0.12", "role": "worker"},
                {"name": "node-c", "address": "10.99.0.13", "role": "worker"},
            ],
        },
        "left_out": [],
        "results": [
            {
                "node": "node-a",
                "name": "swap",
                "kind": "check",
                "title": "no swap is in use",
                "status": "holds",
                "expected": "[expected]",
                "found": "found [this]",
                "meaning": "kubelet refuses to start while swap is on, since it could not keep pods to their memory; "
                "one that runs goes on until it is restarted",
                "references": ["kubernetes#43805", "kubeadm#639"],
                "look_further": "ssh there 'look'",
                "remedies": [],
            },
            {
                "node": "node-b",
                "name": "dns-names",
                "kind": "probe",
                "title": "names of Services resolve to their cluster IPs in a pod",
                "status": "not run",
                "expected": "[expected]",
                "found": "found [this]",
                "meaning": "",
                "references": [],
                "look_further": "ssh there 'look'",
                "remedies": [],
            },
        ],
    }


@pytest.mark.parametrize(
    ("path", "message"),
    [("", "is a folder, name a file in it"), ("no/such/proof.json", "there is no folder .*no/such, make it first")],
)
def test_a_bad_path_is_refused_before_any_work(
    path: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(proving, "prove", lambda *_: pytest.fail("work was done"))
    assert proving.verify(good.loaded(), [as_json(tmp_path / path, to_json)]) == 2
    assert re.match(f"error: --json .*{message}", capsys.readouterr().out)


@pytest.mark.parametrize(("status", "code"), [(Status.HOLDS, 0), (Status.FAILS, 1), (Status.BROKEN, 1)])
def test_exit_codes(status: Status, code: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(proving, "prove", lambda *_: report(result("swap", "node-a", status)))
    assert proving.verify(good.loaded(), [as_json(tmp_path / "proof.json", to_json)]) == code
    assert json.loads((tmp_path / "proof.json").read_text())["holds"] is (code == 0)


# Collecting -----------------------------------------------------------------------------------------------------------


LIST = {
    "items": [
        {"kind": "Node", "metadata": {"name": "node-a"}, "spec": {"podCIDR": "10.98.0.0/24"}, "status": {}},
        {
            "kind": "Service",
            "metadata": {"namespace": "default", "name": "kubernetes"},
            "spec": {"clusterIP": "10.97.0.1", "ports": [{"port": 443}]},
        },
    ]
}


def answering(monkeypatch: pytest.MonkeyPatch, **answers: Any) -> Snapshot:
    """Collect from nodes that answer with their outputs, but for those that are given."""
    api = {"api": Output(0, json.dumps(LIST), ""), "kubelets": Output(0, "node-a=ok 200\n", "")}
    plain: dict[str, Any] = {"node-a": outputs() | api, "node-b": outputs(), "node-c": outputs()}

    def ask(
        commands: dict[str, dict[str, str]],
        access: dict[str, SshAccess],
        *,
        seconds: float,
        took: dict[str, float],
    ) -> dict[str, Any]:
        took.update(dict.fromkeys(commands, 0.1))
        assert commands.keys() == access.keys() == plain.keys()
        assert ["api" in commands[name] for name in good.NAMES] == [True, False, False]
        return plain | answers

    monkeypatch.setattr(collecting, "run_everywhere", ask)
    return collect(good.loaded())


def test_nodes_and_api_are_collected_together(monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = answering(monkeypatch)
    assert list(snapshot.states) == list(good.NAMES)
    assert [context.node.name for context in snapshot.contexts()] == list(good.NAMES)
    assert snapshot.contexts()[0].api.nodes[0].name == "node-a"
    assert all(row.ok for row in snapshot.reachability())
    assert snapshot.contexts()[1].loaded.ssh["node-b"].line("a | b") == "ssh -o BatchMode=yes node-b 'a | b'"


def test_a_node_that_cannot_be_reached_is_a_failing_row_and_the_others_are_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    snapshot = answering(monkeypatch, **{"node-c": hosts.UnreachableError("connect to host: timed out")})
    assert [context.node.name for context in snapshot.contexts()] == ["node-a", "node-b"]
    rows = {row.node: row for row in snapshot.reachability()}
    assert [rows[name].ok for name in good.NAMES] == [True, True, False]
    assert rows["node-c"].found.startswith("connect to host: timed out; start the node, or take it out")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            outputs() | {"api": Output(1, "", "The connection to the server was refused")},
            "kubectl: exit code 1: The conn",
        ),
        (outputs() | {"api": Output(0, "{", "")}, "kubectl get: line 1"),
        (outputs() | {"api": Output(0, "{}", ""), "kubelets": Output(0, "", "")}, "the API has no node"),
        (hosts.UnreachableError("timed out"), "the control plane node cannot be reached (timed out)"),
    ],
)
def test_an_api_that_does_not_answer_is_a_failing_row(answer: Any, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    snapshot = answering(monkeypatch, **{"node-a": answer})
    row = snapshot.reachability()[-1]
    assert (row.name, row.status) == ("api", Status.FAILS)
    assert words in row.found
    assert snapshot.objects == row.found


def test_a_host_that_ssh_cannot_reach_is_named_with_sshs_own_words(tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text("Host gone\n  HostName 127.0.0.1\n  Port 1\n  StrictHostKeyChecking yes\n")
    access = {"gone": SshAccess("gone", config_file=config)}
    took: dict[str, float] = {}
    (answer,) = hosts.run_everywhere({"gone": {"x": "true"}}, access, took=took).values()
    assert took["gone"] > 0
    assert isinstance(answer, hosts.UnreachableError)
    assert "Connection refused" in str(answer)


# A client outside -----------------------------------------------------------------------------------------------------


@contextmanager
def served(status: int, body: bytes) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as server:
        yield server.server_address[1]


def from_outside(port: int, address: str = "127.0.0.1") -> CheckResult:
    node = Node("node-b", IPv4Address(address), "worker")
    cluster = good.cluster(httpd_node_port=port)
    loaded = LoadedInventory(Path("/x"), replace(cluster, nodes=(node,)), {"node-b": SshAccess("node-b")})
    (row,) = probe_run._run_outside(good.snapshot(loaded=loaded), Matrix((), ()))
    return row


@pytest.mark.parametrize(
    ("status", "body", "expected", "words"),
    [
        (200, b"<h1>It works!</h1>", Status.HOLDS, "HTTP status 200 and 18 bytes"),
        (200, b"", Status.FAILS, "0 bytes"),
        (503, b"no", Status.FAILS, "HTTP status 503"),
    ],
)
def test_node_port(status: int, body: bytes, expected: Status, words: str) -> None:
    with served(status, body) as port:
        row = from_outside(port)
    assert (row.status, row.name, row.node) == (expected, "node-port", "node-b")
    assert words in row.found


def test_a_node_port_that_nobody_serves() -> None:
    with served(200, b"x") as port:
        pass
    row = from_outside(port)
    assert row.status is Status.FAILS
    assert "Connection refused" in row.found


def test_nothing_is_sent_where_this_machine_has_no_route(monkeypatch: pytest.MonkeyPatch) -> None:
    refusal = "this machine has no route"
    monkeypatch.setattr(probe_run, "route_refusal", lambda _: refusal)
    monkeypatch.setattr(probe_run, "_get", lambda _: pytest.fail("something was sent"))
    row = from_outside(1)
    assert (row.status, row.found) == (Status.BROKEN, refusal)


def test_a_route_that_can_be_used_is_no_refusal() -> None:
    assert probe_run.route_refusal(Node("x", IPv4Address("127.0.0.1"), "worker")) is None
