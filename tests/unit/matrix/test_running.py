"""Whole runs against a cluster in memory: what is found, what is refused, and that everything is put back."""

import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from kubeproof.matrix import cases, plan, report, running, trial
from kubeproof.matrix.labels import Labels
from kubeproof.matrix.layout import ALL_NAMESPACES
from kubeproof.matrix.result import RunResult
from kubeproof.matrix.running import Access, Options, Run
from kubeproof.matrix.table import Key
from kubeproof.terminal.console import console
from kubeproof.terminal.errors import CommandError, UserError
from tests.unit.matrix.fake_cluster import GATEWAY, FakeApi, FakeClients, api, loaded, policy

SUITE = """
deny-all:
  shows: Nobody reaches the pods of a namespace
  policies: {x/deny: {podSelector: {}, policyTypes: [Ingress]}}
team-blue:
  shows: Labels decide
  policies: {x/team: {podSelector: {}, ingress: [{from: [{podSelector: {matchLabels: {team: blue}}}]}]}}
  labels: {pods: {x/a: {set: {team: blue}}}}
range:
  shows: A range of ports
  policies: {y/range: {podSelector: {}, ingress: [{ports: [{port: 80, endPort: 81}]}]}}
"""


class Stand:
    """A cluster, and runs in it."""

    def __init__(self) -> None:
        self.loaded = loaded()
        self.api: FakeApi = api()
        self.clients: list[FakeClients] = []
        self.settings: dict[str, Any] = {}

    def run(self, *files: Path, **options: Any) -> RunResult:
        return Run(self.loaded, Options(files, **options), self.access).run()

    @property
    def access(self) -> Access:
        def channels(_: object, clients: Any) -> FakeClients:
            self.clients.append(FakeClients(self.loaded, self.api, clients, **self.settings))
            return self.clients[-1]

        return Access(lambda _: self.api, channels, lambda _: GATEWAY)

    @property
    def is_clean(self) -> bool:
        left = self.api.names("namespaces") & set(ALL_NAMESPACES)
        return not left and not self.api.names("networkpolicies") and self.api.closed


@pytest.fixture
def stand(monkeypatch: pytest.MonkeyPatch) -> Stand:
    monkeypatch.setattr(cases, "load", lambda: tuple(cases.read("01-small.yaml", SUITE)))
    for name in ("PAUSE_SECONDS", "POLL_SECONDS"):
        monkeypatch.setattr(trial, name, 0.001)
    monkeypatch.setattr(trial, "READY_SECONDS", 0.05)
    return Stand()


@pytest.fixture
def denying(tmp_path: Path) -> Path:
    file = tmp_path / "deny.yaml"
    file.write_text(yaml.safe_dump(policy("deny-all")))
    return file


def printed(action: Callable[[], object]) -> str:
    with console.capture() as capture:
        action()
    return capture.get()


def test_the_suite_holds_and_what_the_api_server_drops_is_not_run(stand: Stand) -> None:
    results: list[RunResult] = []
    text = printed(lambda: results.append(stand.run()))
    (result,) = results
    assert result.holds
    assert [(case.name, case.status) for case in result.cases] == [
        ("before-any-policy", "holds"),
        ("deny-all", "holds"),
        ("team-blue", "holds"),
        ("range", "not run"),
    ]
    assert "[  4/4] range … not run: not on this cluster: the API server (1.20) drops endPort" in text
    assert "4 cases: 3 as expected, 1 not run" in text
    # 12 clients inside to 9 pods in 18 ways, and from outside by 3 nodes with 2 protocols.
    assert result.cases[1].cells == 12 * 9 * 18 + 3 * 9 * 2
    assert stand.is_clean
    assert stand.clients[0].closed


def test_labels_are_changed_for_a_case_and_back(stand: Stand) -> None:
    seen: list[str | None] = []

    def watch(method: str, path: str) -> None:
        if method == "DELETE" and path.endswith("networkpolicies") and stand.api.names("pods"):
            seen.extend(item["metadata"]["labels"].get("team") for item in stand.api.of("pods", "kubeproof-x"))

    stand.api.before = watch
    result = stand.run(only="team-*", keep=True)
    assert result.holds
    team = result.cases[1]
    allowed = {
        key.source for key, cell in team.expected.cells.items() if key.target == "x/b" and cell.mark.value == "."
    }
    assert "x/a" in allowed
    assert "x/c" not in allowed
    assert all(item["metadata"]["labels"].get("team") is None for item in stand.api.of("pods", "kubeproof-x"))
    assert not stand.api.names("networkpolicies")


