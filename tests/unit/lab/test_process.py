import signal
import subprocess
from pathlib import Path

import pytest

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


def test_only_whole_records_are_left(tmp_path: Path) -> None:
    process.remember(tmp_path / "x.json", 1)
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["x.json"]


def test_ctrl_c_comes_when_the_block_has_ended() -> None:
    steps = []

    def work() -> None:
        with process.uninterrupted():
            signal.raise_signal(signal.SIGINT)
            steps.append("after Ctrl-C")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert steps == ["after Ctrl-C"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_process_started_meanwhile_can_be_interrupted() -> None:
    with process.uninterrupted():
        child = subprocess.Popen(["sleep", "60"])
    child.send_signal(signal.SIGINT)
    assert child.wait() == -signal.SIGINT
