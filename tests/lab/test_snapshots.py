"""`./inv lab.snapshot` and `./inv lab.restore`: whatever was done to the nodes, the cluster is back and proven."""

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import nodes, shell
from lab.paths import SSH_KNOWN_HOSTS, STATE
from lab.settings import load
from tests.lab.commands import changes, holds, inv, succeed
from tests.lab.interrupting import Running
from tests.lab.remote import kubectl, ssh

pytestmark = pytest.mark.usefixtures("running_lab")

NAME = "of-the-tests"
LEADER, WORKER, OTHER = (node.name for node in load().nodes[:3])
RESTORE_SECONDS = 30
"""The aim on a machine that has nothing else to do."""


@pytest.fixture(scope="module", autouse=True)
def kept() -> Iterator[None]:
    kubectl("create configmap before")
    started = time.monotonic()
    assert holds(succeed("lab.snapshot", NAME))
    print(f"snapshot: {time.monotonic() - started:.1f}s")
    yield
    if NAME in inv("lab.snapshots").output:
        succeed("lab.snapshots", "--remove", NAME)


def test_it_is_listed_with_what_it_is() -> None:
    assert re.search(rf"^{NAME}: .*, with a cluster, \d+ MiB$", succeed("lab.snapshots"), re.M)


def test_whatever_is_destroyed_comes_back() -> None:
    known, kubeconfig = SSH_KNOWN_HOSTS.read_text(), Path("~/.kube/kubeproof").expanduser().read_text()
    kubectl("delete configmap before")
    kubectl("create configmap after")
    ssh(WORKER, "rm -rf /usr/bin/kubelet /opt/cni /etc/kubernetes; for file in /usr/sbin/iptables*; do : >$file; done")
    ssh(LEADER, "rm -rf /var/lib/etcd/member/wal; : >/etc/kubernetes/pki/ca.key")
    ssh(OTHER, "rm -f /etc/ssh/ssh_host_*; fallocate -l 1G /var/lib/filled; rm -rf /var/lib/docker/image")
    succeed("lab.stop", WORKER)
    started = time.monotonic()
    assert holds(succeed("lab.restore", NAME))
    print(f"restore: {time.monotonic() - started:.1f}s (aim: at most {RESTORE_SECONDS}s)")
    assert kubectl("get configmaps before after --ignore-not-found -o name") == "configmap/before"
    assert ssh(OTHER, "ls /var/lib/filled 2>/dev/null || true") == ""
    assert SSH_KNOWN_HOSTS.read_text() == known
    assert Path("~/.kube/kubeproof").expanduser().read_text() == kubeconfig
    assert changes(succeed("plan")) == 0


def test_a_cluster_that_was_reset_comes_back_with_the_one_that_was_there() -> None:
    succeed("reset")
    assert "with a cluster" in succeed("lab.snapshots")
    assert holds(succeed("lab.restore", NAME))
    assert kubectl("get configmaps before --ignore-not-found -o name") == "configmap/before"


def test_an_interrupted_restore_is_completed_by_the_next_one() -> None:
    shell.run(["find", STATE / "nodes" / WORKER / "root/usr/share", "-type", "f", "-delete"])
    with Running("lab.restore", NAME) as running:
        running.until("files of snapshot")
        running.signal(signal.SIGINT)
        outcome = running.finish()
    assert outcome.code == 130
    for command in (("up",), ("lab.start", WORKER), ("lab.snapshot", "another")):
        refused = inv(*command)
        assert refused.code == 2
        assert f"`./inv lab.restore {NAME}` completes it" in refused.output
    assert holds(succeed("lab.restore", NAME))
    assert changes(succeed("plan")) == 0


def test_a_snapshot_of_another_lab_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEPROOF_LAB_WORKERS", str(len(load().nodes)))
    outcome = inv("lab.restore", NAME)
    assert outcome.code == 2
    (line,) = outcome.output.splitlines()
    assert f"set them again: KUBEPROOF_LAB_WORKERS={len(load().nodes) - 1}" in line
    assert all(nodes.is_running(node.name) for node in load().nodes)
