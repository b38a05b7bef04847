"""`./inv reset` leaves every node as it was before its first deploy."""

from lab.settings import load
from tests.lab import snapshot
from tests.lab.commands import changes, succeed
from tests.lab.snapshot import Snapshot


def test_reset_leaves_the_nodes_as_they_were(before_first_deploy: dict[str, Snapshot]) -> None:
    succeed("reset")
    left = {
        node.name: snapshot.difference(before_first_deploy[node.name], snapshot.take(node.name))
        for node in load().nodes
    }
    assert left == {node.name: [] for node in load().nodes}


def test_reset_again_has_nothing_to_do() -> None:
    assert changes(succeed("reset")) == 0
