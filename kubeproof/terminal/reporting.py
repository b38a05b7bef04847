"""How commands that look at a cluster end: their report printed, written where it is asked for, and an exit code."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from rich.console import Console

from kubeproof.terminal import output_files
from kubeproof.terminal.console import console
from kubeproof.terminal.errors import EXIT_BAD_INPUT, EXIT_NOT_HOLDING, EXIT_OK, UserError

Report = TypeVar("Report")


def reported(
    make: Callable[[], Report],
    show: Callable[[Report, Console], None],
    to_json: Callable[[Report], object],
    is_well: Callable[[Report], bool],
    json_file: Path | None,
) -> int:
    """Make a report, print it, write ``json_file`` if there is to be one, and return the exit code.

    0: all is well; 1: it is not; 2, after a line for each problem: ``json_file`` cannot be written, or nothing be seen.
    """
    try:
        if problems := output_files.problems("--json", json_file):
            raise UserError(problems)
        report = make()
        show(report, console)
        if json_file is not None:
            text = json.dumps(to_json(report), indent=2, ensure_ascii=False)
            output_files.write("--json", json_file, f"{text}\n")
    except UserError as error:
        for problem in error.problems:
            console.print(f"error: {problem}", markup=False)
        return EXIT_BAD_INPUT
    return EXIT_OK if is_well(report) else EXIT_NOT_HOLDING
