"""The script that empties directories of a node, run for real in a mount namespace of its own."""

import os
import subprocess
from pathlib import Path

import pytest

from kubeproof.operations.resetting import EMPTY_DIRECTORY

SCRIPT = ["sh", "-eu", "-c", EMPTY_DIRECTORY]


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
