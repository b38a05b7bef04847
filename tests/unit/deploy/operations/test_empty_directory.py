"""The scripts that empty directories of a node, run for real, and in a mount namespace of their own."""

import os
import subprocess
from pathlib import Path

import pytest

from kubeproof.deploy.operations.kubeadm import UNMOUNT_BELOW, unmount_below
from kubeproof.deploy.operations.remote import NodeError
from kubeproof.deploy.operations.resetting import EMPTY, TIDY
from tests.unit.deploy.operations.test_remote import host

SCRIPT = ["sh", "-ec", f"{UNMOUNT_BELOW}\n{EMPTY}", "sh"]


def test_a_directory_is_emptied_and_stays(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "file").touch()
    subprocess.run([*SCRIPT, tmp_path], check=True)
    assert list(tmp_path.iterdir()) == []


def test_a_file_and_what_is_gone_are_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    subprocess.run([*SCRIPT, file], check=True)
    subprocess.run([*SCRIPT, tmp_path / "gone"], check=True)
    assert file.exists()


def test_common_directories_go_only_when_nothing_of_others_is_left(tmp_path: Path) -> None:
    own, theirs = tmp_path / "cni" / "net.d", tmp_path / "keyrings"
    for folder in (own, theirs):
        folder.mkdir(parents=True)
    (theirs / "other.asc").touch()
    (tmp_path / "file").touch()
    paths = [own, own.parent, theirs, tmp_path / "gone", tmp_path / "file"]
    subprocess.run(["sh", "-ec", TIDY, "sh", *map(str, paths)], check=True)
    assert not own.parent.exists()
    assert (theirs / "other.asc").exists()
    assert (tmp_path / "file").exists()


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("name", ["vol", "vol a", "vol\\040b"])
def test_what_is_mounted_below_keeps_its_files(tmp_path: Path, name: str) -> None:
    volume, below = tmp_path / "volume", tmp_path / "kubelet"
    target = below / "pods" / name
    volume.mkdir()
    target.mkdir(parents=True)
    (volume / "data").touch()
    inside = 'mount --bind "$1" "$2"; shift 2; exec "$@"'
    subprocess.run(["unshare", "--mount", "sh", "-ec", inside, "sh", volume, target, *SCRIPT, below], check=True)
    assert (volume / "data").exists()
    assert list(below.iterdir()) == []


def test_what_stays_mounted_fails_the_host_in_one_line() -> None:
    with pytest.raises(NodeError) as failed:
        unmount_below(host(done=False, stderr="umount: /var/lib/kubelet/x:\nnot permitted"), "/var/lib/kubelet")
    assert str(failed.value) == (
        "what is mounted stays mounted (umount: /var/lib/kubelet/x: not permitted): unmount it yourself and reset again"
    )


@pytest.mark.netns
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
def test_what_cannot_be_unmounted_keeps_its_files(tmp_path: Path) -> None:
    volume, below, tools = (tmp_path / name for name in ("volume", "kubelet", "tools"))
    for folder in (volume, below / "pod", tools):
        folder.mkdir(parents=True)
    (volume / "data").touch()
    (below / "file").touch()
    (tools / "umount").write_text("#!/bin/sh\nexit 32\n")
    (tools / "umount").chmod(0o755)
    inside = 'mount --bind "$1" "$2"; shift 2; exec "$@"'
    command: list[str | Path] = ["unshare", "--mount", "sh", "-ec", inside, "sh", volume, below / "pod", *SCRIPT, below]
    done = subprocess.run(command, env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}, check=False)
    assert done.returncode == 1
    assert (volume / "data").exists()
    assert (below / "file").exists()
