"""How mmdebstrap is called: no mount outlives it, and what it is told about this machine's proxy is not passed on."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from lab import apt_config, archive, debootstrap, shell

PROXY = "http://user:word@proxy.example:3128"


@pytest.fixture
def called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What mmdebstrap would have been given."""
    found: dict[str, object] = {}

    def run(command: Sequence[str | Path], *, stdin: str, env: Mapping[str, str] | None, timeout: float) -> str:
        assert timeout == shell.BUILD_SECONDS
        words = [str(word) for word in command]
        settings = Path(next(word for word in words if word.startswith("--aptopt=")).removeprefix("--aptopt="))
        mode = settings.stat().st_mode & 0o777
        found.update(words=words, stdin=stdin, env=env, settings=settings, text=settings.read_text(), mode=mode)
        return ""

    monkeypatch.setattr(shell, "run", run)
    monkeypatch.setattr(apt_config, "read", lambda: {"Acquire::http::Proxy": PROXY})
    monkeypatch.setattr(archive, "sources", lambda: (archive.Source("http://archive.example/debian", "bookworm"),))
    debootstrap.make(tmp_path / "root", "minbase", ["a", "b"], ["--skip=x"], {"TMPDIR": "/x"})
    return found


def test_its_mounts_are_its_own(called: dict[str, object], tmp_path: Path) -> None:
    words = called["words"]
    assert isinstance(words, list)
    assert words[:3] == ["unshare", "--mount", "mmdebstrap"]
    # "-": it reads its sources from standard input, and asks no server of its own choice.
    assert words[-3:] == [archive.RELEASE, str(tmp_path / "root"), "-"]
    assert {"--variant=minbase", "--include=a,b", "--skip=x"} <= set(words)
    assert called["env"] == {"TMPDIR": "/x"}


def test_it_takes_from_the_machines_archive(called: dict[str, object]) -> None:
    assert str(called["stdin"]).endswith(" http://archive.example/debian bookworm main\n")


def test_a_proxys_password_is_in_a_file_for_root_that_goes(called: dict[str, object], tmp_path: Path) -> None:
    assert called["text"] == f'Acquire::http::Proxy "{PROXY}";\n'
    assert called["mode"] == 0o600
    assert PROXY not in str(called["words"])
    assert not list(tmp_path.glob("*.conf"))
    assert f"--customize-hook={debootstrap.FORGET_SETTINGS}" in str(called["words"])
