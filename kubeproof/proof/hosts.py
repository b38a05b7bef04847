"""Running a script on nodes, one round trip by ssh for each, all nodes at once."""

import secrets
import subprocess
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from kubeproof.access import openssh, sudo
from kubeproof.access.remote_kubectl import SSH_FAILED, over_ssh
from kubeproof.config.cluster import SshAccess
from kubeproof.config.patience import patient, patiently
from kubeproof.state import collector
from kubeproof.state.collector import Output
from kubeproof.state.errors import ParseError

CONNECT_SECONDS = 5
COMMAND_SECONDS = 8
"""Longest time of one command of a script; none that reads state needs a tenth of it."""
ALIVE_SECONDS = 2
"""With three of them at most a node that falls silent after the connection is given up after six seconds."""


class UnreachableError(Exception):
    """A node that could not be asked; says why in one line. ``advice`` is what to do if that does not say it."""

    def __init__(self, reason: str, advice: str = "start the node, or take it out of the inventory") -> None:
        super().__init__(reason)
        self.advice = advice


def command(access: SshAccess, words: Sequence[str]) -> list[str]:
    """The ssh command that runs words as root on a node, and that ends where the node does not answer.

    Its input begins with `sudo.given_as_input` of the node's password.
    """
    ssh, *rest = over_ssh(access, words)
    options = [
        f"ConnectTimeout={patient(CONNECT_SECONDS):g}",
        f"ServerAliveInterval={ALIVE_SECONDS}",
        f"ServerAliveCountMax={patient(3):g}",
    ]
    return [ssh, *(word for option in options for word in ("-o", option)), *rest]


def run(access: SshAccess, commands: Mapping[str, str], *, seconds: float = COMMAND_SECONDS) -> dict[str, Output]:
    """Run all commands (name -> shell text) on a node at once, each at most ``seconds``. Raises UnreachableError."""
    marker = secrets.token_hex(8)
    text = patiently(collector.build(commands, marker=marker, timeout=patient(seconds)))
    given = sudo.given_as_input(access.sudo_password).encode()
    done = subprocess.run(command(access, ["sh", "-c", text]), input=given, capture_output=True, check=False)
    if done.returncode == SSH_FAILED:
        raise _unreachable(_text(done.stderr), access)
    try:
        return collector.read(_text(done.stdout), commands, marker=marker)
    except ParseError as error:
        raise UnreachableError(str(error)) from error


def run_everywhere(
    commands: Mapping[str, Mapping[str, str]],
    access: Mapping[str, SshAccess],
    *,
    seconds: float = COMMAND_SECONDS,
    took: dict[str, float] | None = None,
) -> dict[str, dict[str, Output] | UnreachableError]:
    """Run a script on each node (node -> name -> shell text), all nodes in parallel. A failure is the node's own.

    ``took`` is told when each node's answer was there, in seconds after all were asked.
    """
    started = time.monotonic()

    def ask(node: str) -> dict[str, Output] | UnreachableError:
        try:
            return run(access[node], commands[node], seconds=seconds)
        except UnreachableError as error:
            return error
        finally:
            if took is not None:
                took[node] = time.monotonic() - started

    if not commands:
        return {}
    with ThreadPoolExecutor(max_workers=len(commands)) as pool:
        return dict(zip(commands, pool.map(ask, commands), strict=True))


def _text(printed: bytes) -> str:
    """A comment or a file may be of any bytes."""
    return printed.decode(errors="backslashreplace")


def _unreachable(said: str, access: SshAccess) -> UnreachableError:
    """ssh's last words, or what they mean."""
    if openssh.CHANGED in said:
        return UnreachableError(openssh.explanation(access), advice="")
    return UnreachableError(said.strip().splitlines()[-1] if said.strip() else "ssh ended without a word")