def test_probe_pods_that_are_kept_are_used_again(stand: Stand) -> None:
    stand.run(only="deny-all", keep=True)
    assert set(ALL_NAMESPACES) <= stand.api.names("namespaces")
    before = len([request for request in stand.api.requests if request[0] == "POST" and request[1].endswith("/pods")])
    assert stand.run(only="deny-all").holds
    after = len([request for request in stand.api.requests if request[0] == "POST" and request[1].endswith("/pods")])
    assert before == after == 12
    assert stand.is_clean


def test_other_probe_pods_are_replaced(stand: Stand) -> None:
    stand.run(only="deny-all", keep=True)
    stand.loaded = loaded(probe_image="192.168.200.1:5000/probe:2")
    assert stand.run(only="deny-all", keep=True).holds
    images = {item["spec"]["containers"][0]["image"] for item in stand.api.of("pods", "kubeproof-y")}
    assert images == {"192.168.200.1:5000/probe:2"}


def opened(source: str, target: str) -> Callable[[Key, int], str | None]:
    return lambda key, count: "open" if (key.source, key.target) == (source, target) else None


def test_a_wrong_cell_is_named_with_the_rule_that_should_have_decided(stand: Stand, denying: Path) -> None:
    stand.settings["lies"] = opened("y/a", "x/b")
    results: list[RunResult] = []
    text = printed(lambda: results.append(stand.run(denying)))
    (result,) = results
    assert not result.holds
    assert result.cases[1].wrong == 18
    assert result.cases[1].retried == 18
    assert ". y/a -> x/b" in text
    assert "expected blocked, observed allowed" in text
    assert "rule: denied: ingress of kubeproof-x/b: isolated by kubeproof-x/deny-all" in text
    assert "  y/a          X X X . . . . . .   X . X . . . . . .   = . = = = = = = =\n" in text
    assert stand.is_clean


POLICIES = 3
"""The probe of a cell that is the first with policies, after the one that shows that all is open and how fast."""


def test_a_transient_is_no_difference_but_is_told(stand: Stand, denying: Path) -> None:
    stand.settings["lies"] = lambda key, count: "blocked" if (key.source, count) == ("z/c", POLICIES) else None
    result = stand.run(denying)
    assert result.holds
    assert result.cases[1].retried > 0


def test_no_silence_is_believed_where_an_expected_answer_is_late(stand: Stand, denying: Path) -> None:
    """A machine that is too slow for the answers that should come is too slow for those that should not."""

    def slow(key: Key, count: int) -> str | None:
        leak = (key.source, key.target) == ("y/a", "x/b")
        return "blocked" if count == POLICIES and (leak or key.source == "z/c") else "open" if leak else None

    stand.settings["lies"] = slow
    assert stand.run(denying).cases[1].wrong == 18


def test_a_dead_channel_is_a_failed_probe_with_its_reason(stand: Stand, denying: Path) -> None:
    stand.settings["dead"] = frozenset({"y/b"})
    results: list[RunResult] = []
    text = printed(lambda: results.append(stand.run(denying)))
    assert not results[0].holds
    assert results[0].total("failed") == 9 * 18
    assert "! y/b -> x/a" in text
    assert "seen: channel to y/b: ended (Connection closed; log: x.log)" in text
    assert "stopped: clients do not reach pods even without policies" in text
    assert stand.is_clean


@pytest.mark.parametrize("state", ["late", "nothing"])
def test_policies_that_come_into_force_later_are_waited_for(stand: Stand, denying: Path, state: str) -> None:
    stand.settings["state"] = state
    if state == "nothing":
        # A CNI that tells nothing: the cells are right after a while.
        stand.settings["lies"] = lambda key, count: "open" if key.target == "x/a" and count < 4 else None
    result = stand.run(denying)
    assert result.holds
    assert result.cases[1].problem == ""


def test_policies_that_never_come_into_force_are_a_problem(
    stand: Stand, denying: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trial, "IN_FORCE_SECONDS", 0.05)
    stand.settings["state"] = "never"
    results: list[RunResult] = []
    text = printed(lambda: results.append(stand.run(denying)))
    assert not results[0].holds
    assert "problem: not in force after 0 s: k8s-master: policy kubeproof-x/deny-all is not in force" in text


