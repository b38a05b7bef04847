"""How a node's container is started, and what is read about one that runs."""

from pathlib import Path

import pytest

from kubeproof.terminal.errors import UserError
from lab import container, host, process
from lab.settings import FILE, parse, read_file

LAB = parse(read_file(FILE), {})


@pytest.fixture
def run_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setattr(container, "RUN", tmp_path)
    return tmp_path


def test_a_node_is_on_the_labs_bridge_and_boots_its_own_root() -> None:
    words = container.nspawn(LAB, "k8s-node1")
    assert words[0] == "systemd-nspawn"
    assert {"--boot", "--network-bridge=kubeproof0", "--machine=k8s-node1", "--resolv-conf=off"} <= set(words)
    assert "--directory=/var/lib/kubeproof/nodes/k8s-node1/root" in words


@pytest.mark.parametrize(
    ("system", "layout", "is_forced"),
    [
        ("debian-12", host.CgroupLayout.V1, False),
        ("debian-13", host.CgroupLayout.V1, True),
        ("debian-13", host.CgroupLayout.V2_SYSTEMD, False),
    ],
)
def test_a_newer_systemd_is_made_to_take_the_old_control_groups(
    system: str, layout: host.CgroupLayout, is_forced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.host.cgroup_layout", lambda: layout)
    words = container.nspawn(parse(read_file(FILE), {"KUBEPROOF_LAB_SYSTEM": system}), "k8s-node1")
    assert ("SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1" in words) is is_forced


@pytest.mark.parametrize(
    ("layout", "start"), [(host.CgroupLayout.V1, []), (host.CgroupLayout.V2_SYSTEMD, ["systemd-run", "--scope"])]
)
def test_systemd_delegates_the_one_tree_that_it_owns(
    layout: host.CgroupLayout, start: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.host.cgroup_layout", lambda: layout)
    words = container._scope("k8s-node1")
    assert words[:2] == start
    assert ("--property=Delegate=yes" in words) is bool(start)


def test_a_node_that_was_never_started(run_folder: Path) -> None:
    assert not container.is_running("k8s-node1")
    container.stop("k8s-node1")
    container.kill("k8s-node1")
    with pytest.raises(UserError, match=r"k8s-node1: not running; `\./inv lab.start k8s-node1` starts it"):
        container.init_pid("k8s-node1")


def test_a_launcher_without_children_is_not_a_node_yet(run_folder: Path) -> None:
    process.remember(run_folder / "k8s-node1.json", 1)
    assert container.is_running("k8s-node1")
    assert container._child(2**22 + 1) is None


def test_memory_is_without_page_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("lab.host.CGROUP_ROOT", tmp_path)
    assert container.memory_mib("k8s-node1") is None
    stat = tmp_path / "memory/kubeproof/k8s-node1/memory.stat"
    stat.parent.mkdir(parents=True)
    stat.write_text("cache 999999999\ntotal_cache 999999999\ntotal_rss 209715200\n")
    assert container.memory_mib("k8s-node1") == 200


def test_empty_control_groups_of_the_node_are_removed_and_no_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("lab.host.CGROUP_ROOT", tmp_path)
    mine, other = (tmp_path / "pids/kubeproof" / name for name in ("k8s-node1", "k8s-node10"))
    for group in (mine / "system.slice/ssh.service", other):
        group.mkdir(parents=True)
    container._remove_control_groups("k8s-node1")
    assert not mine.exists()
    assert other.exists()


def test_the_console_has_a_log_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(container, "LOG_FILE", tmp_path / "log" / "lab.log")
    assert container.console_log("k8s-node1") == tmp_path / "log" / "k8s-node1.log"


def test_a_program_runs_in_a_root_filesystem_with_the_machines_network(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr("lab.shell.run", lambda words: ran.append([str(word) for word in words]))
    monkeypatch.setattr(container, "_scope", lambda _: [])
    container.run_program(Path("/cache/root"), Path("/lab/prepare-node"), ["docker", "a b"])
    (words,) = ran
    assert words[-3:] == ["/run/prepare-node", "docker", "a b"]
    assert {"--directory=/cache/root", "--as-pid2", "--bind-ro=/lab/prepare-node:/run/prepare-node"} <= set(words)
    assert not [word for word in words if word.startswith(("--boot", "--network"))]
