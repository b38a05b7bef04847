"""Prints an inventory file's contents as JSON, in a process of its own (see kubeproof.config.cluster.load).

Whatever the file prints, and the programs that it starts, goes to standard error: standard output is the answer's.
"""

import json
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from pyinfra.api import Config, State
from pyinfra.context import ctx_config, ctx_state
from pyinfra_cli import inventory as loader
from pyinfra_cli.exceptions import UnexpectedExternalError
from pyinfra_cli.util import exec_file

from kubeproof.config import inventory_shape
from kubeproof.config.cluster import cluster_from, contents_of
from kubeproof.terminal.errors import EXIT_BAD_INPUT, UserError
from kubeproof.terminal.exits import REPOSITORY

GROUP_DATA = "group_data"


def main(file: Path, answer: int) -> int:
    """Read the file as the pyinfra command would; write its contents, or its problems, to the descriptor ``answer``."""
    ctx_state.set(State())
    ctx_config.set(Config())
    try:
        document = _contents(file)
    except UserError as error:
        document = {"problems": list(error.problems)}
    except SystemExit as end:
        if end.code == EXIT_BAD_INPUT:
            raise  # it has said why
        document = {"problems": [f"{_where(end, file)}: ends the program (sys.exit({end.code!r})), correct it"]}
    except UnexpectedExternalError as error:
        document = {"problems": [_line(error.exception, Path(error.filename))]}
    except Exception as error:
        document = {"problems": [_line(error, file)]}
    # What is no value of JSON has been taken by a reader that takes its text as well, such as a path.
    text = json.dumps(document, default=str)
    with os.fdopen(answer, "w", encoding="utf-8") as output:
        output.write(text)
    return EXIT_BAD_INPUT if "problems" in document else 0


def _contents(file: Path) -> dict[str, Any]:
    if unread := list(_unread_data(file)):
        raise UserError(unread)

    def run(filename: str, **options: bool) -> dict[str, Any]:
        """pyinfra's own, with a look at what the file defines before pyinfra drops what it does not take."""
        defined: dict[str, Any] = exec_file(filename, **options)
        if Path(filename) == file and (problems := inventory_shape.problems(defined, file.stem)):
            raise UserError(problems)
        return defined

    loader.exec_file = run
    inventory = loader.make_inventory_from_files(str(file), cwd=str(REPOSITORY))
    contents = contents_of(inventory, frozenset(other.stem for other in file.parent.glob("*.py")))
    # Here values have the types that the file gave them.
    cluster_from(contents)
    return contents.to_json()


def _unread_data(file: Path) -> "list[str]":
    """Files of settings that pyinfra passes over, since they are no Python."""
    folder = file.parent / GROUP_DATA
    names = {"all", file.stem, *inventory_shape.ROLE_GROUPS}
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [
        f"{other}: is not read, write the settings as Python into {GROUP_DATA}/{other.stem}.py"
        for other in found
        if other.is_file() and other.stem in names and other.suffix in ("", ".yml", ".yaml", ".json", ".toml", ".ini")
    ]


def _where(error: BaseException, file: Path) -> str:
    """The line of the user's own file that led to it, else the file."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_data(Path(frame.filename), file)]
    return f"{own[-1].filename}, line {own[-1].lineno}" if own else str(file)


def _is_data(frame: Path, file: Path) -> bool:
    return frame == file or frame.parent == file.parent / GROUP_DATA


def _line(error: BaseException, file: Path) -> str:
    try:
        said = " ".join(str(error).split())
    except Exception:  # an exception of the file's own may fail at that
        said = "it says no more"
    kind = type(error).__name__
    if isinstance(error, SyntaxError):
        place = f"{error.filename or file}, line {error.lineno}"
        return (
            f"{place}: cannot be loaded ({kind}: {error.msg}), correct it; it is a Python file as inventory/example.py"
        )
    return f"{_where(error, file)}: cannot be loaded ({kind}{f': {said}' if said else ''}), correct it"


def run(words: Sequence[str]) -> NoReturn:
    """Read the file that the words name; its contents go to standard output. Ends this process."""
    answer = os.dup(1)
    os.dup2(2, 1)
    code = main(Path(words[0]), answer)
    sys.stderr.flush()
    # At once: threads that the file has started may never end.
    os._exit(code)


if __name__ == "__main__":
    run(sys.argv[1:])
