"""Debian from nothing by mmdebstrap, from the archive and by the proxy that this machine's own apt uses."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab import apt_config, archive, shell

MOUNT_NAMESPACE = ("unshare", "--mount")
"""Of a build that is killed no mount stays behind, which would keep its folder from being removed."""
FORGET_SETTINGS = 'rm "$1/etc/apt/apt.conf.d/99mmdebstrap"'
"""Where mmdebstrap keeps what --aptopt gave it: this machine's proxy, maybe with a password, is nothing to pass on."""


def make(
    target: Path,
    variant: str,
    packages: Sequence[str],
    options: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    release: str = archive.RELEASE,
) -> None:
    """Install Debian with these packages to ``target``: a folder that is not there yet, or a file NAME.tar.

    ``variant`` is mmdebstrap's (``minbase``, ``essential`` …), ``options`` are added to its own, and ``env`` to its
    environment. Raises CommandError where it fails.
    """
    # Of mode 0600, and where the next build removes what a killed one left.
    with tempfile.NamedTemporaryFile("w", dir=target.parent, suffix=".conf") as settings:
        settings.write(apt_config.render(apt_config.read()))
        settings.flush()
        words = command(target, variant, packages, [f"--aptopt={settings.name}", *options], release)
        shell.run(
            words,
            stdin="".join(f"{source.line()}\n" for source in archive.sources_of(release)),
            env=env,
            timeout=shell.BUILD_SECONDS,
        )


def command(
    target: Path, variant: str, packages: Sequence[str], options: Sequence[str], release: str
) -> list[str | Path]:
    """The words of the command; it reads its sources.list from standard input."""
    return [
        *MOUNT_NAMESPACE,
        "mmdebstrap",
        f"--variant={variant}",
        f"--include={','.join(packages)}",
        *options,
        f"--customize-hook={FORGET_SETTINGS}",
        release,
        target,
        # Without this operand it reads no sources, and asks Debian's own servers.
        "-",
    ]
