"""A worker more in a running cluster, and the same worker leaves it again; the other nodes hardly notice."""

import re
import signal
from collections.abc import Iterator
from itertools import pairwise

import pytest

from lab import nodes, shell
from lab.settings import LabNode, load
from lab.wait import wait_until
from tests.lab import snapshot
from tests.lab.commands import changes, holds, inv, last_changes, succeed
from tests.lab.interrupting import Running
from tests.lab.snapshot import Snapshot

pytestmark = pytest.mark.usefixtures("running_lab")

WORKERS = len(load().nodes) - 1
NAMED = "Host preparation | Name all nodes in /etc/hosts"
OVERHEAD_SECONDS = 60
"""What an apply may take beside the new worker's own operations: asking all hosts, and finding nothing to do."""
SETTLE_SECONDS = 30
PATHS = ("routes", "neighbours")


@pytest.fixture
def one_more(monkeypatch: pytest.MonkeyPatch) -> LabNode:
    """The worker that the settings name beside those there are; as every host it is to be left as it was."""
    monkeypatch.setenv("KUBEPROOF_LAB_WORKERS", str(WORKERS + 1))
    monkeypatch.setenv("KUBEPROOF_LAB_HOSTS", "bare")
    load.cache_clear()
    return load().nodes[-1]


@pytest.fixture(autouse=True)
def settings_as_before() -> Iterator[None]:
    yield
    load.cache_clear()


@pytest.fixture(scope="module")
def before() -> dict[str, Snapshot]:
    """Ways to the other nodes, on each node."""
    return {node.name: paths_of(node.name) for node in load().nodes}


@pytest.fixture(scope="module")
def bare() -> dict[str, Snapshot]:
    """The new worker before its first deploy, put here when it is there."""
    return {}


def paths_of(name: str) -> Snapshot:
    fdb = shell.run(
        ["nsenter", f"--target={nodes.init_pid(name)}", "--net", "bridge", "fdb", "show", "dev", "flannel.1"]
    )
    return {**snapshot.take(name, PATHS), "fdb": sorted(fdb.splitlines())}


def seconds_of(output: str) -> dict[str, float]:
    """What each operation took, by its name, from the times that are shown with them."""
    starts = [
        (float(found[1]), found[2])
        for found in re.finditer(r"^ *([0-9.]+)s  --> (?:Starting operation: )?(.*)$", output, re.M)
    ]
    return {name: end - start for (start, name), (end, _) in pairwise(starts)}


def test_the_lab_gets_a_host_more(before: dict[str, Snapshot], bare: dict[str, Snapshot], one_more: LabNode) -> None:
    succeed("lab.up")
    assert nodes.existing() == sorted([*before, one_more.name])
    bare[one_more.name] = snapshot.take(one_more.name)


def test_it_joins_and_no_other_node_is_touched(before: dict[str, Snapshot], one_more: LabNode) -> None:
    output = succeed("apply")
    made = last_changes()
    own = made.pop(one_more.name)
    assert "Workers | Join the cluster" in own
    assert made == {name: [NAMED] for name in before}
    took = seconds_of(output)
    rest = sum(took.values()) - sum(seconds for name, seconds in took.items() if name in own)
    longest = {name: round(seconds) for name, seconds in took.items() if seconds > 1}
    print(f"a new worker: {sum(took.values()):.0f}s in all, {rest:.0f}s beside its own operations: {longest}")
    assert rest < OVERHEAD_SECONDS


def test_the_proof_holds_with_it(one_more: LabNode) -> None:
    output = succeed("verify")
    assert holds(output)
    assert one_more.name in output
    assert changes(succeed("plan")) == 0


def test_a_node_of_the_cluster_is_not_removed_with_its_host(one_more: LabNode, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBEPROOF_LAB_WORKERS")
    outcome = inv("lab.up")
    assert outcome.code == 2
    assert f"{one_more.name}: is a node of the cluster" in outcome.output
    assert f"KUBEPROOF_LAB_WORKERS={WORKERS + 1} ./inv node.remove {one_more.name}" in outcome.output


def test_only_workers_can_be_removed(one_more: LabNode) -> None:
    outcome = inv("node.remove", load().nodes[0].name, "no-such-node", one_more.name)
    assert outcome.code == 2
    lines = [line for line in outcome.output.splitlines() if line.startswith("error: ")]
    assert [line.split()[1] for line in lines] == [f"{load().nodes[0].name}:", "no-such-node:"]


def test_a_removal_that_was_stopped_goes_on(bare: dict[str, Snapshot], one_more: LabNode) -> None:
    with Running("node.remove", one_more.name) as running:
        running.until_operation("Remove packages")
        running.signal(signal.SIGKILL)
        running.finish()
    output = succeed("node.remove", one_more.name)
    assert "knows no such node any more" in output
    assert f"KUBEPROOF_LAB_WORKERS={WORKERS} ./inv lab.up" in output
    assert snapshot.difference(bare[one_more.name], snapshot.take(one_more.name)) == []
    assert changes(succeed("node.remove", one_more.name)) == 0


def test_the_others_lose_their_ways_to_it(before: dict[str, Snapshot]) -> None:
    def as_before() -> bool:
        return all(paths_of(name) == paths for name, paths in before.items())

    wait_until(as_before, seconds=SETTLE_SECONDS, what="routes, ARP and FDB entries of the node to go")


def test_a_host_that_cannot_be_reached_is_told(one_more: LabNode) -> None:
    succeed("lab.stop", one_more.name)
    outcome = inv("node.remove", one_more.name)
    assert outcome.code == 1
    assert f"{one_more.name}: is out of the cluster, but its host cannot be reached" in outcome.output
    assert "Traceback" not in outcome.output


def test_without_it_all_is_as_before(before: dict[str, Snapshot]) -> None:
    succeed("lab.up")
    assert nodes.existing() == sorted(before)
    succeed("apply")
    assert last_changes() == {name: [NAMED] for name in before}
    assert changes(succeed("plan")) == 0
    assert holds(succeed("verify"))
    assert {name: paths_of(name) for name in before} == before
