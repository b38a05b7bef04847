"""Taking workers out: who may not go, what is asked of the API, and what is said of a host that is not there."""

import json
from pathlib import Path

import pytest

from kubeproof.config.cluster import LoadedInventory, SshAccess
from kubeproof.deploy import node_removal, pyinfra_run
from kubeproof.deploy.run_report import Change
from kubeproof.terminal.errors import CommandError, UserError
from lab import inventory as of_lab
from lab.settings import FILE, parse, read_file
from tests.unit.node.example import cluster

NODE: dict[str, object] = {"metadata": {"name": "node2"}, "spec": {}}
CORDONED: dict[str, object] = {"metadata": {"name": "node2"}, "spec": {"unschedulable": True}}


def pod(kind: str) -> dict[str, object]:
    return {"metadata": {"name": "a", "ownerReferences": [{"kind": kind}]}}


@pytest.fixture
def loaded(tmp_path: Path) -> LoadedInventory:
    wanted = cluster()
    return LoadedInventory(tmp_path / "mine.py", wanted, {node.name: SshAccess(node.name) for node in wanted.nodes})


class Api:
    """Stands for the cluster and the hosts; remembers what was asked of them."""

    def __init__(self, node: "dict[str, object] | None" = None, pods: "list[dict[str, object]] | None" = None) -> None:
        self.node, self.pods = node, pods or []
        self.asked: list[str] = []
        self.unreachable = ""
        self.drain_error = ""

    def capture(self, _loaded: LoadedInventory, words: list[str], **_: object) -> str:
        self.asked.append(" ".join(words[:3]))
        if words[0] == "drain" and self.drain_error:
            raise CommandError(self.drain_error)
        if words[:2] == ["get", "node"]:
            return json.dumps(self.node) if self.node else ""
        return json.dumps({"items": self.pods})

    def run(self, _file: Path, deploy: Path, *, limit: list[str]) -> pyinfra_run.Outcome:
        self.asked.append(f"{deploy.name} {' '.join(limit)}")
        return pyinfra_run.Outcome((Change("Reset kubeadm", ("node2",)),), {}, Path("log"))


def removed(loaded: LoadedInventory, api: Api, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr("kubeproof.access.remote_kubectl.capture", api.capture)
    monkeypatch.setattr("kubeproof.deploy.pyinfra_run.run", api.run)
    monkeypatch.setattr("kubeproof.deploy.node_removal._unreachable", lambda *_: api.unreachable)
    return node_removal.remove(loaded, ["node2"], "next: edit the inventory")


@pytest.mark.parametrize(
    ("names", "beginnings"),
    [
        ((), ["node: none is named"]),
        (("node1", "node2"), []),
        (("master", "nodule", "node1"), ["master: is the control plane host", "nodule: no such worker"]),
    ],
)
def test_all_problems_with_names_are_told_at_once(names: tuple[str, ...], beginnings: list[str]) -> None:
    try:
        node_removal.check(cluster(), names)
        problems: tuple[str, ...] = ()
    except UserError as error:
        problems = tuple(error.problems)
    assert len(problems) == len(beginnings)
    assert all(line.startswith(beginning) for line, beginning in zip(problems, beginnings, strict=True))


def test_a_worker_is_drained_deleted_and_reset(
    loaded: LoadedInventory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    api = Api(NODE, [pod("ReplicaSet")])
    assert removed(loaded, api, monkeypatch)
    assert api.asked[-3:] == ["drain node2 --ignore-daemonsets", "delete node node2", "reset.py node2"]
    output = capsys.readouterr().out
    assert "3 changes" in output
    assert "next: edit the inventory" in output


def test_a_second_run_does_what_is_left(loaded: LoadedInventory, monkeypatch: pytest.MonkeyPatch) -> None:
    drained = Api(CORDONED, [pod("DaemonSet"), pod("Node")])
    assert removed(loaded, drained, monkeypatch)
    assert not any(line.startswith("drain") for line in drained.asked)
    deleted = Api()
    assert removed(loaded, deleted, monkeypatch)
    assert deleted.asked == ["get node node2", "reset.py node2"]


def test_a_host_that_cannot_be_reached_is_left_and_told(
    loaded: LoadedInventory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    api = Api(NODE)
    api.unreachable = "connect to host node2 port 22: No route to host"
    assert not removed(loaded, api, monkeypatch)
    assert "delete node node2" in api.asked
    assert not any(line.startswith("reset.py") for line in api.asked)
    output = capsys.readouterr().out
    assert "[error] node2: is out of the cluster, but its host cannot be reached" in output


def test_what_cannot_be_drained_stays(loaded: LoadedInventory, monkeypatch: pytest.MonkeyPatch) -> None:
    api = Api(NODE, [pod("ReplicaSet")])
    api.drain_error = "kubectl drain: error: cannot delete Pods not managed by a controller: default/mine"
    with pytest.raises(CommandError, match=r"node2: cannot be drained .*default/mine.*then run the command again"):
        removed(loaded, api, monkeypatch)
    assert not any(line.startswith(("delete", "reset.py")) for line in api.asked)


@pytest.mark.parametrize(
    ("names", "advice"),
    [
        (("k8s-node2",), "`KUBEPROOF_LAB_WORKERS=1 ./inv lab.up` takes the host away"),
        (("k8s-node1",), "the lab loses its last workers only"),
        (("k8s-node1", "k8s-node2"), "the lab loses its last workers only"),
    ],
)
def test_the_lab_counts_its_workers(names: tuple[str, ...], advice: str) -> None:
    assert advice in of_lab.advice(parse(read_file(FILE), {}), names)


def test_advice_for_an_inventory_of_ones_own() -> None:
    assert "take node1, node2 out of `workers` in inventory/mine.py" in node_removal.advice(
        "inventory/mine.py", ["node1", "node2"]
    )
