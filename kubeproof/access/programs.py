"""Programs of this machine that are run to their end, for what they print."""

import subprocess
from collections.abc import Sequence


def run(words: Sequence[str], *, seconds: float | None = None, given: str = "") -> subprocess.CompletedProcess[str]:
    """What came of a program, whatever its exit code and the bytes that it prints; ``given`` is all of its input.

    Raises OSError if it cannot be started, and subprocess.TimeoutExpired if it has not ended after ``seconds``.
    """
    return subprocess.run(
        words, input=given, capture_output=True, text=True, errors="backslashreplace", check=False, timeout=seconds
    )
