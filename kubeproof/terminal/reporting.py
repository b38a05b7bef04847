"""How commands that look at a cluster end: their report printed, written where it is asked for, and an exit code."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from rich.console import Console

from kubeproof.terminal import output_files
from kubeproof.terminal.console import console
from kubeproof.terminal.errors import EXIT_BAD_INPUT, EXIT_NOT_HOLDING, EXIT_OK, UserError

Report = TypeVar("Report")


@dataclass(frozen=True)
class Output(Generic[Report]):
    """A file that an option asks for, and what writes a report to it; None if it is not asked for."""

    option: str
    file: Path | None
    write: Callable[[Report, Path], None]


def as_json(file: Path | None, to_json: Callable[[Report], object]) -> Output[Report]:
    """The option --json, with the stable form of a report."""

    def write(report: Report, file: Path) -> None:
        output_files.write("--json", file, json.dumps(to_json(report), indent=2, ensure_ascii=False) + "\n")

    return Output("--json", file, write)


def reported(
    make: Callable[[], Report],
    show: Callable[[Report, Console], None],
    is_well: Callable[[Report], bool],
    outputs: Iterable[Output[Report]],
) -> int:
    """Make a report, print it, write the files that are asked for, and return the exit code.

    0: all is well; 1: it is not; 2, after a line for each problem: a file cannot be written, or nothing be seen.
    """
    asked = [(item.option, item.file, item.write) for item in outputs if item.file is not None]
    try:
        if problems := [line for option, file, _ in asked for line in output_files.problems(option, file)]:
            raise UserError(problems)
        report = make()
        show(report, console)
        for _, file, write in asked:
            write(report, file)
    except UserError as error:
        for problem in error.problems:
            console.print(f"error: {problem}", markup=False)
        return EXIT_BAD_INPUT
    return EXIT_OK if is_well(report) else EXIT_NOT_HOLDING
