"""`./inv up` from nothing, and again with nothing to do."""

import re
import subprocess
import time

from lab import host, nodes
from lab.paths import REPOSITORY
from lab.settings import load
from tests.lab import snapshot
from tests.lab.commands import changes, succeed
from tests.lab.snapshot import Snapshot

SECOND_UP_SECONDS = 30


def test_the_lab_comes_up_from_nothing(before_first_deploy: dict[str, Snapshot]) -> None:
    """Bare hosts: nothing of Docker or Kubernetes is on them; the files of the lab itself are named kubeproof."""
    assert nodes.existing() == sorted(node.name for node in load().nodes)
    for name, state in before_first_deploy.items():
        assert not [line for line in state["files"] if re.search(r"kube(?!proof)|docker|cni", line, re.IGNORECASE)], (
            name
        )
        assert not [line for line in state["nftables"] if line], name


def test_up_ends_with_a_proven_cluster(before_first_deploy: dict[str, Snapshot]) -> None:
    output = succeed("up")
    assert re.search(r"\b(\d+) of \1 hold", output), output[-2000:]


def test_up_again_changes_nothing_and_says_so() -> None:
    started = time.monotonic()
    output = succeed("up")
    took = time.monotonic() - started
    assert changes(output) == 0
    print(f"second up: {took:.1f}s (aim: at most {SECOND_UP_SECONDS}s)")


def test_apply_changes_nothing() -> None:
    assert changes(succeed("apply")) == 0


def test_plan_has_nothing_to_change() -> None:
    assert changes(succeed("plan")) == 0


def test_pyinfra_without_invoke_changes_nothing() -> None:
    done = subprocess.run(
        [REPOSITORY / ".venv/bin/pyinfra", "--yes", "inventory/lab.py", "deploy.py"],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # Its table: hosts, successes, errors, no change; every operation of every host is in the last.
    assert re.search(r"Grand total\s+(\d+)\s+-\s+-\s+\1\b", done.stdout + done.stderr), done.stdout[-3000:]


def test_status_names_the_nodes_and_the_shim() -> None:
    output = succeed("lab.status")
    for node in load().nodes:
        assert re.search(rf"{node.name}.*{node.address}.*running", output)
    assert ("shim: in use" in output) == host.lacks_sys_resource()


def test_snapshots_can_tell_a_difference(before_first_deploy: dict[str, Snapshot]) -> None:
    """The comparison after reset means something only if a deployed node differs."""
    name = load().nodes[0].name
    changed = snapshot.difference(before_first_deploy[name], snapshot.take(name))
    for section in ("links", "routes", "nftables", "files", "run", "units"):
        assert any(line.startswith(f"{section}: new:") for line in changed), section
