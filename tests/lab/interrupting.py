"""Commands that are watched while they run, to interfere at a certain moment."""

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from lab import nodes
from lab.paths import REPOSITORY
from lab.wait import wait_until
from tests.lab.commands import Outcome

ANNOUNCED = "Starting operation: "
PREPARING = "Preparing operation files"
PATIENCE_SECONDS = 600


class Running:
    """./inv with these words, in a process group of its own; ended after the block, or after a while at the latest."""

    def __init__(self, *words: str, patience: float = PATIENCE_SECONDS) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [REPOSITORY / "inv", *words],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        self._watchdog = threading.Timer(patience, self._end)
        self._watchdog.start()

    def __enter__(self) -> "Running":
        return self

    def __exit__(self, *_: object) -> None:
        self._watchdog.cancel()
        self._end()

    def _end(self) -> None:
        if self._process.poll() is None:
            self.signal(signal.SIGKILL)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group, as a terminal does."""
        os.killpg(self._process.pid, number)

    def until(self, text: str) -> None:
        """Read what it prints up to a line with this text."""
        for line in self._process.stdout or ():
            self.lines.append(line)
            if text in line:
                return
        raise AssertionError(f"{text!r} never came:\n{''.join(self.lines[-20:])}")

    def until_operation(self, name: str) -> None:
        """Read up to the announcement of an operation with these words in its name."""
        while not (self.lines and ANNOUNCED in self.lines[-1] and name in self.lines[-1]):
            self.until(ANNOUNCED)

    def until_phase(self, title: str, number: int) -> None:
        """Read up to the first operation of a phase; ``number`` counts, from 0, those that have the same title."""
        before, seen = "", -1
        while True:
            self.until(ANNOUNCED)
            now = self.lines[-1].partition(ANNOUNCED)[2].partition(" | ")[0]
            seen += now == title != before
            if now == title and seen == number:
                return
            before = now

    def finish(self) -> Outcome:
        """Read the rest and wait for its end."""
        self.lines += self._process.stdout or ()
        code = self._process.wait()
        print("".join(self.lines))
        return Outcome(code, "".join(self.lines))


def wait_for_process(words: str, *names: str, seconds: float = 180) -> None:
    """Wait until a process with these words in its command line runs on one of the lab's nodes of these names."""
    inits = [nodes.init_pid(name) for name in names]

    def runs() -> bool:
        return any(words in _command_line(pid) for init in inits for pid in _descendants(init))

    wait_until(runs, seconds=seconds, what=f"{words!r} on {', '.join(names)}")


def _descendants(pid: int) -> Iterator[int]:
    """Processes below one, as this machine numbers them. (All of /proc would be those of all nodes, and more.)"""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        return  # it has ended since
    for task in tasks:
        for child in map(int, _text(task / "children").split()):
            yield child
            yield from _descendants(child)


def _command_line(pid: int) -> str:
    return _text(Path(f"/proc/{pid}/cmdline")).replace("\0", " ")


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
