"""What is said while nothing else is."""

from types import SimpleNamespace
from typing import Any

import pytest

from kubeproof.access import deadlines
from kubeproof.deploy import silence
from kubeproof.deploy.silence import QUIET_SECONDS, Watch

NODES = [SimpleNamespace(name=f"n{number}") for number in (1, 2, 3)]


def state(*, without: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(
        get_op_meta=lambda op: SimpleNamespace(names={op}),
        ops={node.name: [] if node.name in without else ["Install"] for node in NODES},
    )


class Ops(dict[str, list[str]]):
    """pyinfra's: operations by host, not by its name."""

    def __getitem__(self, host: Any) -> list[str]:
        return super().__getitem__(host.name)


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setattr("kubeproof.deploy.silence.time.monotonic", lambda: 100.0)
    monkeypatch.setattr(deadlines, "running", [])
    return Watch()


def begin(watch: Watch, run: Any) -> None:
    run.ops = Ops(run.ops)
    watch.operation_start(run, "Install")
    for node in NODES:
        watch.operation_host_start(run, node, "Install")  # type: ignore[arg-type]


def test_an_operation_is_named_with_its_hosts_and_since_when(watch: Watch) -> None:
    begin(watch, state(without=("n3",)))
    watch.operation_host_success(state(), NODES[0], "Install")  # type: ignore[arg-type]
    assert watch.lines(100 + QUIET_SECONDS - 1) == []
    assert watch.lines(100 + QUIET_SECONDS) == ["still running for 15 s on n2: Install"]
    assert watch.lines(100 + QUIET_SECONDS + 1) == []
    assert watch.lines(100 + 2 * QUIET_SECONDS) == ["still running for 30 s on n2: Install"]


def test_nothing_is_said_of_what_has_ended(watch: Watch) -> None:
    begin(watch, state())
    for node in NODES:
        watch.operation_host_error(state(), node, "Install")  # type: ignore[arg-type]
    assert watch.lines(200) == []


def test_while_a_plan_is_made_commands_are_named(watch: Watch) -> None:
    deadlines.running += [("n2", "cat /etc/hosts", 110.0), ("n1", "cat /etc/hosts", 105.0), ("n1", "id", 119.0)]
    assert watch.lines(120) == [
        "still running for 15 s on n1, n2: cat /etc/hosts",
        "still running for 1 s on n1: id",
    ]


def test_a_run_is_watched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    handlers: list[object] = []
    spawned: list[object] = []
    monkeypatch.setattr("kubeproof.deploy.silence.gevent.spawn", lambda *words: spawned.append(words))
    run: Any = SimpleNamespace(callback_handlers=handlers, add_callback_handler=handlers.append)
    silence.watch(run)
    silence.watch(run)
    assert (len(handlers), len(spawned)) == (1, 1)
