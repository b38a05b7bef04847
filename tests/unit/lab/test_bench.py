"""What `./inv bench` does around its two sides: rounds that fail, the table, and the cluster that is left."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest

from kubeproof.terminal.console import console
from kubeproof.terminal.errors import CommandError, UserError
from lab import bench
from lab.settings import LabSettings, load
from tests.scale import hosts


@dataclass
class Sides:
    """Stand for both sides and the reset; each fails in the calls that are told, which count from 1."""

    fails: dict[str, tuple[int, ...]]
    interrupted: str = ""
    done: list[str] = field(default_factory=list)

    def act(self, name: str) -> Callable[..., bench.Objects]:
        def run(*_: object) -> bench.Objects:
            self.done.append(name)
            if name == self.interrupted:
                raise KeyboardInterrupt
            if self.done.count(name) in self.fails.get(name, ()):
                raise CommandError(f"{name}.py: failed on k8s-node1 [x]")
            return bench.Objects("", "")

        return run


@pytest.fixture
def lab() -> LabSettings:
    return load()


def run(
    monkeypatch: pytest.MonkeyPatch, lab: LabSettings, rounds: int, sides: Sides | None = None
) -> tuple[int, Sides, str]:
    sides = sides or Sides({})
    monkeypatch.setattr("kubeproof.config.cluster.load", lambda _: SimpleNamespace())
    for name in ("deploy", "bare", "reset", "objects"):
        monkeypatch.setattr(bench, f"_{name}", sides.act(name))
    with console.capture() as captured:
        code = bench.run(lab, rounds)
    return code, sides, captured.get()


def test_both_sides_in_turns_each_after_a_reset(monkeypatch: pytest.MonkeyPatch, lab: LabSettings) -> None:
    code, sides, output = run(monkeypatch, lab, 2)
    assert code == 0
    assert sides.done == ["deploy", "objects", *["reset", "bare", "reset", "deploy"] * 2]
    assert [line.split()[0] for line in output.splitlines()[-4:]] == ["side", "bare", "deploy", "ratio"]
    assert "failed" not in output


@pytest.mark.parametrize(
    ("fails", "failed"),
    [
        ({"bare": (1,)}, "bare commands over ssh, round 1: failed: bare.py: failed on k8s-node1 [x]"),
        ({"deploy": (2,)}, "deploy (pyinfra), round 1: failed: deploy.py: failed on k8s-node1 [x]"),
        ({"reset": (1,)}, "bare commands over ssh, round 1: failed: reset.py: failed on k8s-node1 [x]"),
    ],
)
def test_after_a_failure_the_next_round_goes_on(
    fails: dict[str, tuple[int, ...]], failed: str, monkeypatch: pytest.MonkeyPatch, lab: LabSettings
) -> None:
    code, sides, output = run(monkeypatch, lab, 2, Sides(fails))
    assert code == 1
    assert sides.done[-4:] == ["reset", "bare", "reset", "deploy"]
    assert output.splitlines()[-1] == failed
    ratio = next(line.split() for line in output.splitlines() if line.startswith("ratio"))
    assert ratio[1] == "failed"
    assert float(ratio[2]) > 0


def test_a_cluster_is_left_though_the_last_side_failed(monkeypatch: pytest.MonkeyPatch, lab: LabSettings) -> None:
    code, sides, output = run(monkeypatch, lab, 1, Sides({"deploy": (2,)}))
    assert code == 1
    assert sides.done[-2:] == ["reset", "deploy"]
    assert sides.done.count("deploy") == 3
    assert "ratio                    failed" in output


def test_interrupted_it_says_how_to_get_a_cluster_again(monkeypatch: pytest.MonkeyPatch, lab: LabSettings) -> None:
    said: list[str] = []
    monkeypatch.setattr(bench, "say", said.append)
    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch, lab, 1, Sides({}, interrupted="bare"))
    assert "./inv reset --keep-hosts" in said[-1]


@pytest.mark.parametrize("written", ["0", "-1", "x", "100", "1.5", "²"])
def test_rounds_that_are_no_number_of_rounds(written: str) -> None:
    with pytest.raises(UserError) as refused:
        bench.rounds_of(written)
    assert list(refused.value.problems) == [f"--rounds: is {written!r}, give a number from 1 to 99"]


def test_rounds() -> None:
    assert bench.rounds_of("2") == 2


@pytest.mark.parametrize("option", ["--hosts", "--agent"])
@pytest.mark.parametrize("written", ["0", "x", "10,", "4001", "10 100", "-1"])
def test_hosts_that_are_no_numbers_of_hosts(written: str, option: str) -> None:
    with pytest.raises(UserError) as refused:
        bench.sizes_of(option, written)
    assert list(refused.value.problems) == [f"{option}: is {written!r}, give numbers from 1 to 4000, e.g. 10,100,1000"]


def test_an_agent_needs_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "is_root", lambda: True)
    assert bench.nodes_of("100,500") == [100, 500]
    with pytest.raises(UserError, match="at least 2"):
        bench.nodes_of("100,1")
    monkeypatch.setattr(bench, "is_root", lambda: False)
    with pytest.raises(UserError, match="run it as root"):
        bench.nodes_of("100")


def test_hosts_that_do_not_exist_are_planned_deployed_and_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    hosts.main(bench.sizes_of("--hosts", "2"))
    _, line, _, title, *shares = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r" +2( +[0-9.]+ s +[0-9]+ MiB){4}", line)
    assert title == "Whose a plan of 2 hosts is:"
    owned = {name: int(share.rstrip("%")) for share, name in (line.split(maxsplit=1) for line in shares)}
    assert owned["pyinfra"] > 0
    assert owned["this project"] > 0
