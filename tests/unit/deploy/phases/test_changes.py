"""A cluster that is there, and other settings: what is refused, applied and taken away; and what a plan tells."""

import json
from pathlib import Path

import pytest

from kubeproof.config.tables import paths
from kubeproof.deploy import run_report
from tests.unit.deploy.phases.fake_cluster import FakeCluster, sections
from tests.unit.deploy.phases.test_deploy import CHANGES, TRACEBACK

IN_USE = {
    "unfinished": "",
    "arguments": "cluster-cidr=10.244.0.0/16\nservice-cluster-ip-range=10.96.0.0/12",
    "server": "https://192.0.2.11:6443",
}
QUESTION = "run unfinished"


@pytest.fixture
def hosts(tmp_path: Path) -> FakeCluster:
    return FakeCluster(tmp_path)


@pytest.mark.parametrize("mode", ["--dry", "-y"])
def test_what_a_running_cluster_cannot_have_is_refused_before_anything_changes(hosts: FakeCluster, mode: str) -> None:
    hosts.answer(QUESTION, host="master", stdout=sections(**IN_USE))
    hosts.settings = {"pod_cidr": "10.200.0.0/16", "api_port": 7443}
    run = hosts.run("deploy.py", mode)
    assert run.code == 1
    assert "changed-setting master: pod_cidr is 10.244.0.0/16 in the running cluster and 10.200.0.0/16" in run.output
    assert "changed-setting master: api_port is 6443 in the running cluster and 7443 in the settings" in run.output
    assert not run.ran(CHANGES)
    assert TRACEBACK not in run.output


def test_an_init_that_was_interrupted_may_begin_with_other_settings(hosts: FakeCluster) -> None:
    hosts.answer(QUESTION, host="master", stdout=sections(**{**IN_USE, "unfinished": paths.INIT_MARKER}))
    hosts.settings = {"pod_cidr": "10.200.0.0/16"}
    run = hosts.run("deploy.py", "-y")
    assert run.code == 0, run.output


@pytest.mark.parametrize("applied", [True, False])
def test_a_demo_that_is_not_wanted_any_more_goes_if_a_deploy_has_made_it(hosts: FakeCluster, applied: bool) -> None:
    file = f"{paths.MANIFESTS}/httpd.yaml"
    hosts.settings = {"demo": False}
    if applied:
        hosts.answer(f"for path in {file}", host="master", stdout=file)
    run = hosts.run("deploy.py", "-y")
    assert run.code == 0, run.output
    assert run.ran(f"kubectl .* delete --ignore-not-found --filename {file} && rm -f {file}", "master") == applied
    assert not run.ran("kubectl .* delete .*kuard")


def test_a_proxy_that_is_taken_away_is_used_no_more(hosts: FakeCluster) -> None:
    drop_in = "/etc/systemd/system/docker.service.d/kubeproof-proxy.conf"
    hosts.answer(f"for path in {drop_in}", host="node1", stdout=drop_in)
    run = hosts.run("deploy.py", "-y")
    assert run.code == 0, run.output
    placed = {item.file: item.stdin or "" for item in run.commands if item.file and item.host == "node1"}
    assert "EnvironmentFile" not in placed[drop_in]
    assert "=" not in placed[paths.PROXY_ENVIRONMENT]
    assert drop_in not in {item.file for item in run.commands if item.host == "node2"}


def test_a_plan_tells_why(hosts: FakeCluster, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    hosts.environment = {run_report.FILE: str(notes)}
    hosts.answer("sysctl", host="node1", stdout="net.ipv4.ip_forward = 0")
    run = hosts.run("deploy.py", "--dry")
    assert run.code == 0, run.output
    events = [json.loads(line) for line in notes.read_text().splitlines()]
    told = [event for event in events if event["event"] == "reason"]
    assert {note["host"] for note in told} == set(hosts.addresses)
    lines = {line for note in told if note["host"] == "node1" for line in note["lines"]}
    assert "net.ipv4.ip_forward is 0, not 1" in lines
    assert "there is no /etc/kubernetes/kubelet.conf: not a node yet" in lines
    assert "there is no /etc/docker/daemon.json" in lines
    assert all(note["lines"] for note in told)


def test_a_plan_does_not_count_what_only_waits_or_looks(hosts: FakeCluster) -> None:
    run = hosts.run("deploy.py", "--dry", "--json")
    document, _ = json.JSONDecoder().raw_decode(run.output[run.output.index('{"plan"') :])
    planned = {item["name"] for item in document["plan"] if item["hosts_with_change"]}
    assert "Workers | Join the cluster" in planned
    assert not {name for name in planned if "Wait for" in name or "Reach" in name or "Find the CNI" in name}
