"""What curl and ping say by their exit codes, and several requests as one."""

import pytest

from kubeproof.walkthrough.attempt import Attempt, FromHere, Outcome, Result, fetch, ping, read, together

OPEN, BLOCKED, FAILED = Result(Outcome.OPEN, "page"), Result(Outcome.BLOCKED, "silence"), Result(Outcome.FAILED, "why")


@pytest.mark.parametrize(
    ("words", "code", "outcome"),
    [
        (fetch("http://10.244.1.2/"), 0, Outcome.OPEN),
        (fetch("http://10.244.1.2/"), 28, Outcome.BLOCKED),
        (fetch("http://10.244.1.2/"), 7, Outcome.FAILED),
        (fetch("http://httpd-svc/"), 6, Outcome.FAILED),
        (ping("10.244.1.2"), 0, Outcome.OPEN),
        (ping("10.244.1.2"), 1, Outcome.BLOCKED),
        (ping("10.244.1.2"), 2, Outcome.FAILED),
    ],
)
def test_only_silence_is_blocked(words: tuple[str, ...], code: int, outcome: Outcome) -> None:
    assert read(words, code, "", "curl: (7) connection refused\n").outcome is outcome


def test_a_failure_says_why() -> None:
    assert read(("curl",), 6, "", "curl: (6) Could not resolve host: x\n").found == (
        "curl: exit code 6: curl: (6) Could not resolve host: x"
    )


def test_requests_that_fare_differently_are_no_answer() -> None:
    assert together([OPEN, OPEN]) == OPEN
    assert together([BLOCKED]) == BLOCKED
    mixed = together([OPEN, BLOCKED, BLOCKED])
    assert mixed.outcome is Outcome.FAILED
    assert mixed.found.startswith("1 of 3 requests")


def test_an_attempt_fits_by_outcome_and_by_what_was_answered() -> None:
    attempt = Attempt("somebody", FromHere("http://192.0.2.1/"), Outcome.OPEN, '"10.244.0.0"')
    assert attempt.fits(Result(Outcome.OPEN, '{"client": "10.244.0.0"}'))
    assert not attempt.fits(Result(Outcome.OPEN, '{"client": "192.0.2.1"}'))
    assert not attempt.fits(Result(Outcome.BLOCKED, '"10.244.0.0"'))
