"""A process that has imported pyinfra and the deploy, and forks for each program that a test runs: importing takes
longer than most of them.

Each child calls a module's ``run`` with words, environment and output of its own, so that no run sees another.
"""

import atexit
import functools
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 120
MODULES = ("kubeproof.config.inventory_reader", "tests.unit.deploy.phases.fake_pyinfra")
"""Programs that are run so."""
PHASES = REPOSITORY / "kubeproof" / "deploy" / "phases"


def run(
    module: str, words: Sequence[str], environment: Mapping[str, str], output: IO[Any], errors: IO[Any] | None = None
) -> int:
    """Call ``run`` of a module in a process of its own; its exit code. What it prints goes to the given files."""
    server = _server()
    assert server.stdin
    assert server.stdout
    files = [f"/proc/{os.getpid()}/fd/{file.fileno()}" for file in (output, errors or output)]
    server.stdin.write(json.dumps([module, words, dict(environment), *files]) + "\n")
    server.stdin.flush()
    return int(server.stdout.readline())


@functools.cache
def _server() -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", __name__]
    server = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    # It ends when its input does.
    atexit.register(server.communicate, timeout=10)
    return server


def _serve() -> None:
    programs = {name: importlib.import_module(name) for name in MODULES}
    for file in PHASES.glob("*.py"):
        importlib.import_module(f"kubeproof.deploy.phases.{file.stem}")
    # Objects that a collection touches would be copied for each child.
    gc.freeze()
    for line in sys.stdin:
        module, words, environment, output, errors = json.loads(line)
        child = os.fork()
        if not child:
            _become(environment, output, errors)
            programs[module].run(words)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _become(environment: Mapping[str, str], output: str, errors: str) -> None:
    os.setsid()
    signal.alarm(SECONDS)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    # Appending: both may be the same file, which each would write to from its beginning.
    os.dup2(os.open(output, os.O_WRONLY | os.O_APPEND), 1)
    os.dup2(os.open(errors, os.O_WRONLY | os.O_APPEND), 2)


if __name__ == "__main__":
    _serve()
