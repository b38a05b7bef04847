"""kubectl on the control plane host, over ssh: the user's machine needs none, nor a route to the API server."""

import shlex
import subprocess
import sys
from collections.abc import Sequence

from kubeproof.cluster import LoadedInventory
from kubeproof.errors import CommandError

ADMIN_KUBECONFIG = "/etc/kubernetes/admin.conf"
"""Written by `kubeadm init`; only root can read it."""
SSH_FAILED = 255
"""ssh's own exit code where it could not connect (ssh(1), EXIT STATUS)."""


def command(loaded: LoadedInventory, words: Sequence[str], *, terminal: bool) -> list[str]:
    """The ssh command that runs kubectl with these words; a terminal is for `exec -it` and `edit`."""
    access = loaded.ssh[loaded.cluster.leader.name]
    remote = ["kubectl", f"--kubeconfig={ADMIN_KUBECONFIG}", *words]
    ssh, hostname = access.command()[:-1], access.hostname
    return [*ssh, *(["-t"] if terminal else []), hostname, shlex.join([*(["sudo"] if access.sudo else []), *remote])]


def run(loaded: LoadedInventory, words: Sequence[str]) -> int:
    """Run kubectl with this process's own input and output; return its exit code. Raises CommandError without ssh."""
    terminal = sys.stdin.isatty() and sys.stdout.isatty()
    sys.stdout.flush()
    code = subprocess.run(command(loaded, words, terminal=terminal), check=False).returncode
    if code == SSH_FAILED:
        raise CommandError(f"ssh: cannot reach {loaded.cluster.leader.name}, see the message above; is the host up?")
    return code
