"""What is said of an image that cannot be had, by the real shell text with a program for the runtime's."""

import subprocess

import pytest

from kubeproof.deploy.operations.runtime import fetch_command

PULL = "sh -c 'case $1 in *good*) echo $1; exit;; esac; echo trying >&2; echo manifest for $1 not found >&2; exit 1' sh"


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (["r:5000/good:1"], []),
        (["r:5000/bad:1", "r:5000/good:1"], ["cannot pull r:5000/bad:1: manifest for r:5000/bad:1 not found"]),
        (["a/bad", "b/bad"], [f"cannot pull {name}/bad: manifest for {name}/bad not found" for name in "ab"]),
    ],
)
def test_each_is_named_with_its_reason(images: list[str], said: list[str]) -> None:
    done = subprocess.run(["sh", "-c", fetch_command(images, PULL)], capture_output=True, text=True, check=False)
    assert sorted(done.stderr.splitlines()) == said
    assert bool(done.returncode) == bool(said)
    assert done.stdout == ""
