"""What all tests share."""

import signal
from collections import Counter

import pytest
from gevent import monkey

SHORT_SECONDS = 1.0
"""Modules that take less are not worth a line."""


def pytest_configure() -> None:
    """Ctrl-C is tested; a shell that starts the tests in the background has them, and their children, ignore it.

    And threads stay threads: importing pyinfra_cli replaces them by greenlets for the whole process, and one that
    enters a network namespace would then take all others along. What needs pyinfra's command line runs it as a process.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    monkey.patch_all = lambda *_args, **_options: None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which modules take how long; pytest's own summary comes after it."""
    took: Counter[str] = Counter()
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport):
                took[report.nodeid.partition("::")[0]] += report.duration  # type: ignore[assignment]
    terminalreporter.section("time by module")
    for module, seconds in took.most_common():
        if seconds >= SHORT_SECONDS:
            terminalreporter.write_line(f"{seconds:7.1f}s  {module}")
