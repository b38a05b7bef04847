"""Daemons with a stand-in program: started once, found again, started anew for another configuration, stopped."""

import getpass
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from kubeproof.terminal.errors import CommandError
from lab import paths, process
from lab.mirror import daemons
from lab.mirror.daemons import Daemon

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a daemon runs as a user of its own")

SERVER = "import socket, sys; s = socket.create_server(('127.0.0.1', int(sys.argv[1])))\nwhile True: s.accept()"
DEAF = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + SERVER


@pytest.fixture
def daemon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Daemon]:
    monkeypatch.setattr(paths, "RUN", tmp_path / "run")
    monkeypatch.setattr(paths, "LOG_FILE", tmp_path / "log" / "lab.log")
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    made = Daemon(
        name="stand-in",
        command=(sys.executable, "-c", SERVER, str(port)),
        user=getpass.getuser(),
        address=IPv4Address("127.0.0.1"),
        port=port,
        config=lambda: {tmp_path / "state" / "config": "one"},
        writable=(tmp_path / "data",),
    )
    yield made
    daemons.stop(made)


def test_it_is_started_once_and_stopped_once(daemon: Daemon) -> None:
    assert daemons.start(daemon) == 1
    pid = daemons.running_pid(daemon)
    assert daemons.start(daemon) == 0
    assert daemons.running_pid(daemon) == pid != 0
    assert daemons.stop(daemon) == 1
    assert daemons.stop(daemon) == 0
    assert not any(file.is_file() for file in paths.RUN.rglob("*"))


def test_another_configuration_starts_it_anew(daemon: Daemon, tmp_path: Path) -> None:
    daemons.start(daemon)
    pid = daemons.running_pid(daemon)
    assert daemons.start(replace(daemon, config=lambda: {tmp_path / "state" / "config": "two"})) == 1
    assert daemons.running_pid(daemon) != pid
    assert (tmp_path / "state" / "config").read_text() == "two"


def test_a_configuration_that_was_written_but_never_read_counts_as_another(daemon: Daemon, tmp_path: Path) -> None:
    daemons.start(daemon)
    (tmp_path / "state" / "config").write_text("two")
    assert daemons.start(replace(daemon, config=lambda: {tmp_path / "state" / "config": "two"})) == 1


def test_ctrl_c_at_its_start_leaves_no_daemon_that_nobody_knows(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember: Callable[[Path, int], None] = process.remember

    def interrupted(file: Path, pid: int) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        remember(file, pid)

    monkeypatch.setattr(process, "remember", interrupted)
    with pytest.raises(KeyboardInterrupt):
        daemons.start(daemon)
    assert daemons.running_pid(daemon)
    assert daemons.start(daemon) == 0


def test_one_that_heeds_no_signal_is_killed(daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemons, "STOP_SECONDS", 0.3)
    deaf = replace(daemon, command=(sys.executable, "-c", DEAF, str(daemon.port)))
    daemons.start(deaf)
    assert daemons.stop(deaf) == 1
    assert not daemons.running_pid(deaf)


def test_one_that_ends_at_once_is_reported_with_its_last_line(daemon: Daemon) -> None:
    with pytest.raises(CommandError, match="ended at once: no such luck"):
        daemons.start(replace(daemon, command=(sys.executable, "-c", "import sys; sys.exit('no such luck')")))
    assert daemons.stop(daemon) == 0


def test_nobody_else_reads_its_log_and_data(daemon: Daemon, tmp_path: Path) -> None:
    daemons.start(daemon)
    assert daemon.log.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "state" / "config").stat().st_mode & 0o777 == 0o640
