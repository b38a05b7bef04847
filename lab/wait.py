"""Waiting for a condition, with a deadline, never for a time."""

import time
from collections.abc import Callable

from kubeproof.terminal.errors import CommandError

POLL_SECONDS = 0.2


def wait_until(condition: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Poll until ``condition`` holds; raises CommandError naming ``what`` when ``seconds`` have passed."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise CommandError(f"waited {seconds:.0f}s in vain for {what}")
        time.sleep(POLL_SECONDS)
