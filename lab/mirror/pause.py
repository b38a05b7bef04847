"""The pause program: a static binary built from agents/pause/pause.go with Debian's Go."""

import hashlib
from pathlib import Path

from kubeproof.terminal.errors import UserError
from lab import shell
from lab.mirror import cache, go
from lab.mirror.images import AGENTS

FLAGS = ("-trimpath", "-ldflags", "-s -w -buildid=")


def ensure(source: Path = AGENTS / "pause/pause.go") -> tuple[Path, int]:
    """Return the built program, and how many things were built for it (0 or 1).

    The program's folder is named by the content's key.
    """
    if not source.is_file():
        raise UserError(f"{source}: the program of the pause image is missing; restore it from the repository")
    name = cache.key(hashlib.sha256(source.read_bytes()).hexdigest(), FLAGS)
    folder, built = cache.ensure("pause", name, "pause program", lambda partial: _compile(source, partial))
    return folder / "pause", built


def _compile(source: Path, folder: Path) -> None:
    go_cache = folder / "gocache"
    shell.run([go.PROGRAM, "build", *FLAGS, "-o", folder / "pause", source], env=go.environment(go_cache))
    cache.remove(go_cache)
