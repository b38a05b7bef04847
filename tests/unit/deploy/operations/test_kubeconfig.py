from pathlib import Path

import pytest

from kubeproof.deploy.operations.kubeconfig import write_private_locally


def test_replaces_at_once_and_for_its_user_only(tmp_path: Path) -> None:
    path = tmp_path / "kube" / "config"
    write_private_locally(path, "one\n")
    write_private_locally(path, "two\n")
    assert path.read_text() == "two\n"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert [item.name for item in path.parent.iterdir()] == ["config"]


def test_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_private_locally(path, "one\n")
    assert [item.name for item in tmp_path.iterdir()] == ["config"]