def test_nobody_waits_for_a_node_that_cannot_be_asked(stand: Stand) -> None:
    result = stand.run(only="deny-all", keep=True)
    assert result.holds
    asked = stand.clients[0]
    layout = asked.layout
    assert layout is not None
    asked.dead = frozenset({"k8s-node2"})
    bench = trial.Bench(stand.api, asked, layout, Labels(stand.api, (), ()), plan.plan(layout))
    found = bench.run(trial.Trial("deny", "Nobody", policies=(policy("deny"),)))
    assert found.problem == ""
    assert found.failed == 9 * 18
    assert found.steps["in force"] < 1
    assert found.notes == (
        "k8s-node2 cannot be asked what is in force: channel to k8s-node2: ended (Connection closed; log: x.log)",
    )


def test_with_enforcement_off_the_run_fails(stand: Stand, denying: Path) -> None:
    stand.settings["state"] = "off"
    results: list[RunResult] = []
    text = printed(lambda: results.append(stand.run(denying)))
    assert not results[0].holds
    assert results[0].total("wrong") > 0
    assert "policies are not enforced on k8s-master, k8s-node1, k8s-node2" in text


def test_sctp_that_cannot_be_sent_is_not_probed_and_never_passed(stand: Stand, denying: Path) -> None:
    stand.settings["no_sctp"] = frozenset({"x/a"})
    result = stand.run(denying)
    assert result.holds
    assert result.not_probed == ("SCTP from and to x/a: raw sockets are refused",)
    full = 12 * 9 * 18 + 3 * 9 * 2
    # From x/a to nine, and from the other eleven to x/a: SCTP on two ports in three ways.
    assert result.cases[1].cells == full - (9 + 11) * 6


# What a network is known for ------------------------------------------------------------------------------------------


def hairpin(key: Key, count: int) -> str | None:
    """Calico: a pod of x that reaches itself through its own Service is dropped, as policies shut out others."""
    through = key.combination.via in ("Service address", "Service name")
    return "blocked" if key.source == key.target and key.target.startswith("x/") and through and count > 1 else None


def test_what_a_network_is_known_for_is_told_once_and_not_waited_for(stand: Stand, denying: Path) -> None:
    stand.loaded = loaded(cni="canal", network_policy=None)
    stand.settings |= {"state": "nothing", "lies": hairpin}
    results: list[RunResult] = []
    text = printed(lambda: results.append(stand.run(denying)))
    (result,) = results
    assert result.holds
    # Three pods by two ways, three protocols and two ports.
    assert [(case.known_cells, case.wrong, case.retried) for case in result.cases] == [(0, 0, 0), (36, 0, 0)]
    assert result.cases[1].steps["probe"] < trial.IN_FORCE_SECONDS / 2
    assert text.count("known difference hairpin-policed, 36 cells: a pod that reaches itself through") == 1
    assert report.to_json(result)["known_differences"][0]["cells"] == 36
    assert "36 known differences" in text
    assert " k " in text


