"""Snapshots of files that stand for a lab: what is refused, what comes back, and what an interruption leaves."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from kubeproof.terminal.errors import UserError
from kubeproof.terminal.summary import Summary
from lab import node_files, nodes, snapshots, trees
from lab.settings import FILE, LabSettings, parse, read_file

LAB = parse(read_file(FILE), {})
NAMES = [node.name for node in LAB.nodes]


class Files:
    """Nodes' folders and snapshots below a folder of the test's own; what is done to the nodes is noted."""

    def __init__(self, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.nodes, self.restoring = state / "nodes", state / "restoring"
        self.done: list[str] = []
        for module in (snapshots, node_files):
            monkeypatch.setattr(module, "NODES", self.nodes)
            monkeypatch.setattr(module, "RESTORING", self.restoring)
        monkeypatch.setattr(snapshots, "SNAPSHOTS", state / "snapshots")
        monkeypatch.setattr("lab.inventory.require_up", lambda _lab: None)
        for action in ("stop_all", "kill_all", "start_all"):
            monkeypatch.setattr(nodes, action, self._noting(action))
        for name in NAMES:
            self.hosts_file(name).parent.mkdir(parents=True)
            self.hosts_file(name).write_text("first\n")
            node = LAB.node(name)
            (self.nodes / name / "made-for").write_text(node_files.fingerprint(LAB, node))

    def _noting(self, action: str) -> Callable[..., int]:
        def note(*_: object) -> int:
            self.done.append(action)
            return 1

        return note

    def hosts_file(self, name: str) -> Path:
        return self.nodes / name / "root/etc/hosts"

    def texts(self) -> list[str]:
        return [self.hosts_file(name).read_text() for name in NAMES]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    return Files(tmp_path, monkeypatch)


def take(name: str = "base", lab: LabSettings = LAB) -> int:
    return snapshots.take(lab, name, Summary())


def restore(name: str = "base", lab: LabSettings = LAB) -> int:
    return snapshots.restore(lab, name, Summary())


def refused(action: Callable[[], object]) -> str:
    with pytest.raises(UserError) as error:
        action()
    (line,) = error.value.problems
    return line


def test_what_was_kept_comes_back_and_another_node_goes(files: Files) -> None:
    assert take() == 0
    assert files.done == ["stop_all", "start_all"]
    files.hosts_file(NAMES[1]).write_text("second\n")
    trees._remove(files.nodes / NAMES[2])
    (files.nodes / "k8s-node3/root").mkdir(parents=True)
    assert restore() == 0
    assert files.done[2:] == ["kill_all", "start_all"]
    assert files.texts() == ["first\n"] * 3
    assert nodes.existing() == NAMES


def test_each_of_several_comes_back_again_and_again(files: Files) -> None:
    take("one")
    files.hosts_file(NAMES[0]).write_text("second\n")
    take("two")
    for name, text in (("one", "first\n"), ("two", "second\n"), ("two", "second\n"), ("one", "first\n")):
        restore(name)
        assert files.texts()[0] == text
    snapshots.remove("one")
    assert snapshots.names() == ["two"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("Base", "Base: is no name for a snapshot"),
        ("../x", "../x: is no name for a snapshot"),
        ("base", "base: there is a snapshot of that name; `./inv lab.snapshots --remove base` deletes it"),
    ],
)
def test_names_that_are_refused(files: Files, name: str, line: str) -> None:
    take()
    files.done.clear()
    assert refused(lambda: take(name)).startswith(line)
    assert files.done == []


def test_a_snapshot_that_is_not_there(files: Files) -> None:
    assert refused(restore) == "base: no such snapshot, there are: none"
    take()
    assert refused(lambda: restore("bass")) == "bass: no such snapshot, did you mean base?"
    assert refused(lambda: snapshots.remove("other")) == "other: no such snapshot, there are: base"


def test_a_lab_with_other_settings_is_refused_and_nothing_is_done(files: Files) -> None:
    take()
    files.done.clear()
    other = parse(read_file(FILE), {"KUBEPROOF_LAB_WORKERS": "3", "KUBEPROOF_LAB_CONTAINER_RUNTIME": "containerd"})
    line = refused(lambda: restore(lab=other))
    assert line.endswith("set them again: KUBEPROOF_LAB_WORKERS=2 KUBEPROOF_LAB_CONTAINER_RUNTIME=docker")
    assert files.done == []
    restore(lab=parse(read_file(FILE), {"KUBEPROOF_LAB_HOSTS": "bare"}))


def test_a_lab_with_virtual_machines_has_none(files: Files) -> None:
    lab = parse(read_file(FILE), {"KUBEPROOF_LAB_VM_WORKERS": "1"})
    assert "virtual machines has no snapshots" in refused(lambda: take(lab=lab))
    take()
    assert "virtual machines has no snapshots" in refused(lambda: restore(lab=lab))


def test_nodes_that_the_settings_do_not_name_are_no_lab_to_keep(files: Files) -> None:
    (files.nodes / "k8s-node3/root").mkdir(parents=True)
    assert "`./inv lab.up`" in refused(take)


def test_a_full_disk_is_told_before_anything_is_done(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.machine._free_gib", lambda _: 0.0)
    assert refused(take).startswith("disk: 0.0 GiB free")
    assert files.done == []


def test_an_interrupted_snapshot_is_none(files: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trees, "stamps", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        take()
    monkeypatch.undo()
    assert snapshots.names() == []


def test_after_an_interrupted_restore_no_node_starts_until_one_is_complete(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    take()
    files.hosts_file(NAMES[0]).write_text("second\n")
    with monkeypatch.context() as patch:
        patch.setattr(trees, "_bring", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            restore()
    line = "nodes: their files are half restored; `./inv lab.restore base` completes it"
    assert nodes.check(LAB) == [line]
    assert refused(lambda: nodes._launch(LAB, LAB.nodes)) == line
    assert refused(lambda: take("other")) == line
    restore()
    assert nodes.check(LAB) == []
    assert files.texts() == ["first\n"] * 3


def test_stamps_are_replaced_at_once(files: Files, tmp_path: Path) -> None:
    take()
    noted = tmp_path / "snapshots/base" / f"{NAMES[0]}.json"
    assert json.loads(noted.read_text())["made-for"]
    restore()
    assert not list(noted.parent.glob(".*"))


def test_all_are_shown_with_what_they_are(files: Files, capsys: pytest.CaptureFixture[str]) -> None:
    take("b")
    kubelet = files.nodes / NAMES[0] / "root" / node_files.KUBELET_CONF
    kubelet.parent.mkdir(parents=True)
    assert snapshots.names() == ["b"]
    snapshots.show_all()
    assert "b: " in capsys.readouterr().out
