"""Why an operation would change its host: noted while a plan is made, for `./inv plan` to show.

pyinfra's plan knows only which operations would change which hosts. So each operation of the deploy says its reason
before its first command, and pyinfra_run hands over a file in which to put it. Nothing is noted when there is no such
file, as in an apply.
"""

import json
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from pyinfra import host

FILE = "KUBEPROOF_REASONS"
"""Environment variable with the path of the file; a line of JSON for each reason."""

T = TypeVar("T")


def because(*lines: str) -> None:
    """Note why the present operation would change the present host. A secret does not belong in it."""
    file = os.environ.get(FILE)
    if file:
        note = {"operation": host.current_op_hash, "host": host.name, "lines": lines}
        with Path(file).open("a") as notes:
            notes.write(json.dumps(note) + "\n")


def explained(commands: Iterable[T], why: Callable[[], Iterable[str]]) -> Generator[T, None, None]:
    """The commands of another operation. ``why`` is asked only if there are any, and only for a plan."""
    for number, command in enumerate(commands):
        if not number and os.environ.get(FILE):
            because(*why())
        yield command


def read(text: str) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Operation (pyinfra's hash), host and lines of each note. Pure."""
    for line in text.splitlines():
        note = json.loads(line)
        yield note["operation"], note["host"], tuple(note["lines"])
