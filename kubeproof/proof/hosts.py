"""Running a script on nodes, through testinfra, one round trip for each, all nodes at once."""

import secrets
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import testinfra
from testinfra.host import Host

from kubeproof.access import host_keys
from kubeproof.config.cluster import SshAccess
from kubeproof.config.patience import patient, patiently
from kubeproof.state import collector
from kubeproof.state.collector import Output
from kubeproof.state.errors import ParseError

CONNECT_SECONDS = 5
COMMAND_SECONDS = 8
"""Longest time of one command of a script; none that reads state needs a tenth of it."""
KEEPALIVE = "-o BatchMode=yes -o ServerAliveInterval=2"
"""With three of them at most a node that falls silent after the connection is given up after six seconds."""


class UnreachableError(Exception):
    """A node that could not be asked; says why in one line. ``advice`` is what to do if that does not say it."""

    def __init__(self, reason: str, advice: str = "start the node, or take it out of the inventory") -> None:
        super().__init__(reason)
        self.advice = advice


def connect(access: SshAccess) -> Host:
    """A testinfra host for a node, with the SSH settings of its inventory. Does not connect yet."""
    name = f"{access.user}@{access.hostname}" if access.user else access.hostname
    name = f"{name}:{access.port}" if access.port else name
    return testinfra.get_host(
        f"ssh://{name}",
        ssh_config=str(access.config_file) if access.config_file else None,
        ssh_identity_file=str(access.key) if access.key else None,
        sudo=access.sudo,
        timeout=patient(CONNECT_SECONDS),
        controlpersist=0,
        ssh_extra_args=f"{KEEPALIVE} -o ServerAliveCountMax={patient(3)}",
    )


def run(access: SshAccess, commands: Mapping[str, str], *, seconds: float = COMMAND_SECONDS) -> dict[str, Output]:
    """Run all commands (name -> shell text) on a node at once, each at most ``seconds``. Raises UnreachableError."""
    marker = secrets.token_hex(8)
    text = patiently(collector.build(commands, marker=marker, timeout=patient(seconds)))
    try:
        done = connect(access).run(text)
        # A comment or a file may be of any bytes; testinfra's own decoding fails as a whole for one that is no UTF-8.
        return collector.read(_text(done.stdout_bytes), commands, marker=marker)
    except RuntimeError as error:
        raise _unreachable(error, access) from error
    except ParseError as error:
        raise UnreachableError(str(error)) from error


def run_everywhere(
    commands: Mapping[str, Mapping[str, str]], access: Mapping[str, SshAccess], *, seconds: float = COMMAND_SECONDS
) -> dict[str, dict[str, Output] | UnreachableError]:
    """Run a script on each node (node -> name -> shell text), all nodes in parallel. A failure is the node's own."""

    def ask(node: str) -> dict[str, Output] | UnreachableError:
        try:
            return run(access[node], commands[node], seconds=seconds)
        except UnreachableError as error:
            return error

    if not commands:
        return {}
    with ThreadPoolExecutor(max_workers=len(commands)) as pool:
        return dict(zip(commands, pool.map(ask, commands), strict=True))


def _text(printed: bytes) -> str:
    return printed.decode(errors="backslashreplace")


def _unreachable(error: RuntimeError, access: SshAccess) -> UnreachableError:
    """ssh's last words, or what they mean; testinfra raises with the whole result of the command."""
    result = error.args[0] if error.args else error
    said = _text(getattr(result, "stderr_bytes", str(result).encode())).strip()
    if host_keys.CHANGED in said:
        return UnreachableError(host_keys.explanation(access), advice="")
    return UnreachableError(said.splitlines()[-1] if said else "ssh ended without a word")
