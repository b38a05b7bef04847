from pathlib import Path

import pytest

from kubeproof.terminal.atomic_files import write


def test_replaces_at_once_and_for_its_user_only(tmp_path: Path) -> None:
    path = tmp_path / "kube" / "config"
    write(path, "one\n")
    write(path, "two\n")
    assert path.read_text() == "two\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [item.name for item in path.parent.iterdir()] == ["config"]
    write(path, b"three", mode=0o644)
    assert path.stat().st_mode & 0o777 == 0o644


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write(path, "one\n")
    assert [item.name for item in tmp_path.iterdir()] == ["config"]
