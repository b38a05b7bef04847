"""One node as a process on this machine: a systemd-nspawn container, started, found again and stopped."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from kubeproof.terminal.console import say
from kubeproof.terminal.errors import CommandError, UserError
from lab import host, logs, node_files, process, shell
from lab.paths import LOG_FILE, NODES, REPOSITORY, RUN
from lab.settings import LabSettings
from lab.systems import DEFAULT
from lab.wait import wait_until

STOP_SECONDS = 60
KILL_SECONDS = 15

SYSTEM_CALLS = "add_key keyctl bpf perf_event_open @mount @privileged @raw-io @reboot @swap"
"""System calls beyond nspawn's default set that systemd, Docker and the kubelet make inside a node."""


def launch(lab: LabSettings, name: str) -> None:
    """Start a node; it outlives the command that started it."""
    with logs.appending(console_log(name)) as output, process.uninterrupted():
        started = subprocess.Popen(
            [str(REPOSITORY / "lab" / "launch-node"), name, *_scope(name), *nspawn(lab, name)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            # From the root, so that no folder of the caller's stays in use.
            cwd="/",
            env={**os.environ, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1"},
        )
        process.remember(pid_file(name), started.pid)


def is_running(name: str) -> bool:
    return _launcher(name) is not None


def init_pid(name: str) -> int:
    """The node's PID 1 as this machine numbers it; raises UserError if the node is not running."""
    launcher = _launcher(name)
    nspawn_pid = _child(launcher) if launcher else None
    init = _child(nspawn_pid) if nspawn_pid else None
    if init is None:
        raise UserError(f"{name}: not running; `./inv lab.start {name}` starts it")
    return init


def stop(name: str) -> None:
    """Shut a node down in an orderly way, or kill it if it does not end; raises CommandError if even that fails."""
    launcher = _launcher(name)
    if launcher is None:
        return
    os.kill(launcher, signal.SIGTERM)
    try:
        wait_until(lambda: not is_running(name), seconds=STOP_SECONDS, what=f"{name} to shut down")
    except CommandError:
        say(f"[yellow]{name}: no orderly shutdown within {STOP_SECONDS}s; killed[/yellow]")
    kill(name)


def kill(name: str) -> None:
    """End a node at once, as a power cut does, and forget it; raises CommandError if even that fails."""
    launcher = _launcher(name)
    if launcher is not None:
        _kill(name, launcher)
    _remove_control_groups(name)
    pid_file(name).unlink(missing_ok=True)


def console_log(name: str) -> Path:
    """What the node's container says while it starts and ends."""
    return LOG_FILE.parent / f"{name}.log"


def memory_mib(name: str) -> int | None:
    """Resident memory of all processes of the node without page cache, or None where that is not accounted."""
    stat = host.CGROUP_ROOT / "memory" / "kubeproof" / name / "memory.stat"
    if not stat.exists():
        return None
    fields = dict(line.split() for line in stat.read_text().splitlines())
    return int(fields["total_rss"]) // 2**20


def nspawn(lab: LabSettings, name: str) -> list[str]:
    return [
        *_nspawn(name, NODES / name / "root"),
        *node_files.mounts(name),
        "--boot",
        f"--network-bridge={lab.bridge}",
        # The kubelet watches the kernel log for out-of-memory kills and does not start without it.
        "--bind-ro=/dev/kmsg",
        *_words_for_init(lab, name),
    ]


def _words_for_init(lab: LabSettings, name: str) -> list[str]:
    """What systemd takes for the kernel's command line: from 256 on it refuses cgroup v1 otherwise (its NEWS)."""
    if host.cgroup_layout() is not host.CgroupLayout.V1 or lab.node(name).system is DEFAULT:
        return []
    return ["systemd.unified_cgroup_hierarchy=0", "SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1"]


def run_program(root: Path, program: Path, words: Sequence[str]) -> None:
    """Run one program of this machine in a container of a root filesystem, on the machine's network, until it ends.

    Raises CommandError if it fails.
    """
    inside = f"/run/{program.name}"
    nspawn = [*_nspawn("kubeproof", root), "--as-pid2", f"--bind-ro={program}:{inside}"]
    shell.run([*_scope("kubeproof"), *nspawn, inside, *words])


def _nspawn(name: str, root: Path) -> list[str]:
    """The command and its options for any container of the lab."""
    return [
        "systemd-nspawn",
        "--quiet",
        f"--machine={name}",
        f"--directory={root}",
        "--register=no",
        "--keep-unit",
        "--capability=all",
        f"--system-call-filter={SYSTEM_CALLS}",
        # With the machine's resolver every failed look-up inside kubeadm would cost minutes.
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--console=pipe",
    ]


def _scope(name: str) -> list[str]:
    """systemd owns the one cgroup v2 tree: it gives nspawn, and nothing else, a delegated scope of its own."""
    if host.cgroup_layout() is not host.CgroupLayout.V2_SYSTEMD:
        return []
    return ["systemd-run", "--scope", "--quiet", "--collect", "--property=Delegate=yes", f"--description=node {name}"]


def _kill(name: str, launcher: int) -> None:
    init, link = None, ""
    with contextlib.suppress(UserError, ProcessLookupError, FileNotFoundError):
        init = init_pid(name)
        link = _host_link(init)
        # The kernel ends all processes of a container with its init, which is gone when all of them are.
        os.kill(init, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(launcher, signal.SIGKILL)
    what = f"{name} to end after SIGKILL"
    wait_until(
        lambda: not is_running(name) and not (init and Path(f"/proc/{init}").exists()), seconds=KILL_SECONDS, what=what
    )
    if link:
        # Connections that nobody answers any more keep the network of the dead, and its link, for minutes.
        shell.run(["ip", "link", "delete", link], check=False)


def _host_link(init: int) -> str:
    """Name of the link on this machine whose other end is a node's host0."""
    index = Path(f"/proc/{init}/root/sys/class/net/host0/iflink").read_text()
    links = Path("/sys/class/net").glob("*/ifindex")
    return next((file.parent.name for file in links if file.read_text() == index), "")


def _launcher(name: str) -> int | None:
    return process.alive(pid_file(name))


def pid_file(name: str) -> Path:
    """What remembers the node's process."""
    return RUN / f"{name}.json"


def _child(pid: int) -> int | None:
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return None
    return int(children[0]) if children else None


def _remove_control_groups(name: str) -> None:
    """Empty groups of the node, deepest first; what is still in use is left to the next start."""
    for group in host.CGROUP_ROOT.glob(f"*/kubeproof/{name}"):
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
