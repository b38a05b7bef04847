from types import SimpleNamespace
from typing import Any

import pytest
from paramiko import SSHException
from pyinfra.api.command import FunctionCommand
from pyinfra.connectors.util import CommandOutput, OutputLine

from kubeproof.access.deadlines import COMMAND_SECONDS
from kubeproof.deploy.operations.remote import (
    NodeError,
    exclusively,
    on_host,
    read_only,
    run,
    try_run,
    wait_until,
    write_private,
)


class FakeHost:
    """Answers every command alike and keeps what it was asked."""

    def __init__(self, done: bool = True, stdout: str = "", stderr: str = "", sudo: bool = False) -> None:
        self.answer = (done, [("stdout", stdout), ("stderr", stderr)])
        self.data = {"_sudo": sudo}
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.logged: list[str] = []
        self.connector = SimpleNamespace(client=None)
        self.state = SimpleNamespace(is_executing=True)
        self.noops: list[str] = []
        self.breaks = False

    def noop(self, text: str) -> None:
        self.noops.append(text)

    def lose(self) -> None:
        """Have the connection gone."""
        transport = SimpleNamespace(is_active=lambda: False)
        self.connector.client = SimpleNamespace(get_transport=lambda: transport)

    def run_shell_command(self, command: str, **arguments: Any) -> tuple[bool, CommandOutput]:
        self.asked.append((command, arguments))
        if self.breaks:
            raise SSHException("SSH session not active")
        done, output = self.answer
        return done, CommandOutput([OutputLine(name, line) for name, text in output for line in text.splitlines()])

    def log_styled(self, text: str, **_: object) -> None:
        self.logged.append(text)


def host(**answer: Any) -> Any:
    return FakeHost(**answer)


class TestRun:
    def test_words_are_quoted_and_output_is_printed_nowhere(self) -> None:
        asked = host(stdout="a\nb", stderr="warning")
        assert run(asked, ["echo", "it's; $HOME"]) == "a\nb"
        command, arguments = asked.asked[0]
        assert command == """echo 'it'"'"'s; $HOME'"""
        assert arguments == {"print_output": False, "print_input": False, "_sudo": False, "_timeout": COMMAND_SECONDS}

    def test_sudo_is_taken_over_from_the_inventory(self) -> None:
        asked = host(sudo=True)
        run(asked, ["id"])
        assert asked.asked[0][1]["_sudo"] is True

    def test_failure_shows_the_end_of_what_was_written(self) -> None:
        noise = "\n".join(f"line {number}" for number in range(50))
        with pytest.raises(NodeError) as failed:
            run(
                host(done=False, stderr=f"{noise}\n[ERROR Swap]: running with swap on"),
                ["kubeadm", "init", "--config", "x"],
            )
        assert "kubeadm init --config failed" in str(failed.value)
        assert "[ERROR Swap]" in str(failed.value)
        assert "line 3\n" not in str(failed.value)

    def test_failure_as_an_answer(self) -> None:
        assert try_run(host(done=False, stderr="no"), ["false"]) == (False, "no")

    def test_a_lost_connection_is_told_as_such(self) -> None:
        asked = host(done=False)
        asked.lose()
        with pytest.raises(NodeError, match=r"connection was lost; .*run this again to go on"):
            run(asked, ["kubeadm", "join"])

    def test_what_cleans_up_survives_a_lost_connection(self) -> None:
        asked = host()
        asked.breaks = True
        assert try_run(asked, ["rm", "-f", "x"]) == (False, "connection lost: SSH session not active")

    def test_exclusive_commands_wait_for_each_other(self) -> None:
        assert exclusively(["true"]) == ["flock", "--wait", "300", "/run/kubeproof-node.lock", "true"]

    def test_secrets_travel_by_stdin(self) -> None:
        asked = host()
        write_private(asked, "/run/file", "secret")
        command, arguments = asked.asked[0]
        assert "secret" not in command
        assert arguments["_stdin"] == "secret"
        assert command.index("umask 077") < command.index("cat >")


class TestLooking:
    def test_what_is_found_wrong_fails_the_host(self) -> None:
        def fails(host: Any) -> None:
            raise NodeError("is not ready")

        asked = host()
        (command,) = read_only(asked, fails)
        assert isinstance(command, FunctionCommand)
        assert command.execute(asked.state, asked, {}) is False
        assert asked.logged == ["is not ready"]

    def test_it_is_no_change(self) -> None:
        seen: list[object] = []
        asked = host()
        assert list(read_only(asked, seen.append)) == []
        assert seen == [asked]
        assert asked.noops

    def test_a_plan_waits_for_nothing(self) -> None:
        seen: list[object] = []
        asked = host()
        asked.state.is_executing = False
        assert list(read_only(asked, seen.append)) == []
        assert seen == []


class TestOnHost:
    def test_node_error_fails_the_host_with_one_line(self) -> None:
        def fails(host: Any) -> None:
            raise NodeError("why, and what to do")

        asked = host()
        assert on_host(fails).function(None, asked) is False
        assert asked.logged == ["why, and what to do"]

    def test_lost_connection_is_no_traceback(self) -> None:
        def loses(host: Any) -> None:
            raise OSError("Socket is closed")

        asked = host()
        assert on_host(loses).function(None, asked) is False
        assert "Socket is closed" in asked.logged[0]

    def test_arguments_are_handed_over_and_not_shown(self) -> None:
        seen: list[object] = []

        def takes(host: Any, value: str) -> None:
            seen.append(value)

        command = on_host(takes, "secret")
        assert command.function(None, host()) is True
        assert seen == ["secret"]
        assert "secret" not in repr(command)


class TestWaitUntil:
    def test_ends_when_there_is_no_problem(self) -> None:
        problems = ["not yet", "nearly", ""]
        wait_until(host(), lambda: problems.pop(0), seconds=5, interval=0)
        assert problems == []

    def test_deadline_names_the_last_thing_seen(self) -> None:
        with pytest.raises(NodeError, match="gave up after 0 s: node1 is not Ready"):
            wait_until(host(), lambda: "node1 is not Ready", seconds=0.05, interval=0.01)
