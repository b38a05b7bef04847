"""What the front ends share: how a problem that a user can act on ends a program."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kubeproof.terminal.errors import EXIT_BAD_INPUT, UserError

REPOSITORY = Path(__file__).resolve().parents[2]


@contextmanager
def ending_cleanly() -> Iterator[None]:
    """Turn UserError into its lines on standard error and exit code 2.

    For files that the pyinfra command executes: it shows the traceback of every exception but its own.
    """
    try:
        yield
    except UserError as error:
        for line in error.problems:
            print(f"error: {line}", file=sys.stderr)
        raise SystemExit(EXIT_BAD_INPUT) from None


def started_from_repository() -> None:
    """End the program unless it was started in the repository's root, where pyinfra looks for config.py."""
    with ending_cleanly():
        if Path.cwd() != REPOSITORY:
            raise UserError(f"{Path.cwd()}: not the root of the repository, run `cd {REPOSITORY}` first, or use ./inv")
