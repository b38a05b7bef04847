"""Commands on the lab's own machine: quoted by construction, logged in full, errors in one line."""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from kubeproof.terminal.console import say
from kubeproof.terminal.errors import CommandError
from lab import logs
from lab.paths import LOG_FILE

_lock = threading.Lock()
TAIL_LINES = 5

ADMIN_PATH = "/usr/sbin:/sbin"
"""Where mmdebstrap, ip and others are; `su` without `-` leaves these folders out of PATH."""

QUIET_SECONDS = 1.0
"""Most commands end within this time after Ctrl-C, and nothing need be said."""
INTERRUPT_SECONDS = 60.0
"""Time for a command to end by itself after Ctrl-C: apt-get completes what dpkg has begun."""
TERMINATE_SECONDS = 10.0
RUN_SECONDS = 600.0
"""For most commands, which take a second or copy files of some hundred MiB. What takes longer says so."""
BUILD_SECONDS = 3600.0
"""For what builds, or fetches much, on a slow machine. A network that stands still ends it sooner."""


def run(
    command: Sequence[str | Path],
    *,
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    check: bool = True,
    timeout: float = RUN_SECONDS,
    log_output: bool = True,
) -> str:
    """Run a command (never through a shell) and return what it wrote to standard output.

    Everything it writes goes to the log file, unless ``log_output`` is unset for a command that prints secrets.
    ``env`` is added to the current environment; a secret belongs in ``stdin``, which is not logged. Raises
    CommandError if it fails and ``check`` is set, or when ``timeout`` seconds have passed. A Ctrl-C is passed on once
    the command has ended.
    """
    words = [str(word) for word in command]
    started = time.monotonic()
    done = _run(words, stdin, env or {}, cwd, timeout)
    _log(words, done.stdout + done.stderr if log_output else "", done.returncode, time.monotonic() - started)
    if check and done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-TAIL_LINES:])
        raise CommandError(f"{' '.join(words)}: exit code {done.returncode}\n{tail}\n(full log: {LOG_FILE})")
    return done.stdout


def succeeds(command: Sequence[str | Path], timeout: float = RUN_SECONDS) -> bool:
    """Whether a command exits with 0 within ``timeout`` seconds; that it fails or is not installed is an answer."""
    try:
        return _run([str(word) for word in command], None, {}, None, timeout).returncode == 0
    except CommandError:
        return False


def _run(
    words: list[str], stdin: str | None, env: Mapping[str, str], cwd: Path | None, timeout: float
) -> "subprocess.CompletedProcess[str]":
    path = f"{ADMIN_PATH}:{os.environ.get('PATH', os.defpath)}"
    try:
        child = subprocess.Popen(
            words,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, "PATH": path, **env},
            cwd=cwd,
        )
    except (FileNotFoundError, PermissionError) as error:
        raise CommandError(f"{words[0]}: not found on this machine ({error})") from error
    with child:
        try:
            output, errors = child.communicate(stdin, timeout)
        except KeyboardInterrupt:
            _wait_for_end(child, words)
            raise
        except subprocess.TimeoutExpired as error:
            _terminate(child)
            raise CommandError(f"{' '.join(words)}: no end after {timeout:.0f}s, so it was ended") from error
    return subprocess.CompletedProcess(words, child.returncode, output, errors)


def _wait_for_end(child: "subprocess.Popen[str]", words: list[str]) -> None:
    """After Ctrl-C, which the terminal sent to the command too; killed at once it might leave dpkg broken."""
    if _ends_within(child, QUIET_SECONDS):
        return
    say(f"waiting for {words[0]} to end; Ctrl-C again terminates it")
    if not _ends_within(child, INTERRUPT_SECONDS):
        _terminate(child)


def _terminate(child: "subprocess.Popen[str]") -> None:
    child.terminate()
    if not _ends_within(child, TERMINATE_SECONDS):
        child.kill()


def _ends_within(child: "subprocess.Popen[str]", seconds: float) -> bool:
    """Whether it ends in time, its output being read meanwhile: it could not end while the pipe is full."""
    try:
        child.communicate(timeout=seconds)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        return child.poll() is not None
    return True


def _log(words: Sequence[str], output: str, code: int, took: float) -> None:
    stamp = time.strftime("%Y-%m-%d %H:%M:%S")
    text = f"[{stamp}] $ {' '.join(words)}\n{output}[{stamp}] exit {code} after {took:.1f}s\n"
    # Users who may not write the log still get their answer.
    with _lock, contextlib.suppress(PermissionError), logs.appending(LOG_FILE) as log:
        log.write(text.encode(errors="replace"))
