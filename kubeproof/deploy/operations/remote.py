"""Commands that run while operations execute: failures become one line and fail their host only."""

import shlex
from collections.abc import Callable, Generator, Iterable, Sequence
from typing import Any

import gevent
from paramiko import SSHException
from pyinfra import logger
from pyinfra.api.command import FunctionCommand, PyinfraCommand
from pyinfra.api.exceptions import ConnectError
from pyinfra.api.host import Host
from pyinfra.api.state import State

from kubeproof.access import connections
from kubeproof.access.deadlines import COMMAND_SECONDS
from kubeproof.config.patience import patient
from kubeproof.config.tables import paths

ERROR_LINES = 8
"""How much of what a failed command wrote is shown; kubeadm names all of its complaints within so many lines."""
LOCK_WAIT_SECONDS = 300


class NodeError(Exception):
    """What went wrong on one host and what to do about it, in one line if it can be."""


def on_host(function: Callable[..., None], *args: object) -> FunctionCommand:
    """A command that calls ``function(host, *args)`` when its operation executes.

    A NodeError fails the host with its text. (Any other exception would be printed by pyinfra with a traceback.)
    """

    def call(state: State, host: Host) -> bool:
        text = _error_of(function, host, *args)
        if text:
            host.log_styled(text, fg="red", log_func=logger.error)
        return not text

    call.__name__ = function.__name__
    return FunctionCommand(call, (), {})


def read_only(host: Host, function: Callable[..., None], *args: object) -> Generator[PyinfraCommand, None, None]:
    """Call ``function(host, *args)``, which only waits or looks: no change, so neither plan nor apply counts it.

    Its errors fail the host as those of :func:`on_host` do. Nothing is waited for while a plan is made.
    """
    text = _error_of(function, host, *args) if host.state.is_executing else ""
    if text:
        yield on_host(fail, text)
    else:
        host.noop("nothing is changed by looking")


def _error_of(function: Callable[..., None], host: Host, *args: object) -> str:
    """What went wrong, empty if nothing did."""
    try:
        function(host, *args)
    except NodeError as error:
        return str(error)
    except (ConnectError, OSError, SSHException) as error:
        return f"connection lost or refused: {error}"
    return ""


def fail(host: Host, text: str) -> None:
    """Fail this host when its operation executes: ``yield on_host(fail, "why")``."""
    raise NodeError(text)


def run(
    host: Host,
    command: Iterable[str],
    *,
    stdin: str | None = None,
    exclusive: bool = False,
    seconds: float = COMMAND_SECONDS,
) -> str:
    """Run a command (words, never a shell string) and return its standard output, which is printed nowhere.

    A secret belongs in ``stdin``. ``exclusive`` waits for other exclusive commands on the host, such as one that an
    interrupted deploy left running. Raises NodeError with the end of its output if it fails, or if it has not ended
    after ``seconds``.
    """
    words = list(command)
    done, output = try_run(host, words, stdin=stdin, exclusive=exclusive, seconds=seconds)
    if not done:
        raise failure(host, words, output)
    return output


def failure(host: Host, words: Sequence[str], output: str, more: Iterable[str] = ()) -> NodeError:
    """What to raise of a command that failed: the end of what it wrote, and ``more`` that is known of the reason."""
    _require_connection(host)
    lines = output.strip().splitlines()[-ERROR_LINES:] or ["it wrote nothing"]
    return NodeError("\n    ".join([f"{' '.join(words[:3])} failed:", *lines, *more]))


def _require_connection(host: Host) -> None:
    if connections.is_lost(host):
        raise NodeError("the connection was lost; when the host can be reached, run this again to go on")


def try_run(
    host: Host,
    command: Iterable[str],
    *,
    stdin: str | None = None,
    exclusive: bool = False,
    seconds: float = COMMAND_SECONDS,
) -> tuple[bool, str]:
    """Like :func:`run`, for a command whose failure is an answer: whether it succeeded, and its output."""
    words = exclusively(command) if exclusive else list(command)
    within = seconds + LOCK_WAIT_SECONDS if exclusive else seconds
    arguments: dict[str, Any] = {"_sudo": bool(host.data.get("_sudo", False)), "_timeout": within}
    if stdin is not None:
        arguments["_stdin"] = stdin
    try:
        done, output = host.run_shell_command(shlex.join(words), print_output=False, print_input=False, **arguments)
    except (OSError, SSHException) as error:
        # An answer too: what cleans up goes on with the other hosts.
        return False, f"connection lost: {error}"
    return done, output.stdout if done else output.output


def exclusively(command: Iterable[str]) -> list[str]:
    return ["flock", "--wait", str(patient(LOCK_WAIT_SECONDS)), paths.LOCK, *command]


def shell(script: str) -> list[str]:
    """A script with fixed text as a command of words, for what needs redirections; values do not belong in it."""
    return ["sh", "-ec", script]


def write_private(host: Host, path: str, content: str) -> None:
    """Write a file that only root can read at any moment, without its content appearing in a command line."""
    directory = path.rpartition("/")[0]
    run(
        host,
        ["sh", "-ec", 'umask 077; mkdir -p "$1"; cat > "$2.new"; mv "$2.new" "$2"', "sh", directory, path],
        stdin=content,
    )


def wait_until(host: Host, problem: Callable[[], str], seconds: float, interval: float = 1.0) -> None:
    """Ask until there is no problem any more. Raises NodeError with the last one when ``seconds`` have passed, and at
    once when the connection to the host that is asked is lost."""
    last = ""
    try:
        with gevent.Timeout(seconds):
            while last := problem():
                _require_connection(host)
                gevent.sleep(interval)
    except gevent.Timeout:
        raise NodeError(f"gave up after {seconds:.0f} s: {last}") from None
