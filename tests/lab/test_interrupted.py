"""Ctrl-C in the middle of `./inv up`; the next one completes. (test_killed stops a deploy in all of its phases.)"""

import re
import signal

import pytest

from tests.lab.commands import changes, succeed
from tests.lab.interrupting import Running

EXIT_INTERRUPTED = 130

STEPS = ("Install Docker and Kubernetes", "Wait for the demo")
"""Operations of the deploy, as they are announced; each is interrupted as soon as it has begun."""


@pytest.mark.parametrize("step", STEPS)
def test_up_can_be_interrupted(step: str) -> None:
    with Running("up") as running:
        running.until_operation(step)
        running.signal(signal.SIGINT)
        outcome = running.finish()
    assert outcome.code == EXIT_INTERRUPTED, outcome.output[-2000:]
    assert "Traceback" not in outcome.output
    assert "interrupted" in outcome.output


def test_up_completes_what_was_interrupted() -> None:
    output = succeed("up")
    assert re.search(r"\b(\d+) of \1 hold", output), output[-2000:]


def test_nothing_is_left_to_do() -> None:
    assert changes(succeed("apply")) == 0
