"""A wait ends with its condition or with an error that names it."""

from itertools import count

import pytest

from kubeproof.terminal.errors import CommandError
from lab import wait


def test_a_condition_that_holds_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("lab.wait.time.sleep")
    wait.wait_until(lambda: True, seconds=0, what="nothing")


def test_a_condition_is_polled_until_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "POLL_SECONDS", 0)
    calls = count()
    wait.wait_until(lambda: next(calls) == 3, seconds=60, what="the fourth call")
    assert next(calls) == 4


def test_after_the_deadline_the_condition_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "POLL_SECONDS", 0)
    with pytest.raises(CommandError, match="waited 0s in vain for k8s-node1 to answer"):
        wait.wait_until(lambda: False, seconds=0, what="k8s-node1 to answer")
