"""Tells what is new about the state of things, and not the same every few seconds."""

import logging
from collections.abc import Iterable


class Standing:
    """Lines that hold at the moment, in the log once when they come and once when they have gone."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._lines: frozenset[str] = frozenset()

    def tell(self, lines: Iterable[str], level: int) -> None:
        """These lines hold now, and no others."""
        now = frozenset(lines)
        for line in sorted(now - self._lines):
            self._log.log(level, "%s", line)
        for line in sorted(self._lines - now):
            self._log.info("settled: %s", line)
        self._lines = now
