"""`./inv lab.down` takes the lab off the machine, and its addresses stay out of the uplink's reach."""

import subprocess

from lab import nodes
from lab.network import guarded, is_up
from lab.paths import STATE
from lab.settings import load
from tests.lab.commands import changes, inv, succeed


def test_down_leaves_nothing_running() -> None:
    succeed("lab.down")
    assert nodes.existing() == []
    assert not is_up(load())
    assert not STATE.exists()
    processes = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert "systemd-nspawn" not in processes
    # The mirror's daemons are told where their configuration is.
    assert str(STATE) not in processes


def test_nothing_addressed_to_the_lab_can_leave() -> None:
    for network in guarded(load()):
        done = subprocess.run(["ip", "route", "get", str(network[10])], capture_output=True, text=True, check=False)
        assert done.returncode != 0
        assert "no route to host" in done.stderr.lower()


def test_commands_say_that_the_lab_is_down() -> None:
    for command in ("apply", "verify", "plan"):
        outcome = inv(command)
        assert outcome.code == 2, command
        assert "./inv lab.up" in outcome.output or "./inv up" in outcome.output
        assert "Traceback" not in outcome.output


def test_down_again_has_nothing_to_do() -> None:
    assert changes(succeed("lab.down")) == 0
