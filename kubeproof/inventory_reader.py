"""Prints an inventory file's contents as JSON, in a process of its own (see kubeproof.cluster.load)."""

import json
import sys
from pathlib import Path

from pyinfra.api import Config, State
from pyinfra.context import ctx_config, ctx_state
from pyinfra_cli.exceptions import UnexpectedExternalError
from pyinfra_cli.inventory import make_inventory_from_files

from kubeproof.cluster import REPOSITORY, contents_of
from kubeproof.errors import EXIT_BAD_INPUT, UserError


def main(file: Path) -> int:
    """Read the file as the pyinfra command would; report problems as `error:` lines."""
    ctx_state.set(State())
    ctx_config.set(Config())
    try:
        inventory = make_inventory_from_files(str(file), cwd=str(REPOSITORY))
    except UnexpectedExternalError as error:
        return _report(error.exception, error.filename)
    except Exception as error:
        return _report(error, str(file))
    names = frozenset(other.stem for other in file.parent.glob("*.py"))
    json.dump(contents_of(inventory, names).to_json(), sys.stdout, default=str)
    return 0


def _report(error: Exception, file: str) -> int:
    if isinstance(error, UserError):
        problems = list(error.problems)
    else:
        problems = [f"{file}: cannot be loaded ({type(error).__name__}: {error}), correct it"]
    for line in problems:
        print(f"error: {line}", file=sys.stderr)
    return EXIT_BAD_INPUT


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
