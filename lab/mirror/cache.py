"""Content-addressed store of what was built: an entry is there in full, or not at all."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kubeproof.terminal.console import step
from kubeproof.terminal.errors import CommandError
from lab import paths, shell

KEY_DIGITS = 32
PARTIAL = ".partial-"


def key(*parts: object) -> str:
    """A name for content made of these parts (anything JSON can hold): equal parts give equal keys."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:KEY_DIGITS]


def entry(kind: str, name: str) -> Path:
    """Where the entry of this kind (``kubernetes``, ``packages`` …) and key lies once it is built."""
    return paths.CACHE / kind / name


@contextmanager
def creating(final: Path) -> Iterator[Path]:
    """Give a fresh path beside ``final`` to build at (file or directory); rename it to ``final`` if all went well.

    An interrupted or failed build leaves ``final`` as it was; leftovers of an earlier one are removed first.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    for leftover in final.parent.glob(f"{PARTIAL}{final.name}-*"):
        remove(leftover)
    partial = final.parent / f"{PARTIAL}{final.name}-{os.getpid()}"
    earlier = partial.with_name(f"{partial.name}-earlier")
    try:
        yield partial
        if partial.is_dir() and final.is_dir():
            # Removing it takes a while, in which there would be neither.
            final.rename(earlier)
        partial.rename(final)
    finally:
        remove(partial)
        remove(earlier)


def ensure(kind: str, name: str, title: str, make: Callable[[Path], object]) -> tuple[Path, int]:
    """The entry of a kind and key, made by ``make`` if it is not there; and how many were made (0 or 1).

    Those of other keys are removed then: what an earlier recipe gave is not wanted again.
    """
    folder = entry(kind, name)
    if folder.exists():
        return folder, 0
    with step(title), creating(folder) as partial:
        make(partial)
    prune(kind, keep=name)
    return folder, 1


def prune(kind: str, keep: str) -> None:
    directory = paths.CACHE / kind
    for path in directory.iterdir() if directory.is_dir() else ():
        if path.name != keep:
            remove(path)


def remove(path: Path) -> None:
    """Remove a file or a tree, if it is there; never what may be mounted inside, as in a killed build's chroot."""
    if not shell.succeeds(["rm", "-rf", "--one-file-system", path]):
        raise CommandError(f"{path}: cannot be removed; is something mounted inside? `findmnt` shows it")
