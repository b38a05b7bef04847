"""What ssh would do with its configuration, as it tells itself (ssh -G)."""

import subprocess

from kubeproof.config.cluster import SshAccess

SECONDS = 10
"""It connects to nobody, but a Match of its configuration may run a program."""


def effective(access: SshAccess) -> dict[str, str]:
    """Values by option in lower case, the first of each; empty if ssh cannot tell."""
    *words, name = access.command()
    try:
        done = subprocess.run(
            [*words, "-G", name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return {} if done.returncode else dict(line.partition(" ")[::2] for line in reversed(done.stdout.splitlines()))
