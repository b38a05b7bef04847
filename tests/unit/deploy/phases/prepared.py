"""A process that has imported pyinfra and forks for each run of a test: importing takes half of a run's time.

Each child runs `fake_pyinfra` with arguments, environment and output of its own, so that no run sees another.
"""

import atexit
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[4]
SECONDS = 120


def run(world: Path, log: Path, arguments: Sequence[str], environment: Mapping[str, str], output: Path) -> int:
    """Run pyinfra's command line in a world; the exit code. What it prints goes to ``output``."""
    server = _server()
    assert server.stdin
    assert server.stdout
    request = {
        "world": str(world),
        "log": str(log),
        "arguments": arguments,
        "environment": dict(environment),
        "output": str(output),
    }
    server.stdin.write(json.dumps(request) + "\n")
    server.stdin.flush()
    return int(server.stdout.readline())


@functools.cache
def _server() -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", __name__]
    server = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(_end, server)
    return server


def _end(server: "subprocess.Popen[str]") -> None:
    assert server.stdin
    server.stdin.close()
    server.wait(10)


def _serve() -> None:
    from tests.unit.deploy.phases import fake_pyinfra

    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            _become(request["environment"], Path(request["output"]))
            fake_pyinfra.run(Path(request["world"]), Path(request["log"]), request["arguments"])
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


def _become(environment: Mapping[str, str], output: Path) -> None:
    signal.alarm(SECONDS)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 1)
    os.dup2(1, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)


if __name__ == "__main__":
    _serve()
