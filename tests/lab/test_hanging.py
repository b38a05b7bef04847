"""What hangs on one node, or in the mirror, is ended, named, and tried again: nobody has to find and kill it."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.mirror import daemons, server
from lab.paths import REPOSITORY
from lab.settings import load
from lab.wait import wait_until
from tests.lab.breaking import console
from tests.lab.changed_inventory import changed
from tests.lab.commands import Outcome, holds, inv, succeed
from tests.lab.remote import ssh

IMPATIENT = {"SCALE": 0.05, "KILL_SECONDS": 2, "GRACE_SECONDS": 3}
"""Of kubeproof.access.deadlines. Nine seconds for a command, thirty for package lists with their lock."""
GIVEN_UP_SECONDS = 120
STARTED = re.compile(r"still running for \d+ s on ([^:]+): (.+)")

pytestmark = pytest.mark.usefixtures("running_lab")


@contextmanager
def hanging(name: str, program: str, *, once: bool) -> Iterator[None]:
    """Have a program hang on a node, always or the first time only."""
    path = f"/usr/local/sbin/{program}"
    flag = f'[ ! -e /run/hung ] || exec $(which -a {program} | sed 1d | head -n 1) "$@"\n' if once else ""
    text = f"#!/bin/sh\n{flag}touch /run/hung\necho 'so far'\nsleep 7272\n"
    ssh(name, f"rm -f /run/hung; cat > {path}; chmod 755 {path}", stdin=text)
    try:
        yield
    finally:
        ssh(name, f"rm -f {path} /run/hung")


def impatient(folder: Path) -> str:
    """The lab's inventory, which pyinfra runs in its own process, and there with little patience."""
    inventory = changed(folder)
    with inventory.open("a") as file:
        file.write(f'vars(__import__("importlib").import_module("kubeproof.access.deadlines")).update({IMPATIENT})\n')
    return str(inventory)


def apply(folder: Path) -> Outcome:
    return inv("apply", "-i", impatient(folder), timeout=300)


def test_a_command_that_hangs_on_one_node_is_ended_and_named(tmp_path: Path) -> None:
    first, *_, last = load().nodes
    with hanging(last.name, "ip", once=False):
        outcome = apply(tmp_path)
        assert outcome.code == 1
        assert "hung, and was ended after 9 s" in outcome.output
        assert last.name in outcome.output
        assert "Traceback" not in outcome.output
        # The node's own users of that program may hang as well: only what the deploy ran is its business.
        assert ssh(last.name, "pgrep -f '^timeout --kill-after' || true") == ""
    assert f"[{first.name}] " in outcome.output
    succeed("verify")


def test_what_hangs_once_is_asked_again(tmp_path: Path) -> None:
    name = load().nodes[-1].name
    with hanging(name, "sysctl", once=True):
        outcome = apply(tmp_path)
        assert ssh(name, "ls /run/hung") == "/run/hung"
    assert outcome.code == 0, outcome.output[-3000:]


def test_packages_are_installed_when_the_mirror_goes_on_after_it_stood_still(tmp_path: Path) -> None:
    name = load().nodes[-1].name
    pid = daemons.running_pid(server.daemon(load()))
    ssh(name, "apt-get -y -q purge tcpdump 2>&1")
    log = tmp_path / "log"
    words = [str(REPOSITORY / "inv"), "apply", "-i", impatient(tmp_path)]
    os.kill(pid, signal.SIGSTOP)
    try:
        with log.open("w") as out, subprocess.Popen(words, cwd=REPOSITORY, stdout=out, stderr=out) as process:
            try:
                wait_until(lambda: _again(log, process), seconds=240, what="the installation to be tried again")
            finally:
                os.kill(pid, signal.SIGCONT)
            assert process.wait(240) == 0, log.read_text()[-3000:]
    finally:
        os.kill(pid, signal.SIGCONT)
    text = " ".join(log.read_text().split())
    told = STARTED.search(text)
    assert told, text
    assert told[1] == name
    assert told[2].startswith("Packages | Install")
    assert "hung, and was ended after 30 s" in text or "Could not connect" in text or "Connection timed out" in text
    assert ssh(name, "dpkg-query -W -f '${db:Status-Status}' tcpdump") == "installed"
    assert holds(succeed("verify"))


def test_a_node_whose_ssh_server_stands_still_is_given_up(tmp_path: Path) -> None:
    """The kernel goes on to answer for it, so that no connection breaks. What only asks is tried twice."""
    name = load().nodes[-1].name
    console(name, "pkill -STOP -x sshd")
    try:
        started = time.monotonic()
        outcome = apply(tmp_path)
        took = time.monotonic() - started
    finally:
        console(name, "pkill -CONT -x sshd")
    assert outcome.code == 1
    assert name in outcome.output
    assert "Traceback" not in outcome.output
    assert took < GIVEN_UP_SECONDS
    wait_until(lambda: inv("verify").code == 0, seconds=120, what="the node to answer again")


def _again(log: Path, process: "subprocess.Popen[bytes]") -> bool:
    return "Retrying" in log.read_text() or process.poll() is not None
