"""Scripts of many commands, run by a real shell."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kubeproof.state import collector
from kubeproof.state.errors import ParseError

MARKER = "m4rk3r"
Builder = Callable[..., str]

pytestmark = pytest.mark.skipif(shutil.which("timeout") is None, reason="timeout(1) is not here")


def run(builder: Builder, commands: dict[str, str], timeout: float = 10) -> dict[str, collector.Output]:
    text = builder(commands, marker=MARKER, timeout=timeout)
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
    return collector.read(done.stdout, commands, marker=MARKER)


@pytest.mark.parametrize("builder", [collector.build, collector.build_inside])
def test_each_command_has_its_own_output_and_code(builder: Builder) -> None:
    commands = {
        "two-lines": "echo one; echo two",
        "fails": "echo so far; exit 3",
        "quotes": """printf '%s %%' "it's" """,
        "nothing": "true",
        "unknown": "no-such-program-here",
    }
    outputs = run(builder, commands)
    assert outputs.keys() == commands.keys()
    assert outputs["two-lines"].out.rstrip("\n") == "one\ntwo"
    assert (outputs["fails"].code, outputs["fails"].last_words) == (3, "so far")
    assert outputs["quotes"].out == "it's %"
    assert (outputs["nothing"].code, outputs["nothing"].last_words) == (0, "nothing was printed")
    assert outputs["unknown"].code == collector.NOT_FOUND


def test_standard_error_is_kept_apart() -> None:
    output = run(collector.build, {"both": "echo out; echo err >&2"})["both"]
    assert (output.out, output.err, output.last_words) == ("out\n", "err\n", "err")


@pytest.mark.parametrize("builder", [collector.build, collector.build_inside])
def test_a_command_that_does_not_end_is_ended_and_the_others_are_there(builder: Builder) -> None:
    outputs = run(builder, {"hangs": "sleep 30", "works": "echo here"}, timeout=0.2)
    assert outputs["hangs"].timed_out
    assert outputs["works"].out.strip() == "here"


@pytest.mark.parametrize("builder", [collector.build, collector.build_inside])
def test_the_commands_run_at_once(builder: Builder, tmp_path: Path) -> None:
    """Each waits for the other: one after the other, neither would end."""
    there, back = tmp_path / "there", tmp_path / "back"
    os.mkfifo(there)
    os.mkfifo(back)
    outputs = run(builder, {"first": f"cat {there}; echo 2 >{back}", "second": f"echo 1 >{there}; cat {back}"})
    assert [output.out.strip() for output in outputs.values()] == ["1", "2"]


def test_output_that_was_cut_off_is_refused() -> None:
    whole = subprocess.run(
        ["sh", "-c", collector.build({"a": "echo x"}, marker=MARKER, timeout=5)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    with pytest.raises(ParseError, match="the end mark is missing"):
        collector.read(whole[:-5], ("a",), marker=MARKER)
    with pytest.raises(ParseError, match="there is none of b"):
        collector.read(whole, ("a", "b"), marker=MARKER)


def test_an_output_without_an_end_hides_no_other() -> None:
    sections = "\n@@m out a\n1\n@@m err a\n\n@@m rc a \n@@m out b\n2\n@@m err b\n\n@@m rc b 0\n\n@@m end"
    assert collector.read(sections, marker="m") == {"b": collector.Output(0, "2", "")}


@pytest.mark.parametrize(("commands", "marker"), [({}, "a b"), ({"a b": "true"}, MARKER), ({"../a": "true"}, MARKER)])
def test_marker_and_names_are_one_word_each(commands: dict[str, str], marker: str) -> None:
    with pytest.raises(ValueError, match="one word"):
        collector.build(commands, marker=marker, timeout=1)
