"""Commands on the lab's own machine: quoted by construction, logged in full, errors in one line."""

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from kubeproof.errors import CommandError
from lab.paths import LOG_FILE

_lock = threading.Lock()
TAIL_LINES = 5


def run(
    command: Sequence[str | Path],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
    timeout: float | None = None,
) -> str:
    """Run a command (never through a shell) and return what it wrote to standard output.

    Everything it writes goes to the log file. ``env`` is added to the current environment; a secret belongs in
    ``stdin``, which is not logged. Raises CommandError if it fails and ``check`` is set, or when ``timeout`` seconds
    have passed.
    """
    words = [str(word) for word in command]
    started = time.monotonic()
    try:
        done = subprocess.run(
            words,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, **(env or {})},
            cwd=cwd,
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise CommandError(f"{words[0]}: not found on this machine ({error})") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{' '.join(words)}: no end after {timeout:.0f}s") from error
    _log(words, done, time.monotonic() - started)
    if check and done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-TAIL_LINES:])
        raise CommandError(f"{' '.join(words)}: exit code {done.returncode}\n{tail}\n(full log: {LOG_FILE})")
    return done.stdout


def succeeds(command: Sequence[str | Path]) -> bool:
    """Whether a command exits with 0; its failure is an answer, not an error."""
    return (
        subprocess.run(
            [str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, check=False
        ).returncode
        == 0
    )


def _log(words: Sequence[str], done: "subprocess.CompletedProcess[str]", took: float) -> None:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    with _lock:
        LOG_FILE.parent.mkdir(parents=True, exist_ok=True)
        with LOG_FILE.open("a") as log:
            log.write(f"[{stamp}] $ {' '.join(words)}\n{done.stdout}{done.stderr}")
            log.write(f"[{stamp}] exit {done.returncode} after {took:.1f}s\n")
