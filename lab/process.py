"""Processes that outlive the command that started them, remembered by pid and start time.

A pid alone may belong to something else by now, and a command line reads as empty for a moment while a process calls
exec; the start time (field 22 of /proc/PID/stat, proc(5)) is neither reused nor changed.
"""

import json
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kubeproof.terminal import atomic_files


def remember(file: Path, pid: int) -> None:
    """Write the identity of a running process; whoever reads the file meanwhile finds all of it or nothing."""
    atomic_files.write(file, json.dumps({"pid": pid, "start_time": _start_time(pid)}), mode=0o644)


def alive(file: Path) -> int | None:
    """The pid of the process that ``file`` remembers, or None if it has ended or was never started."""
    if not file.exists():
        return None
    known = json.loads(file.read_text())
    running = known["start_time"] is not None and _start_time(known["pid"]) == known["start_time"]
    return int(known["pid"]) if running else None


def _start_time(pid: int) -> str | None:
    """None for a process that does not exist or is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put Ctrl-C off, between the start of a process and its being remembered, to the end of the block.

    By a handler and not by the signal mask, which the started process would inherit. Main thread only, as in Python
    only that one is ever interrupted; elsewhere this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _frame: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt
