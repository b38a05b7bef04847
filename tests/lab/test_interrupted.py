"""Ctrl-C in the middle of `./inv up`, again and again; the last one completes, from bare hosts."""

import os
import re
import signal
import subprocess
import time

import pytest

from lab.paths import REPOSITORY
from tests.lab.commands import changes, succeed

PATIENCE_SECONDS = 300
EXIT_INTERRUPTED = 130

STEPS = (
    "Install Docker and Kubernetes",
    "Pull images",
    "Initialise the control plane",
    "Join the cluster",
    "Wait for the demo",
)
"""Operations of the deploy, as they are announced; each is interrupted as soon as it has begun."""


@pytest.mark.parametrize("step", STEPS)
def test_up_can_be_interrupted(step: str) -> None:
    code, output = _interrupt_at(step)
    assert code == EXIT_INTERRUPTED, output[-2000:]
    assert "Traceback" not in output
    assert "interrupted" in output


def test_up_completes_what_was_interrupted() -> None:
    output = succeed("up")
    assert re.search(r"\b(\d+) of \1 hold", output), output[-2000:]


def test_nothing_is_left_to_do() -> None:
    assert changes(succeed("apply")) == 0


def _interrupt_at(step: str) -> tuple[int, str]:
    """Start ./inv up, press Ctrl-C (a signal to the whole foreground group) when it announces ``step``."""
    lines: list[str] = []
    with subprocess.Popen(
        [REPOSITORY / "inv", "up"],
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        deadline = time.monotonic() + PATIENCE_SECONDS
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if "Starting operation" in line and step in line:
                os.killpg(process.pid, signal.SIGINT)
            assert time.monotonic() < deadline, f"{step} never began:\n{''.join(lines[-20:])}"
        return process.wait(), "".join(lines)
