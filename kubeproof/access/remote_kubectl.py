"""kubectl on the control plane host, over ssh: the user's machine needs none, nor a route to the API server."""

import os
import shlex
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, cast

from kubeproof.access import sudo
from kubeproof.config.cluster import LoadedInventory, SshAccess
from kubeproof.config.tables import paths
from kubeproof.terminal.errors import CommandError

SSH_FAILED = 255
"""ssh's own exit code where it could not connect (ssh(1), EXIT STATUS)."""

CAPTURE_SECONDS = 120
"""For what asks, applies or waits for a minute; what takes longer says so."""
FEED_BYTES = 65536


def command(loaded: LoadedInventory, words: Sequence[str], *, terminal: bool) -> list[str]:
    """The ssh command that runs kubectl with these words; a terminal is for `exec -it` and `edit`."""
    access = loaded.ssh[loaded.cluster.leader.name]
    return over_ssh(access, ["kubectl", f"--kubeconfig={paths.ADMIN_CONF}", *words], terminal=terminal)


def over_ssh(access: SshAccess, words: Sequence[str], *, terminal: bool = False) -> list[str]:
    """The ssh command that runs words, each quoted, as root on a host.

    With a terminal sudo asks there itself, if it does; otherwise `sudo.given_as_input` comes before the words' input.
    """
    *ssh, hostname = access.command()
    if terminal:
        return [*ssh, "-t", hostname, shlex.join([*(["sudo"] if access.sudo else []), *words])]
    return [*ssh, hostname, shlex.join(sudo.as_root(access, words))]


def leader_input(loaded: LoadedInventory) -> str:
    """What comes before the input of kubectl without a terminal."""
    return sudo.given_as_input(loaded.ssh[loaded.cluster.leader.name].sudo_password)


def capture(loaded: LoadedInventory, words: Sequence[str], *, stdin: str = "", seconds: float = CAPTURE_SECONDS) -> str:
    """Run kubectl and return its output. Raises CommandError, with kubectl's own last words, if it fails.

    So does one that has not ended after ``seconds``.
    """
    words_of_ssh = command(loaded, words, terminal=False)
    stdin = leader_input(loaded) + stdin
    try:
        done = subprocess.run(words_of_ssh, input=stdin, capture_output=True, text=True, check=False, timeout=seconds)
    except subprocess.TimeoutExpired:
        raise CommandError(f"kubectl {words[0]}: no answer within {seconds:.0f} s; is the host well?") from None
    if done.returncode == 0:
        return done.stdout
    last = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()[-1]
    what = f"ssh to {loaded.cluster.leader.name}" if done.returncode == SSH_FAILED else f"kubectl {words[0]}"
    raise CommandError(f"{what}: {last}")


def has_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def run(loaded: LoadedInventory, words: Sequence[str], *, terminal: bool = False) -> int:
    """Run kubectl with this process's own input and output; return its exit code. Raises CommandError without ssh."""
    sys.stdout.flush()
    words_of_ssh, first = command(loaded, words, terminal=terminal), leader_input(loaded)
    code = _run_with(words_of_ssh, first) if first and not terminal else subprocess.call(words_of_ssh)
    if code == SSH_FAILED:
        raise CommandError(f"ssh: cannot reach {loaded.cluster.leader.name}, see the message above; is the host up?")
    return code


def _run_with(command: Sequence[str], first: str) -> int:
    """Run a command whose input is a text and then this process's own."""
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        # As a daemon: it may wait for more when the command has ended.
        threading.Thread(target=_feed, args=(process, first.encode()), daemon=True).start()
        return process.wait()


def _feed(process: "subprocess.Popen[bytes]", content: bytes) -> None:
    with suppress(OSError), cast("IO[bytes]", process.stdin) as stdin:
        while content:
            stdin.write(content)
            stdin.flush()
            content = os.read(0, FEED_BYTES)
