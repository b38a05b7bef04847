"""The same cluster with containerd as runtime, and a host with Debian 13: from bare hosts to a proof, and back.

On the way `./inv up` is stopped with Ctrl-C. (test_killed stops a deploy in all of its phases.)
"""

import re
import signal
from collections.abc import Iterator

import pytest

from lab.settings import load
from tests.lab import snapshot
from tests.lab.commands import changes, inv, succeed
from tests.lab.interrupting import Running
from tests.lab.remote import ssh
from tests.lab.snapshot import Snapshot

VARIABLE, SYSTEM, WORKERS = (f"KUBEPROOF_LAB_{name}" for name in ("CONTAINER_RUNTIME", "SYSTEM", "WORKERS"))
EXIT_INTERRUPTED = 130
STEPS = ("Install containerd and Kubernetes", "Wait for the demo")
"""Operations of the deploy, as they are announced; each is interrupted as soon as it has begun."""


@pytest.fixture(scope="module")
def mixed() -> Iterator[dict[str, Snapshot]]:
    """The last worker has Debian 13, whose Docker Kubernetes 1.20 does not know. How the hosts were before a deploy."""
    last = load().nodes[-1].name
    with pytest.MonkeyPatch.context() as patch:
        _replaced(patch)
        patch.setenv(SYSTEM, " ".join([*["debian-12"] * (len(load().nodes) - 1), "debian-13"]))
        succeed("lab.up")
        assert 'VERSION_ID="13"' in ssh(last, "cat /etc/os-release")
        yield {node.name: snapshot.take(node.name) for node in load().nodes}
        patch.delenv(SYSTEM)
        _replaced(patch)
        succeed("lab.up")


def _replaced(patch: pytest.MonkeyPatch) -> None:
    """Without the last worker; the next one is made anew, with nothing of packages and images."""
    patch.setenv("KUBEPROOF_LAB_HOSTS", "bare")
    patch.setenv(WORKERS, str(len(load().nodes) - 2))
    succeed("lab.up")
    patch.delenv(WORKERS)


@pytest.fixture
def containerd(mixed: dict[str, Snapshot], monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of this test are about a lab with containerd."""
    monkeypatch.setenv(VARIABLE, "containerd")


@pytest.mark.usefixtures("bare_hosts", "containerd")
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
def test_reset_leaves_the_nodes_as_they_were(mixed: dict[str, Snapshot]) -> None:
    succeed("reset")
    left = {name: snapshot.difference(taken, snapshot.take(name)) for name, taken in mixed.items()}
    assert left == {node.name: [] for node in load().nodes}
