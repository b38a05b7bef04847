"""What a person sees while long work runs: what, where, how far, how long."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

console = Console(highlight=False, soft_wrap=True, emoji=False)
"""Without emoji, for which rich would take parts of MAC addresses such as ``:ab:``."""

STILL_RUNNING_SECONDS = 15
"""A step that runs longer than this says so again and again, so that silence never means hanging."""


_started = time.monotonic()


def say(text: str) -> None:
    """Print one line, led by the time since the command started."""
    console.print(f"[dim]{time.monotonic() - _started:6.1f}s[/dim]  {text}")


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
        say(f"{title}: {outcome} in {time.monotonic() - started:.1f}s")


def _remind(title: str, started: float, finished: threading.Event) -> None:
    while not finished.wait(STILL_RUNNING_SECONDS):
        say(f"[dim]{title}: still running, {time.monotonic() - started:.0f}s[/dim]")
