"""Long-running programs of the mirror: started in a session of their own, with their configuration, and stopped."""

import contextlib
import hashlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from kubeproof.terminal.errors import CommandError, UserError
from lab import logs, paths, process, shell
from lab.wait import wait_until

START_SECONDS = 20.0
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Daemon:
    """One program that serves a TCP port on the lab gateway.

    ``user`` is the system user that Debian's package makes for it; ``config`` gives files below the mirror's state with
    their text, and is asked only for a start, as it may raise UserError: a change of the text restarts the program.
    ``writable`` are the folders it keeps data in, which ``user`` gets.
    """

    name: str
    command: tuple[str, ...]
    user: str
    address: IPv4Address
    port: int
    config: Callable[[], Mapping[Path, str]]
    writable: tuple[Path, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def record(self) -> Path:
        """What :mod:`lab.process` remembers of it; not beside those of nodes, which may have any name."""
        return paths.RUN / "mirror" / f"{self.name}.json"

    @property
    def digest_file(self) -> Path:
        return self.record.with_suffix(".sha256")

    @property
    def log(self) -> Path:
        return paths.LOG_FILE.parent / f"{self.name}.log"


def start(daemon: Daemon) -> int:
    """Start it unless it runs with this configuration; returns 1 if it was started, else 0.

    Raises CommandError, naming its log, if its port does not answer within START_SECONDS; UserError where it cannot be
    configured.
    """
    config = daemon.config()
    digest = _digest(daemon, config)
    changed = not running_pid(daemon) or _started_with(daemon) != digest
    if changed:
        stop(daemon)
        _write_config(daemon, config)
        _prepare_folders(daemon)
        with process.uninterrupted():
            process.remember(daemon.record, _spawn(daemon).pid)
            daemon.digest_file.write_text(digest)
    # Also for one that an interrupted command has started.
    _wait_for_port(daemon)
    return int(changed)


def stop(daemon: Daemon) -> int:
    """End it if it runs; returns 1 if it did, else 0."""
    pid = running_pid(daemon)
    if pid:
        _signal(pid, signal.SIGTERM)
        try:
            _wait_for_end(daemon)
        except CommandError:
            _signal(pid, signal.SIGKILL)
            _wait_for_end(daemon)
    daemon.digest_file.unlink(missing_ok=True)
    daemon.record.unlink(missing_ok=True)
    return int(bool(pid))


def running_pid(daemon: Daemon) -> int:
    """Its process id, or 0."""
    return process.alive(daemon.record) or 0


def port_problem(daemon: Daemon) -> str:
    """One line about another program that holds the daemon's port, with what to do; empty if there is none."""
    if not shutil.which("ss"):  # Not installed yet, so nobody can tell.
        return ""
    listeners = shell.run(["ss", "--no-header", "--listening", "--tcp", "--numeric", "--processes"])
    holders = foreign_listeners(listeners, daemon.address, daemon.port, running_pid(daemon))
    if not holders:
        return ""
    return (
        f"port {daemon.port} on {daemon.address} is needed for the lab's {daemon.name}, but {holders[0]} uses it: "
        "stop that, or choose another port in lab/lab.toml"
    )


def foreign_listeners(ss_output: str, address: IPv4Address, port: int, own_pid: int) -> list[str]:
    """Who else listens where ``address:port`` would be, from the lines of ``ss -Hltnp``."""
    found = []
    for line in ss_output.splitlines():
        words = line.split(maxsplit=5)
        host, _, number = words[3].rpartition(":")
        local = host.partition("%")[0].strip("[]")
        process = words[5].strip() if len(words) > 5 else ""
        if number == str(port) and local in ("*", "0.0.0.0", "::", str(address)) and f"pid={own_pid}," not in process:  # noqa: S104
            found.append(process or "an unknown program")
    return found


def _digest(daemon: Daemon, config: Mapping[Path, str]) -> str:
    files = sorted((str(path), text) for path, text in config.items())
    return hashlib.sha256(repr((daemon.command, sorted(daemon.env.items()), files)).encode()).hexdigest()


def _started_with(daemon: Daemon) -> str:
    return daemon.digest_file.read_text() if daemon.digest_file.is_file() else ""


def _write_config(daemon: Daemon, config: Mapping[Path, str]) -> None:
    for path, text in config.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o640)  # It may hold the password of a proxy.
        path.chmod(0o640)
        os.chown(path, 0, _account(daemon).pw_gid)
        path.write_text(text)


def _prepare_folders(daemon: Daemon) -> None:
    account = _account(daemon)
    for folder in daemon.writable:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        os.chown(folder, account.pw_uid, account.pw_gid)


def _account(daemon: Daemon) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(daemon.user)
    except KeyError as error:
        raise UserError(
            f"user {daemon.user} is missing on this machine: reinstall Debian's package {daemon.name}"
        ) from error


def _spawn(daemon: Daemon) -> "subprocess.Popen[bytes]":
    account = _account(daemon)
    with logs.appending(daemon.log) as log:
        return subprocess.Popen(
            daemon.command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/nonexistent", **daemon.env},
            user=account.pw_uid,
            group=account.pw_gid,
            extra_groups=(),
            umask=0o022,
            start_new_session=True,
        )


def _wait_for_port(daemon: Daemon) -> None:
    wait_until(
        lambda: not running_pid(daemon) or _answers(daemon),
        seconds=START_SECONDS,
        what=f"{daemon.name} to answer on {daemon.address}:{daemon.port}; see {daemon.log}",
    )
    if not running_pid(daemon):
        raise CommandError(f"{daemon.name}: ended at once: {_last_line(daemon.log)}; see {daemon.log}")


def _wait_for_end(daemon: Daemon) -> None:
    wait_until(lambda: not running_pid(daemon), seconds=STOP_SECONDS, what=f"{daemon.name} to end")


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it wrote nothing"


def _answers(daemon: Daemon) -> bool:
    try:
        with socket.create_connection((str(daemon.address), daemon.port), timeout=1):
            return True
    except OSError:
        return False


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # It may end by itself just now.
        os.kill(pid, number)
