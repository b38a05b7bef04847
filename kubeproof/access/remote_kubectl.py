"""kubectl on the control plane host, over ssh: the user's machine needs none, nor a route to the API server."""

import shlex
import subprocess
import sys
from collections.abc import Sequence

from kubeproof.config.cluster import LoadedInventory, SshAccess
from kubeproof.config.tables import paths
from kubeproof.terminal.errors import CommandError

SSH_FAILED = 255
"""ssh's own exit code where it could not connect (ssh(1), EXIT STATUS)."""

CAPTURE_SECONDS = 120
"""For what asks, applies or waits for a minute; what takes longer says so."""


def command(loaded: LoadedInventory, words: Sequence[str], *, terminal: bool) -> list[str]:
    """The ssh command that runs kubectl with these words; a terminal is for `exec -it` and `edit`."""
    access = loaded.ssh[loaded.cluster.leader.name]
    return over_ssh(access, ["kubectl", f"--kubeconfig={paths.ADMIN_CONF}", *words], terminal=terminal)


def over_ssh(access: SshAccess, words: Sequence[str], *, terminal: bool = False) -> list[str]:
    """The ssh command that runs words, each quoted, as root on a host."""
    ssh, hostname = access.command()[:-1], access.hostname
    return [*ssh, *(["-t"] if terminal else []), hostname, shlex.join([*(["sudo"] if access.sudo else []), *words])]


def capture(loaded: LoadedInventory, words: Sequence[str], *, stdin: str = "", seconds: float = CAPTURE_SECONDS) -> str:
    """Run kubectl and return its output. Raises CommandError, with kubectl's own last words, if it fails.

    So does one that has not ended after ``seconds``.
    """
    words_of_ssh = command(loaded, words, terminal=False)
    try:
        done = subprocess.run(words_of_ssh, input=stdin, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise CommandError(f"kubectl {words[0]}: no answer within {seconds:.0f} s; is the host well?") from None
    if done.returncode == 0:
        return done.stdout
    last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
    what = f"ssh to {loaded.cluster.leader.name}" if done.returncode == SSH_FAILED else f"kubectl {words[0]}"
    raise CommandError(f"{what}: {last}")


def run(loaded: LoadedInventory, words: Sequence[str]) -> int:
    """Run kubectl with this process's own input and output; return its exit code. Raises CommandError without ssh."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    sys.stdout.flush()
    code = subprocess.run(command(loaded, words, terminal=terminal), check=False).returncode
    if code == SSH_FAILED:
        raise CommandError(f"ssh: cannot reach {loaded.cluster.leader.name}, see the message above; is the host up?")
    return code
