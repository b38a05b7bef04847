"""Settings of the machine's kernel are noted once and given back."""

import json
from pathlib import Path

import pytest

from lab import kernel_settings


@pytest.fixture(autouse=True)
def sysctls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "sys"
    folder.mkdir()
    monkeypatch.setattr(kernel_settings, "_path", lambda name: folder / name)
    (folder / "vm.overcommit_memory").write_text("0\n")
    (folder / "kernel.panic").write_text("0\n")
    return folder


def test_what_is_there_is_noted_once(sysctls: Path, tmp_path: Path) -> None:
    file = tmp_path / "state" / "sysctls.json"
    kernel_settings.remember(file)
    (sysctls / "kernel.panic").write_text("10\n")
    kernel_settings.remember(file)
    assert json.loads(file.read_text()) == {"vm.overcommit_memory": "0", "kernel.panic": "0"}


def test_only_what_has_changed_is_written_back(sysctls: Path, tmp_path: Path) -> None:
    file = tmp_path / "sysctls.json"
    kernel_settings.remember(file)
    (sysctls / "kernel.panic").write_text("10\n")
    assert kernel_settings.restore(file) == 1
    assert (sysctls / "kernel.panic").read_text() == "0"
    assert kernel_settings.restore(file) == 0


def test_nothing_noted_is_nothing_restored(tmp_path: Path) -> None:
    assert kernel_settings.restore(tmp_path / "none.json") == 0
