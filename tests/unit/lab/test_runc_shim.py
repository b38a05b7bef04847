"""The shim changes two things in a container's JSON and hands every argument on to the real runc."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from lab.rootfs import SHIM

pytestmark = pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed on this machine")


@pytest.fixture
def shim(tmp_path: Path) -> Path:
    """The shim, with a real runc that prints its arguments."""
    real = tmp_path / "runc.distrib"
    real.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    real.chmod(0o755)
    copy = tmp_path / "runc"
    copy.write_text(SHIM.read_text().replace("/usr/sbin/runc.distrib", str(real)))
    copy.chmod(0o755)
    return copy


def _process(score: int) -> dict[str, object]:
    capabilities = {"bounding": ["CAP_CHOWN", "CAP_SYS_RESOURCE"], "effective": ["CAP_SYS_RESOURCE"]}
    return {"args": ["/bin/a b"], "oomScoreAdj": score, "capabilities": capabilities}


@pytest.mark.parametrize("arguments", [["--root", "/r", "create", "--bundle", "{}", "id"], ["run", "-b", "{}", "id"]])
def test_create_loses_a_negative_score_and_the_capability(shim: Path, tmp_path: Path, arguments: list[str]) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"process": _process(-998), "root": {"path": "rootfs"}}))
    words = [word.format(tmp_path) for word in arguments]
    done = subprocess.run([shim, *words], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == words
    changed = json.loads(config.read_text())
    assert changed["root"] == {"path": "rootfs"}
    assert changed["process"] == {
        "args": ["/bin/a b"],
        "capabilities": {"bounding": ["CAP_CHOWN"], "effective": []},
    }


def test_a_score_that_may_be_set_is_kept(shim: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"process": _process(1000)}))
    subprocess.run([shim, "create", f"--bundle={tmp_path}", "id"], capture_output=True, check=True)
    assert json.loads(config.read_text())["process"]["oomScoreAdj"] == 1000


def test_exec_is_treated_by_its_process_file(shim: Path, tmp_path: Path) -> None:
    file = tmp_path / "process.json"
    file.write_text(json.dumps(_process(-1)))
    subprocess.run([shim, "exec", "--process", file, "id"], capture_output=True, check=True)
    assert "CAP_SYS_RESOURCE" not in file.read_text()
    assert "oomScoreAdj" not in file.read_text()


def test_other_commands_touch_nothing(shim: Path, tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    text = json.dumps({"process": _process(-1)})
    config.write_text(text)
    subprocess.run([shim, "state", "create"], capture_output=True, check=True, cwd=tmp_path)
    assert config.read_text() == text
