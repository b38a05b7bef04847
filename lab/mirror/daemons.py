"""Long-running programs of the mirror: started in a session of their own, found again by pid file and command line."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

from kubeproof.errors import CommandError, UserError
from lab import paths, shell
from lab.wait import wait_until

PACKAGES = ("iproute2",)
"""Debian packages that this module needs on the lab's machine."""

START_SECONDS = 20.0
STOP_SECONDS = 10.0


@dataclass(frozen=True)
class Daemon:
    """One program that serves a TCP port on the lab gateway.

    ``user`` is the system user that Debian's package makes for it; ``config`` maps files below the mirror's state to
    their text: a change restarts the program. ``writable`` are the folders it keeps data in, which ``user`` gets.
    """

    name: str
    command: tuple[str, ...]
    user: str
    address: IPv4Address
    port: int
    config: Mapping[Path, str]
    writable: tuple[Path, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def pid_file(self) -> Path:
        return paths.RUN / f"{self.name}.pid"

    @property
    def log(self) -> Path:
        return paths.LOG_FILE.parent / f"{self.name}.log"


def start(daemon: Daemon) -> int:
    """Start it unless it runs with this configuration; returns 1 if it was started, else 0.

    Raises CommandError, naming its log, if its port does not answer within START_SECONDS.
    """
    changed = _write_config(daemon)
    if running_pid(daemon) and not changed:
        return 0
    stop(daemon)
    _prepare_folders(daemon)
    process = _spawn(daemon)
    daemon.pid_file.parent.mkdir(parents=True, exist_ok=True)
    daemon.pid_file.write_text(f"{process.pid}\n")
    _wait_for_port(daemon, process)
    return 1


def stop(daemon: Daemon) -> int:
    """End it if it runs; returns 1 if it did, else 0."""
    pid = running_pid(daemon)
    if pid:
        os.kill(pid, signal.SIGTERM)
        try:
            _wait_for_end(daemon)
        except CommandError:
            os.kill(pid, signal.SIGKILL)
            _wait_for_end(daemon)
    daemon.pid_file.unlink(missing_ok=True)
    return int(bool(pid))


def running_pid(daemon: Daemon) -> int:
    """Its process id, or 0. The command line is compared too: after a reboot the number may be another program's."""
    try:
        pid = int(daemon.pid_file.read_text())
        _reap(pid)
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    except (OSError, ValueError):
        return 0
    return pid if [word.decode(errors="replace") for word in words] == list(daemon.command) else 0


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


def _write_config(daemon: Daemon) -> bool:
    changed = False
    for path, text in daemon.config.items():
        if not path.is_file() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o640)  # It may hold the password of a proxy.
            path.write_text(text)
            changed = True
        os.chown(path, 0, _account(daemon).pw_gid)
        path.chmod(0o640)
    return changed


def _prepare_folders(daemon: Daemon) -> None:
    account = _account(daemon)
    for folder in daemon.writable:
        folder.mkdir(parents=True, exist_ok=True)
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
    daemon.log.parent.mkdir(parents=True, exist_ok=True)
    with daemon.log.open("ab") as log:
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


def _wait_for_port(daemon: Daemon, process: "subprocess.Popen[bytes]") -> None:
    wait_until(
        lambda: process.poll() is not None or _answers(daemon),
        seconds=START_SECONDS,
        what=f"{daemon.name} to answer on {daemon.address}:{daemon.port}; see {daemon.log}",
    )
    if process.poll() is not None:
        daemon.pid_file.unlink(missing_ok=True)
        raise CommandError(
            f"{daemon.name}: ended at once, exit code {process.returncode}: {_last_line(daemon.log)}; see {daemon.log}"
        )


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


def _reap(pid: int) -> None:
    """Collect it if it was a child of this process: a zombie keeps its number, but no command line."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return
