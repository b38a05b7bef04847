"""./inv's command line: invoke's own, but what is mistyped gets one line that says what to do, and exit code 2."""

import os
import re
import signal
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from invoke.exceptions import Exit, ParseError
from invoke.program import Program
from invoke.tasks import Task

from kubeproof.terminal.errors import EXIT_BAD_INPUT
from kubeproof.terminal.exits import REPOSITORY

UNKNOWN = re.compile(r"No idea what '(?P<word>.*)' is!")
MISSING = re.compile(r"'(?P<command>.*)' did not receive required positional arguments: (?P<names>.*)")
WITHOUT_VALUE = re.compile(r"Flag <Argument: (?P<name>[\w-]+).*> needed value")
"""Messages of invoke.parser, of the version in requirements.lock."""


HELP = ("--help", "-h")
ALONE = ("--keep", "--verbose", "-k", "-v")
"""Options of `matrix` that take no value."""
PLAIN_WORDS = {"matrix": "file", "mirror.add": "image", "node.remove": "name"}
"""Commands that take any number of plain arguments, which invoke knows for options only (`--file`)."""


def as_typed(words: list[str]) -> list[str]:
    """What a user typed (the program first) as invoke reads it: help of a command, and plain arguments. Pure.

    >>> as_typed(["./inv", "lab.stop", "--help"])
    ['./inv', '--help', 'lab.stop']
    >>> as_typed(["./inv", "matrix", "--only", "ports-*", "a.yaml"])
    ['./inv', 'matrix', '--only', 'ports-*', '--file=a.yaml']
    """
    program, command, *rest = [*words, "", ""][: max(2, len(words))]
    own = rest[: rest.index("--")] if "--" in rest else rest
    if not command.startswith("-") and any(word in HELP for word in own):
        # invoke would take it for the value of an argument that is still missing.
        return [program, HELP[0], command]
    return [program, command, *_named(rest, PLAIN_WORDS[command])] if command in PLAIN_WORDS else words


def _named(words: list[str], option: str) -> Iterator[str]:
    """Plain words as values of an option, --file=WORD. Few options stand alone, all others take the next word."""
    value = False
    for word in words:
        plain = not value and not word.startswith("-")
        value = word.startswith("-") and "=" not in word and word not in ALONE
        yield f"--{option}={word}" if plain else word


class Command(Task[Callable[..., int | None]]):
    """A command with an option that begins with h: `-h` is help everywhere, so it has another letter."""

    def arg_opts(self, name: str, default: str, taken_names: set[str]) -> dict[str, Any]:
        return super().arg_opts(name, default, {*taken_names, "h"})


class CommandLine(Program):
    def run(self, argv: list[str] | None = None, exit: bool = True) -> None:
        """Where nobody reads the output any more (`| head`), end in silence, as other programs do."""
        try:
            try:
                super().run(argv, exit)
            finally:
                sys.stdout.flush()
        except BrokenPipeError:
            # Or the interpreter tries to write the rest when it ends, and complains.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(128 + signal.SIGPIPE) from None

    def print_version(self) -> None:
        project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
        print(f"{project['name']} {project['version']}")

    def parse_core_args(self) -> None:
        with self._explained():
            super().parse_core_args()
            if self.args.dry.value:
                # invoke's option means commands that are run through invoke, and none is.
                raise ParseError("--dry: has no effect here, use `./inv plan`")

    def parse_tasks(self) -> None:
        with self._explained():
            super().parse_tasks()

    def parse_cleanup(self) -> None:
        with self._explained():
            super().parse_cleanup()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except ParseError as error:
            within = (error.context.name if error.context else None) or ""
            print(f"error: {explain(str(error), within, self._commands())}", file=sys.stderr)
            raise Exit(code=EXIT_BAD_INPUT) from None

    def _commands(self) -> list[str]:
        # invoke names no commands before its own options are parsed.
        return list(self.namespace.task_names) if self.namespace else []


def explain(message: str, within: str, commands: Iterable[str]) -> str:
    """Say in one line what invoke's parser complains of. Pure.

    ``within`` is the command that was being read, or empty; ``commands`` are the names of all.
    """
    see = f"see `./inv {within} --help`" if within else "see `./inv --help`"
    if found := UNKNOWN.fullmatch(message):
        return _unknown(found["word"], within, commands, see)
    if found := MISSING.fullmatch(message):
        names = found["names"].replace("'", "").upper()
        return f"{found['command']}: needs {names}, {see}"
    if found := WITHOUT_VALUE.match(message):
        return f"--{found['name']}: needs a value, {see}"
    return message


def _unknown(word: str, within: str, commands: Iterable[str], see: str) -> str:
    if word.startswith("-"):
        return f"{word}: no such option{f' of {within}' if within else ''}, {see}"
    # Only now: it costs time, and most commands are spelled right.
    from kubeproof.config.reading import closest

    if meant := closest(word, commands):
        return f"{word}: no such command, did you mean {meant}?"
    if within:
        return f"{word}: neither an argument of {within} nor a command, {see}"
    return f"{word}: no such command, `./inv` lists them"
