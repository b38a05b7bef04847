"""Digests of images from other registries, pinned when each was fetched first: a tag can be moved, its digest cannot.

They are in a file that can be committed, so that another machine fetches the same or nothing.
"""

import re
from pathlib import Path

from kubeproof.terminal import atomic_files
from kubeproof.terminal.errors import UserError
from lab import paths

FILE = paths.REPOSITORY / "lab" / "images.lock"
HEADER = "# Digests of images that `./inv mirror.add` has fetched from registries: NAME:TAG and the digest.\n"
_LINE = re.compile(r"(\S+:\S+) (sha256:[0-9a-f]{64})")


def read(file: Path) -> dict[str, str]:
    """Name with tag -> digest of its manifest or list of manifests. Raises UserError, a line for each problem."""
    pins: dict[str, str] = {}
    problems = []
    for number, line in enumerate(file.read_text().splitlines() if file.is_file() else (), 1):
        if line.startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found and found[1] not in pins:
            pins[found[1]] = found[2]
        else:
            reason = "pins an image a second time" if found else "is not NAME:TAG sha256:DIGEST"
            problems.append(f"{file}: line {number} {reason}, remove it, or restore the file")
    if problems:
        raise UserError(problems)
    return pins


def add(file: Path, name: str, digest: str) -> None:
    """Pin an image that is not pinned yet."""
    pins = {name: digest, **read(file)}
    atomic_files.write(file, HEADER + "".join(f"{known} {pins[known]}\n" for known in sorted(pins)), mode=0o644)
