"""Debian's Go is used, and nothing of what a user has set for another one."""

from pathlib import Path

import pytest

from lab import shell
from lab.mirror import go


@pytest.fixture
def other_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another Go first on PATH, and settings of a user's that would spoil the build."""
    program = tmp_path / "bin" / "go"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho go version go1.22.0 linux/riscv64\n")
    program.chmod(0o755)
    settings = tmp_path / "goenv"
    settings.write_text("GOFLAGS=-mod=mod\nGOARCH=riscv64\n")
    for name, value in {
        "PATH": f"{program.parent}:/usr/bin:/bin",
        "GOENV": str(settings),
        "GOROOT": str(tmp_path),
        "GOOS": "plan9",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.skipif(not Path(go.PROGRAM).exists(), reason=f"needs {go.PROGRAM}")
@pytest.mark.usefixtures("other_go")
def test_neither_path_nor_settings_of_another_go_count(tmp_path: Path) -> None:
    names = ("GOOS", "GOFLAGS", "GOROOT", "GO111MODULE")
    values = shell.run([go.PROGRAM, "env", *names], env=go.environment(tmp_path)).split("\n")
    assert values[:2] == ["linux", ""]
    assert values[2].startswith("/usr/lib/go")
    assert values[3] == "off"