def test_a_known_difference_hides_no_new_one(stand: Stand, denying: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To itself by address, or where policies let others in, too, nothing is known to be blocked."""
    monkeypatch.setattr(trial, "IN_FORCE_SECONDS", 0.05)
    stand.loaded = loaded(cni="canal", network_policy=None)

    def lies(key: Key, count: int) -> str | None:
        return "blocked" if key.source == key.target and key.target in ("x/a", "y/a") and count > 1 else None

    stand.settings |= {"state": "nothing", "lies": lies}
    case = stand.run(denying).cases[1]
    wrong = {(item.key.target, item.key.combination.via) for item in case.differences}
    ways = {("y/a", way) for way in ("pod address", "Service address", "Service name")}
    assert wrong == {("x/a", "pod address"), *ways}
    assert {item.key.target for item in case.known} == {"x/a"}


def test_the_same_difference_of_another_network_is_wrong(stand: Stand, denying: Path) -> None:
    stand.settings["lies"] = hairpin
    result = stand.run(denying)
    assert (result.cases[1].wrong, result.cases[1].known_cells, result.holds) == (36, 0, False)


# Bad input ------------------------------------------------------------------------------------------------------------


def refused(stand: Stand, *files: Path, **options: Any) -> tuple[str, ...]:
    with pytest.raises(UserError) as caught:
        stand.run(*files, **options)
    assert not {
        request for request in stand.api.requests if request[0] != "GET" and "networkpolicies" not in request[1]
    }
    assert not stand.api.names("networkpolicies")
    return caught.value.problems


def test_a_file_whose_fields_the_api_server_drops_is_not_applied(stand: Stand, tmp_path: Path) -> None:
    file = tmp_path / "range.yaml"
    file.write_text(yaml.safe_dump(policy("range", ingress=[{"ports": [{"port": 80, "endPort": 81}]}])))
    (problem,) = refused(stand, file)
    assert problem.startswith("NetworkPolicy kubeproof-x/range: not on this cluster: the API server (1.20) drops")
    assert "spec.ingress[0].ports[0].endPort" in problem


def test_what_the_api_server_refuses_is_not_applied(stand: Stand, denying: Path) -> None:
    stand.api.refuses = "spec.ingress: too strange"
    (problem,) = refused(stand, denying)
    assert problem == "NetworkPolicy kubeproof-x/deny-all: the API server (1.20) refuses it: spec.ingress: too strange"


@pytest.mark.parametrize(
    ("documents", "words"),
    [
        ("a: [", "deny.yaml"),
        ("", "has no object in it"),
        (yaml.safe_dump({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a"}}), "Pod"),
        (yaml.safe_dump(policy("a", namespace="x")), "no probe pods are in that namespace, use kubeproof-x"),
        (yaml.safe_dump(policy("a", namespace="kubeprof-y")), "use kubeproof-"),
        (yaml.safe_dump(policy("a", policyTypes=["In"])), "policyTypes"),
    ],
)
def test_bad_files(stand: Stand, denying: Path, documents: str, words: str) -> None:
    denying.write_text(documents)
    (problem,) = refused(stand, denying)
    assert words in problem


def test_all_problems_come_together(stand: Stand, denying: Path, tmp_path: Path) -> None:
    denying.write_text("a: [")
    stand.loaded = loaded(network_policy=False, probe_image="")
    problems = refused(stand, denying, json_file=tmp_path / "no" / "x.json", junit_file=tmp_path)
    assert [problem.partition(":")[0].partition(" ")[0] for problem in problems][:4] == [
        "--json",
        "--junit",
        "network_policy",
        "probe_image",
    ]
    assert len(problems) == 5


def test_a_cni_that_enforces_nothing_is_refused(stand: Stand, denying: Path) -> None:
    del stand.api.objects["daemonsets", "kube-system", "podnet"]
    stand.api.objects["daemonsets", "kube-system", "kube-flannel-ds"] = {"metadata": {"name": "kube-flannel-ds"}}
    (problem,) = refused(stand, denying)
    assert "plain flannel, which enforces no NetworkPolicy" in problem
    stand.api.objects["daemonsets", "kube-system", "canal"] = {"metadata": {"name": "canal"}}
    assert stand.run(denying).holds


def test_namespaces_of_somebody_else_are_left_alone(stand: Stand) -> None:
    stand.api.objects["namespaces", "", "kubeproof-x"] = {"metadata": {"name": "kubeproof-x"}}
    (problem,) = refused(stand)
    assert "kubeproof-x: is there and not of this command" in problem
    assert "kubeproof-x" in stand.api.names("namespaces")


def test_only_must_match_a_case(stand: Stand) -> None:
    (problem,) = refused(stand, only="ports-*")
    assert problem.startswith("--only ports-*: no case has such a name")


# Putting back ---------------------------------------------------------------------------------------------------------


class Interruption:
    """Raises once, when the first policy is applied."""

    def __init__(self, error: BaseException) -> None:
        self.error: BaseException | None = error

    def __call__(self, method: str, path: str) -> None:
        if self.error and method == "POST" and path.endswith("kubeproof-x/networkpolicies"):
            error, self.error = self.error, None
            raise error


def test_being_ended_is_like_ctrl_c(stand: Stand) -> None:
    def end(method: str, path: str) -> None:
        if method == "POST" and path.endswith("kubeproof-x/networkpolicies"):
            os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    stand.api.before = end
    with pytest.raises(KeyboardInterrupt):
        stand.run()
    assert stand.is_clean
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("error", [KeyboardInterrupt(), CommandError("ssh is gone")])
def test_everything_is_put_back_after_ctrl_c_and_failures(stand: Stand, error: BaseException) -> None:
    stand.api.before = Interruption(error)
    with pytest.raises(type(error)):
        stand.run()
    assert stand.is_clean
    assert stand.clients[0].closed


def test_ctrl_c_while_probing_restores_labels_too(stand: Stand) -> None:
    def lie(key: Key, count: int) -> str | None:
        if count == 2:
            raise KeyboardInterrupt
        return None

    stand.settings["lies"] = lie
    with pytest.raises(KeyboardInterrupt):
        stand.run(only="team-blue", keep=True)
    assert not stand.api.names("networkpolicies")
    assert all("team" not in item["metadata"]["labels"] for item in stand.api.of("pods", "kubeproof-x"))


def test_the_next_run_clears_up_what_a_killed_one_left(stand: Stand) -> None:
    stand.run(only="deny-all", keep=True)
    # Killed in the middle of a case: its policy and its labels are there.
    left = policy("left-over", namespace="kubeproof-z")
    stand.api.request("POST", "/apis/networking.k8s.io/v1/namespaces/kubeproof-z/networkpolicies", left)
    stand.api.objects["pods", "kubeproof-x", "a"]["metadata"]["labels"]["team"] = "blue"
    assert stand.run(only="deny-all", keep=True).holds
    assert not stand.api.names("networkpolicies")
    assert "team" not in stand.api.objects["pods", "kubeproof-x", "a"]["metadata"]["labels"]


def test_a_cluster_that_cannot_be_put_back_is_told(
    stand: Stand, denying: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(method: str, path: str) -> None:
        if method == "DELETE" and path == "/api/v1/namespaces/kubeproof-y":
            raise CommandError("no connection")

    stand.api.before = fail
    with pytest.raises(CommandError, match="no connection; run the command again, it clears up first"):
        stand.run(denying)


# Files ----------------------------------------------------------------------------------------------------------------


def test_json_and_junit_have_all_cases(stand: Stand, tmp_path: Path) -> None:
    stand.settings["lies"] = opened("y/a", "x/b")
    json_file, junit_file = tmp_path / "out.json", tmp_path / "out.xml"
    stand.run(json_file=json_file, junit_file=junit_file)
    document: Mapping[str, Any] = json.loads(json_file.read_text())
    assert (document["schema"], document["holds"]) == ("kubeproof.matrix", False)
    assert document["totals"] | {"seconds": 0} == {
        "cases": 4,
        "holds": 1,
        "differs": 2,
        "not_run": 1,
        "cells": 3 * (12 * 9 * 18 + 3 * 9 * 2),
        "wrong": 36,
        "failed": 0,
        "retried": 36,
        "seconds": 0,
    }
    deny = document["cases"][1]
    assert deny["differences"][0] | {"rule": ""} == {
        "from": "y/a",
        "to": "x/b",
        "via": "pod address",
        "protocol": "TCP",
        "port": 80,
        "expected": "X",
        "rule": "",
        "observed": ".",
        "seen": "answered, seen as 10.0.0.1",
    }
    table = deny["tables"][0]
    assert (table["expected"]["y/a"], table["observed"]["y/a"]) == ("XXX......", "X.X......")
    suite = ElementTree.parse(junit_file).getroot()  # noqa: S314  # made a moment ago
    assert dict(suite.attrib) | {"time": ""} == {
        "name": "kubeproof.matrix",
        "tests": "4",
        "failures": "2",
        "errors": "0",
        "skipped": "1",
        "time": "",
    }
    outcomes = {case.attrib["name"]: [child.tag for child in case] for case in suite.iter("testcase")}
    assert outcomes == {
        "before-any-policy": [],
        "deny-all": ["failure"],
        "team-blue": ["failure"],
        "range": ["skipped"],
    }


def test_exit_codes(stand: Stand, denying: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "Access", lambda: stand.access)
    assert running.run(stand.loaded, Options([denying])) == 0
    stand.settings["lies"] = opened("y/a", "x/b")
    assert running.run(stand.loaded, Options([denying])) == 1
    denying.write_text("a: [")
    assert running.run(stand.loaded, Options([denying])) == 2
