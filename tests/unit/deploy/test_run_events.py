"""What is said while a run is quiet, and what is not announced."""

import json
import logging
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from kubeproof.deploy import run_report
from kubeproof.deploy.run_events import QUIET_SECONDS, Listener, tell

NODES = [SimpleNamespace(name=f"n{number}", connector=SimpleNamespace()) for number in (1, 2, 3)]


class Ops(dict[str, list[str]]):
    """pyinfra's: operations by host, not by its name."""

    def __getitem__(self, host: Any) -> list[str]:
        return super().__getitem__(host.name)


def state(*, without: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(
        initialised=True,
        inventory=NODES,
        active_hosts=NODES,
        get_op_meta=lambda op: SimpleNamespace(names={op}),
        ops=Ops({node.name: [] if node.name in without else ["Install"] for node in NODES}),
    )


@pytest.fixture(autouse=True)
def _clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubeproof.deploy.run_events.time.monotonic", lambda: 100.0)


def begun(run: Any) -> Listener:
    listener = Listener(run)
    listener.operation_start(run, "Install")
    for node in NODES:
        listener.operation_host_start(run, node, "Install")  # type: ignore[arg-type]
    return listener


def line(text: str, level: int = logging.INFO) -> logging.LogRecord:
    return logging.LogRecord("pyinfra", level, "", 0, text, None, None)


def test_an_operation_is_named_with_its_hosts_and_since_when(monkeypatch: pytest.MonkeyPatch) -> None:
    listener = begun(state(without=("n3",)))
    listener.operation_host_success(state(), NODES[0], "Install")  # type: ignore[arg-type]
    assert listener.waiting(100 + QUIET_SECONDS - 1) == []
    assert listener.waiting(100 + QUIET_SECONDS) == ["still running for 15 s on n2: Install"]
    monkeypatch.setattr("kubeproof.deploy.run_events.time.monotonic", lambda: 100.0 + QUIET_SECONDS)
    listener.emit(line("--> still running for 15 s on n2: Install"))
    assert listener.waiting(100 + QUIET_SECONDS + 1) == []
    assert listener.waiting(100 + 2 * QUIET_SECONDS) == ["still running for 30 s on n2: Install"]


def test_nothing_is_said_of_what_has_ended() -> None:
    listener = begun(state())
    for node in NODES:
        listener.operation_host_error(state(), node, "Install")  # type: ignore[arg-type]
    assert listener.waiting(200) == []


def test_while_a_plan_is_made_commands_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    commands = {"n1": [("cat /etc/hosts", 105.0), ("id", 119.0)], "n2": [("cat /etc/hosts", 110.0)], "n3": []}
    monkeypatch.setattr("kubeproof.access.deadlines.running", lambda host: commands[host.name])
    assert Listener(state()).waiting(120) == [
        "still running for 15 s on n1, n2: cat /etc/hosts",
        "still running for 1 s on n1: id",
    ]


def test_what_no_host_is_left_for_is_not_announced() -> None:
    announcement, error = line("--> Starting operation: Install"), line("[n1] gone", logging.ERROR)
    assert begun(state()).filter(announcement)
    listener = begun(state(without=("n1", "n2", "n3")))
    assert not listener.filter(announcement)
    assert listener.filter(error)


def test_people_are_told_what_is_not_as_it_should_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = tmp_path / "events"
    monkeypatch.setenv(run_report.FILE, str(events))
    listener = Listener(state())
    trace = 'Traceback (most recent call last):\n  File "x.py", line 1\nValueError: boo\n'
    for text in (
        "",
        "--> Loading config...",
        "--> Starting operation: Swap",
        "[a] No changes",
        "\x1b[32m[b] Success\x1b[0m",
        trace,
    ):
        listener.emit(line(text))
    said = [json.loads(event)["text"] for event in events.read_text().splitlines()]
    assert said == ["--> Starting operation: Swap", "[b] Success", "ValueError: boo"]


def test_a_parent_that_is_gone_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    monkeypatch.setenv(run_report.FILE, f"/dev/fd/{writing}")
    tell("said", text="to nobody")
    os.close(writing)
