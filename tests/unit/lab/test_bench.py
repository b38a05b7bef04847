"""What `./inv bench` does around its two sides: rounds, the table, and what is said when one fails."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from kubeproof.terminal.console import console
from kubeproof.terminal.errors import CommandError, UserError
from lab import bench
from lab.settings import LabSettings, load


@dataclass
class Sides:
    """Stand for both sides and the reset; what fails does so in its second call."""

    fails: str = ""
    error: type[BaseException] = CommandError
    done: list[str] = field(default_factory=list)

    def act(self, name: str) -> Callable[..., tuple[str, str]]:
        def run(*_: object) -> tuple[str, str]:
            self.done.append(name)
            if name == self.fails and self.done.count(name) == 2:
                raise self.error(f"{name}.py: failed on k8s-node1 [x]")
            return "", ""

        return run


@pytest.fixture
def lab() -> LabSettings:
    return load()


def run(
    monkeypatch: pytest.MonkeyPatch, lab: LabSettings, rounds: int, sides: Sides | None = None
) -> tuple[Sides, str]:
    sides = sides or Sides()
    monkeypatch.setattr("kubeproof.config.cluster.load", lambda _: SimpleNamespace())
    for name in ("deploy", "bare", "reset", "objects"):
        monkeypatch.setattr(bench, f"_{name}", sides.act(name))
    with console.capture() as captured:
        bench.run(lab, rounds)
    return sides, captured.get()


def test_both_sides_in_turns_each_after_a_reset(monkeypatch: pytest.MonkeyPatch, lab: LabSettings) -> None:
    sides, output = run(monkeypatch, lab, 2)
    assert sides.done == ["deploy", "objects", *["reset", "bare", "reset", "deploy"] * 2]
    assert [line.split()[0] for line in output.splitlines()[-4:]] == ["side", "bare", "deploy", "ratio"]


@pytest.mark.parametrize(
    ("fails", "error"), [("bare", CommandError), ("deploy", CommandError), ("reset", KeyboardInterrupt)]
)
def test_ended_on_the_way_it_says_how_to_get_a_cluster_again(
    fails: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch, lab: LabSettings
) -> None:
    said: list[str] = []
    monkeypatch.setattr(bench, "say", said.append)
    with pytest.raises(error, match="failed on k8s-node1"):
        run(monkeypatch, lab, 2, Sides(fails, error))
    assert "./inv reset --keep-hosts" in said[-1]


@pytest.mark.parametrize("written", ["0", "-1", "x", "100", "1.5", "²"])
def test_rounds_that_are_no_number_of_rounds(written: str) -> None:
    with pytest.raises(UserError) as refused:
        bench.rounds_of(written)
    assert list(refused.value.problems) == [f"--rounds: is {written!r}, give a number from 1 to 99"]


def test_rounds() -> None:
    assert bench.rounds_of("2") == 2
