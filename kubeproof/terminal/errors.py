"""Errors that a user can act on."""

from collections.abc import Iterable

EXIT_OK = 0
EXIT_NOT_HOLDING = 1
"""Something that was checked does not hold, or a host failed."""
EXIT_BAD_INPUT = 2
"""Bad input, or a machine that cannot do what was asked."""


class UserError(Exception):
    """Bad input or an unfit machine: one line for each problem, each saying what to do.

    Front ends print :attr:`problems` without a traceback and exit with :data:`EXIT_BAD_INPUT`.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems: tuple[str, ...] = (problems,) if isinstance(problems, str) else tuple(problems)
        super().__init__("\n".join(self.problems))


class CommandError(Exception):
    """A command that had to succeed failed; names the command, its end of output and the full log."""
