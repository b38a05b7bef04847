"""Commands on hosts end in time: real commands on this machine, through pyinfra's own shell text."""

import subprocess
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import gevent
import pytest
from pyinfra.api.command import StringCommand
from pyinfra.connectors.util import CommandOutput, make_unix_command, run_local_process

from kubeproof.access import deadlines
from kubeproof.config import patience


class Connector:
    """Runs commands here as pyinfra's connectors do, and keeps their text."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.is_stuck = False

    def run_shell_command(
        self, command: str, print_output: bool = False, **arguments: Any
    ) -> tuple[bool, CommandOutput]:
        del print_output
        text = make_unix_command(StringCommand(command), **arguments).get_raw_value()
        self.ran.append(text)
        if self.is_stuck:
            gevent.sleep(3600)
        code, output = run_local_process(text)
        return code == 0, output

    def put_file(self, *_words: object) -> bool:
        gevent.sleep(3600)
        return True


def held(*, executing: bool = True) -> Any:
    connector = Connector()
    host: Any = SimpleNamespace(name="n1", connector=connector, state=SimpleNamespace(is_executing=executing))
    host.get_fact = lambda command: host.connector.run_shell_command(command, _timeout=1)
    deadlines.hold(host)
    return host


def test_what_hangs_is_ended_with_all_that_it_started_and_told_with_what_it_wrote() -> None:
    host = held()
    marker = "31.4159"
    started = time.monotonic()
    done, output = host.connector.run_shell_command(f"echo so far; sleep {marker} & sleep {marker}; wait", _timeout=1)
    assert time.monotonic() - started < 5
    assert not done
    assert output.stdout == "so far"
    assert "hung, and was ended after 1 s: echo so far; sleep" in output.stderr
    assert subprocess.run(["pgrep", "-f", f"^sleep {marker}"], check=False).returncode == 1


def test_what_ignores_its_end_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "KILL_SECONDS", 1)
    done, output = held().connector.run_shell_command("trap '' TERM; sleep 30 & wait; sleep 31", _timeout=1)
    assert (done, "hung" in output.stderr) == (False, True)


@pytest.mark.parametrize(("command", "done"), [("echo x; exit 3", False), ("echo x", True)])
def test_what_ends_in_time_is_as_it_was(command: str, done: bool) -> None:
    host = held()
    assert host.connector.run_shell_command(command, _timeout=20) == (
        done,
        host.connector.run_shell_command(command)[1],
    )
    assert deadlines.running(host) == []


def test_time_is_given_with_patience_and_where_the_rights_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_factor", 2.5)
    host = held()
    host.connector.run_shell_command("true", _timeout=10)
    host.connector.run_shell_command("true")
    assert [text.split()[:3] for text in host.connector.ran] == [
        ["timeout", "--kill-after=10", seconds] for seconds in ("25", "450")
    ]
    assert make_unix_command(StringCommand("true"), _sudo=True, _shell_executable="timeout 5 sh").get_raw_value() == (
        "sudo -H -n timeout 5 sh -c true"
    )


def test_a_host_that_does_nothing_any_more_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "KILL_SECONDS", 0)
    monkeypatch.setattr(deadlines, "GRACE_SECONDS", 0.1)
    monkeypatch.setattr(deadlines, "COMMAND_SECONDS", 0.2)
    host = held()
    host.connector.is_stuck = True
    done, output = host.connector.run_shell_command("true", _timeout=0.2)
    assert (done, "hung" in output.stderr) == (False, True)
    with pytest.raises(ConnectionError, match="not taken within"):
        host.connector.put_file("a", "b")


def ask_while_planning(host: Any) -> None:
    host.connector.run_shell_command("sleep 30", _timeout=0.3)


def ask_for_a_fact(host: Any) -> None:
    host.get_fact("sleep 30")


@pytest.mark.parametrize(("executing", "ask"), [(False, ask_while_planning), (True, ask_for_a_fact)])
def test_what_only_asks_is_repeated_once_for_a_host(executing: bool, ask: Callable[[Any], None]) -> None:
    host = held(executing=executing)
    ask(host)
    assert len(host.connector.ran) == 2
    ask(host)
    assert len(host.connector.ran) == 3


def test_what_changes_something_is_not_repeated() -> None:
    host = held()
    host.get_fact("true")
    host.connector.run_shell_command("sleep 30", _timeout=0.3)
    assert len(host.connector.ran) == 2


def test_deadlines_are_put_once() -> None:
    host = held()
    before = host.connector.run_shell_command
    deadlines.hold(host)
    assert host.connector.run_shell_command is before
