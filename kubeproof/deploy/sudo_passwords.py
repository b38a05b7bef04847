"""Passwords of sudo in a run of pyinfra: asked for once, and given as `kubeproof.access.sudo` does.

pyinfra has them in command lines and environments of the hosts, and asks for each host by itself.
"""

import contextlib
import os
from collections.abc import Iterable, Sequence
from typing import Any

import gevent
from paramiko import SSHException
from pyinfra.api.command import StringCommand
from pyinfra.api.host import Host
from pyinfra.connectors import util
from pyinfra.connectors.util import CommandOutput, make_unix_command

from kubeproof.access import sudo
from kubeproof.deploy.run_events import tell
from kubeproof.deploy.run_report import ANSWERS, ASKED

LONGEST_BYTES = 4096
_ATTRIBUTE = "kubeproof_sudo"


def hold(host: Host) -> None:
    """Have sudo given the host's password, once `settle` has found it; before `deadlines.hold`."""
    connector: Any = host.connector
    util.getpass = lambda *_words, **_options: ""  # what it is asked for a second time has failed
    if not hasattr(connector, _ATTRIBUTE):
        held = _ByStdin(connector.run_shell_command)
        setattr(connector, _ATTRIBUTE, held)
        connector.run_shell_command = held.run_shell_command


def settle(hosts: Iterable[Host]) -> None:
    """Find out the passwords of hosts, each host once. Raises UserError with a line for each that has none."""
    by_name = {host.name: host for host in sorted(hosts, key=lambda host: host.name) if host.data.get("_sudo")}
    for host in by_name.values():
        hold(host)
    new = {name: _password(host) for name, host in by_name.items() if not _held(host).is_settled}
    found = sudo.passwords(new, lambda name, password: _try(by_name[name], password), _ask)
    for name in new:
        _held(by_name[name]).is_settled = True
        _held(by_name[name]).password = found.get(name, "")


def _held(host: Host) -> "_ByStdin":
    held: _ByStdin = getattr(host.connector, _ATTRIBUTE)
    return held


def _password(host: Host) -> str:
    """What the inventory says, or what pyinfra itself has asked for (--same-sudo-password)."""
    return str(host.data.get("_sudo_password") or host.state.config.SUDO_PASSWORD or "")


def _try(host: Host, password: str) -> str:
    given: dict[str, Any] = {"_timeout": sudo.TRY_SECONDS, **({"_stdin": password} if password else {})}
    with contextlib.suppress(OSError, SSHException):
        _, output = host.run_shell_command(sudo.probe(password), print_output=False, print_input=False, **given)
        return output.stdout
    return ""


def _ask(names: Sequence[str]) -> str:
    """In a thread of its own, so that connections are kept alive meanwhile."""
    password: str = gevent.get_hub().threadpool.apply(_answer, (names,))
    return password


def _answer(names: Sequence[str]) -> str:
    if not (descriptor := os.environ.get(ANSWERS)):
        return sudo.typed(names)
    tell(ASKED, hosts=list(names))
    return os.read(int(descriptor), LONGEST_BYTES).decode().rstrip("\n")


class _ByStdin:
    """Stands before a connector."""

    def __init__(self, run: Any) -> None:
        self.password = ""
        self.is_settled = False
        self._run = run

    def run_shell_command(self, command: Any, **arguments: Any) -> tuple[bool, CommandOutput]:
        if self.password and arguments.get("_sudo"):
            command, arguments = _given(self.password, command, arguments)
        arguments.pop("_sudo_password", None)
        done: tuple[bool, CommandOutput] = self._run(command, **arguments)
        return done


def _given(password: str, command: Any, arguments: dict[str, Any]) -> tuple[StringCommand, dict[str, Any]]:
    """The command and its arguments as sudo is given its password: sudo is put where pyinfra has the shell."""
    others = {name: value for name, value in arguments.items() if "sudo" not in name}
    of_sudo = {name: arguments[name] for name in arguments.keys() - others.keys() - {"_sudo_password"}}
    text = make_unix_command(StringCommand(), _shell_executable=None, **of_sudo).get_raw_value()
    shell = f"{text.replace(' -n', f' {sudo.BY_STDIN}', 1).strip()} {arguments.get('_shell_executable') or 'sh'}"
    given = [*sudo.given_as_input(password).splitlines(), *_lines(arguments.get("_stdin"))]
    return StringCommand(sudo.DRAIN, ";", command), {**others, "_shell_executable": shell, "_stdin": given}


def _lines(given: Any) -> Sequence[str]:
    """What pyinfra takes as input: text, lines, or a file."""
    lines = given.readlines() if hasattr(given, "readlines") else given or []
    return lines if isinstance(lines, list | tuple) else [lines]
