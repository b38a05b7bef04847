"""Operations that no host is left for are not announced: pyinfra goes through all of them, whoever has failed."""

import logging

from pyinfra import logger
from pyinfra.api.state import BaseStateCallback, State

_ANNOUNCEMENTS = ("Starting operation:", "Skipped")
"""pyinfra.api.util, log_operation_start, and pyinfra.api.operations, run_host_op."""


class _Silence(BaseStateCallback, logging.Filter):
    """Hears which operation comes next, and drops what is said of one that no host runs."""

    nobody = False

    # pyinfra's own are functions of a class; it calls what it finds by name, so that methods do as well.
    def operation_start(self, state: State, op_hash: str) -> None:  # type: ignore[override]
        self.nobody = not any(op_hash in state.ops[host] for host in state.active_hosts)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is told: that an operation begins, and who skips it, only if somebody does not."""
        return not (self.nobody and any(words in record.getMessage() for words in _ANNOUNCEMENTS))


def install(state: State) -> None:
    """Have it so in this run, once."""
    if not any(isinstance(handler, _Silence) for handler in state.callback_handlers):
        silence = _Silence()
        state.add_callback_handler(silence)
        logger.addFilter(silence)
