"""What a person sees while long work runs: what, where, how far, how long."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console

console = Console(highlight=False, soft_wrap=True)

STILL_RUNNING_SECONDS = 15
"""A step that runs longer than this says so again and again, so that silence never means hanging."""


@dataclass
class Stopwatch:
    """Elapsed time since the start of a command, and what each of its steps took."""

    started: float = field(default_factory=time.monotonic)
    steps: list[tuple[str, float]] = field(default_factory=list)

    def elapsed(self) -> float:
        return time.monotonic() - self.started


_watch = Stopwatch()


def say(text: str) -> None:
    """Print one line, led by the time since the command started."""
    console.print(f"[dim]{_watch.elapsed():6.1f}s[/dim]  {text}")


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step, say that it still runs while it does, and print what it took."""
    say(f"[bold]{title}[/bold] …")
    started = time.monotonic()
    finished = threading.Event()
    reminder = threading.Thread(target=_remind, args=(title, started, finished), daemon=True)
    reminder.start()
    outcome = "[red]failed[/red]"
    try:
        yield
        outcome = "[green]done[/green]"
    finally:
        finished.set()
        took = time.monotonic() - started
        _watch.steps.append((title, took))
        say(f"{title}: {outcome} in {took:.1f}s")


def _remind(title: str, started: float, finished: threading.Event) -> None:
    while not finished.wait(STILL_RUNNING_SECONDS):
        say(f"[dim]{title}: still running, {time.monotonic() - started:.0f}s[/dim]")


def steps_taken() -> list[tuple[str, float]]:
    """Titles and seconds of the steps so far, in the order in which they ended."""
    return list(_watch.steps)
