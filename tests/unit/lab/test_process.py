import subprocess
from pathlib import Path

from lab import process


def test_a_process_is_alive_until_it_ends(tmp_path: Path) -> None:
    file = tmp_path / "run" / "x.json"
    with subprocess.Popen(["sleep", "60"]) as child:
        process.remember(file, child.pid)
        assert process.alive(file) == child.pid
        child.kill()
        child.wait()
        assert process.alive(file) is None


def test_a_pid_that_belongs_to_something_else_now_does_not_count(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    process.remember(file, 1)
    file.write_text(file.read_text().replace('"start_time": "', '"start_time": "9'))
    assert process.alive(file) is None


def test_nothing_remembered_is_nothing_alive(tmp_path: Path) -> None:
    assert process.alive(tmp_path / "none.json") is None
