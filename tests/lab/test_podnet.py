"""podnet on the live nodes: a restart disturbs nothing. What it mends is tried in test_faults."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lab.settings import load
from tests.lab import snapshot
from tests.lab.remote import kubectl, python_in_pod

TRANSFER_BYTES = 45 * 1024 * 1024
BYTES_PER_SECOND = 256 * 1024
DOWNLOAD = f"""
import select, sys, urllib.request
count = 0
with urllib.request.urlopen("http://" + sys.argv[1] + ":8080/bytes/{TRANSFER_BYTES}", timeout=60) as answer:
    while data := answer.read({BYTES_PER_SECOND} // 8):
        count += len(data)
        select.select([sys.stdin], [], [], 1 / 8)
print(count)
"""
"""Takes three minutes, or until its input ends and then a moment: kubelets under load need one to let a pod go."""
PODS = "{range .items[*]}{.metadata.name} {.spec.nodeName} {.status.podIP}{'\\n'}{end}"


def _network(name: str) -> dict[str, list[str]]:
    return snapshot.take(name, snapshot.NETWORK)


@contextmanager
def _transfer() -> Iterator["subprocess.Popen[str]"]:
    """A slow download from one kuard by a pod of another node."""
    rows = kubectl(f'get pods -l app=kuard -o jsonpath="{PODS}"')
    pods = [row.split() for row in rows.splitlines()]
    client = pods[0]
    server = next(pod for pod in pods if pod[1] != client[1])
    with python_in_pod(client[0], DOWNLOAD, server[2]) as process:
        yield process
        process.kill()


@pytest.mark.usefixtures("running_lab")
def test_a_restart_of_the_agents_drops_no_connection_and_changes_nothing() -> None:
    names = [node.name for node in load().nodes]
    before = {name: _network(name) for name in names}
    with _transfer() as transfer:
        kubectl("-n kube-system rollout restart daemonset/podnet")
        kubectl("-n kube-system rollout status daemonset/podnet --timeout=150s")
        assert transfer.poll() is None, "the transfer ended before the restart did; it proves nothing"
        output, _ = transfer.communicate(timeout=90)
    assert output == f"{TRANSFER_BYTES}\n"
    assert {name: snapshot.difference(before[name], _network(name)) for name in names} == {name: [] for name in names}
