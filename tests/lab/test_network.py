"""The proof as test cases: one for each node and check, one for each node and probe, from live state."""

import os

import pytest

from kubeproof.proof.checks import checks_of
from kubeproof.proof.context import Check
from kubeproof.proof.probes import FROM_PODS, TITLES
from kubeproof.proof.result import CheckResult, Status
from kubeproof.proof.snapshot import Snapshot
from lab import group_data, settings

NODES = [node.name for node in settings.load().nodes]
CONTROL_PLANE = NODES[0]
"""Its taint keeps the demo's pods away."""
CHECKS = checks_of(group_data.settings())
PROBES = [(node, name) for node in NODES for name in TITLES if not (node == CONTROL_PLANE and name in FROM_PODS)]


def require(result: CheckResult) -> None:
    """Fail with what a person needs to go on."""
    if result.status is Status.NOT_RUN and os.environ.get("CI") != "true":
        pytest.skip(result.found)
    if not result.ok:
        lines = [f"{result.name} on {result.node}: {result.status.value}"]
        lines += [f"expected      {result.expected}", f"found         {result.found}"]
        pytest.fail("\n".join([*lines, f"look further  {result.look_further}"]), pytrace=False)


@pytest.mark.parametrize("node", NODES)
def test_reachable(snapshot: Snapshot, node: str) -> None:
    require(next(row for row in snapshot.reachability() if row.node == node))


def test_api(snapshot: Snapshot) -> None:
    assert not isinstance(snapshot.objects, str), snapshot.objects


@pytest.mark.parametrize(
    ("node", "check"),
    [pytest.param(node, check, id=f"{node}-{check.name}") for node in NODES for check in CHECKS],
)
def test_check(snapshot: Snapshot, node: str, check: Check) -> None:
    if node in snapshot.unreachable:
        pytest.fail(f"{node} cannot be reached: {snapshot.unreachable[node]}", pytrace=False)
    require(check.run(snapshot.context(node)))


@pytest.mark.parametrize(("node", "name"), [pytest.param(*probe, id="-".join(probe)) for probe in PROBES])
def test_probe(probed: dict[tuple[str, str], CheckResult], node: str, name: str) -> None:
    result = probed.get((name, node))
    assert result is not None, f"{name} is sent from demo pods, and none is on {node}"
    require(result)
