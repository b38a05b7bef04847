"""The same cluster with containerd as runtime: from bare hosts to a proof, and back to bare hosts.

On the way `./inv up` is stopped with Ctrl-C. (test_killed stops a deploy in all of its phases.)
"""

import re
import signal

import pytest

from lab.settings import load
from tests.lab import snapshot
from tests.lab.commands import changes, inv, succeed
from tests.lab.interrupting import Running
from tests.lab.snapshot import Snapshot

VARIABLE = "KUBEPROOF_LAB_CONTAINER_RUNTIME"
EXIT_INTERRUPTED = 130
STEPS = ("Install containerd and Kubernetes", "Wait for the demo")
"""Operations of the deploy, as they are announced; each is interrupted as soon as it has begun."""


@pytest.fixture
def containerd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of this test are about a lab with containerd."""
    monkeypatch.setenv(VARIABLE, "containerd")


@pytest.mark.usefixtures("before_first_deploy", "containerd")
@pytest.mark.parametrize("step", STEPS)
def test_up_can_be_interrupted(step: str) -> None:
    with Running("up") as running:
        running.until_operation(step)
        running.signal(signal.SIGINT)
        outcome = running.finish()
    assert outcome.code == EXIT_INTERRUPTED, outcome.output[-2000:]
    assert "Traceback" not in outcome.output
    assert "interrupted" in outcome.output


@pytest.mark.usefixtures("containerd")
def test_the_next_up_completes_it_and_ends_with_a_proven_cluster() -> None:
    output = succeed("up")
    assert re.search(r"\b(\d+) of \1 hold", output), output[-2000:]


@pytest.mark.usefixtures("containerd")
def test_kubelet_says_that_it_is_containerd() -> None:
    """Not what was asked for, but what each node tells."""
    what = "jsonpath={.items[*].status.nodeInfo.containerRuntimeVersion}"
    told = succeed("kubectl", "--", "get", "nodes", "-o", what).split()
    assert [name.partition("://")[0] for name in told] == ["containerd"] * len(load().nodes), told


@pytest.mark.usefixtures("containerd")
def test_apply_again_changes_nothing() -> None:
    assert changes(succeed("apply")) == 0


def test_another_runtime_on_a_running_cluster_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "docker")
    outcome = inv("apply")
    assert outcome.code != 0
    for node in load().nodes:
        assert re.search(rf"{node.name}.*containerd.*reset", outcome.output), outcome.output[-2000:]


@pytest.mark.usefixtures("containerd")
def test_reset_leaves_the_nodes_as_they_were(before_first_deploy: dict[str, Snapshot]) -> None:
    succeed("reset")
    left = {
        node.name: snapshot.difference(before_first_deploy[node.name], snapshot.take(node.name))
        for node in load().nodes
    }
    assert left == {node.name: [] for node in load().nodes}
