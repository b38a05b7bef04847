"""Files that a command is asked to write (--json, --junit): questioned beforehand, written whole or not at all."""

import os
from pathlib import Path

from kubeproof.terminal import atomic_files
from kubeproof.terminal.errors import UserError


def problems(option: str, file: Path | None) -> list[str]:
    """A line for what keeps a file from being written there; none if it is not asked for."""
    if file is None:
        return []
    folder = file.absolute().parent
    if file.is_dir():
        return [f"{option} {file}: is a folder, name a file in it"]
    if not folder.is_dir():
        return [f"{option} {file}: there is no folder {folder}, make it first"]
    if not os.access(folder, os.W_OK | os.X_OK):
        return [f"{option} {file}: the folder {folder} cannot be written to, choose another"]
    return []


def write(option: str, file: Path, text: str) -> None:
    """Write the whole file or leave the old one. Raises UserError."""
    try:
        atomic_files.write(file.absolute(), text, mode=0o644)
    except OSError as error:
        raise UserError(f"{option} {file}: cannot be written ({error.strerror}), choose another place") from error
