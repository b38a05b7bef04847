"""The lab's nodes: systemd-nspawn system containers with their own network stack, init, SSH server and identity."""

import os
import signal
import subprocess
import uuid
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from kubeproof.console import say, step
from kubeproof.errors import CommandError, UserError
from lab import archive, host, process, rootfs, shell, ssh
from lab.paths import LOG_FILE, NODES, REPOSITORY, RUN, SSH_CONFIG
from lab.settings import LabNode, LabSettings
from lab.wait import wait_until

PACKAGES = ("systemd-container",)

BOOT_SECONDS = 60
STOP_SECONDS = 60

SYSTEM_CALLS = "add_key keyctl bpf perf_event_open @mount @privileged @raw-io @reboot @swap"
"""System calls beyond nspawn's default set that systemd, Docker and the kubelet make inside a node."""


@dataclass(frozen=True)
class NodeStatus:
    """What `lab.status` shows of a node."""

    name: str
    address: str
    state: str
    memory_mib: int
    disk_mib: int


def up(lab: LabSettings) -> int:
    """Make and start every node of the lab; return how many had to be made or started."""
    base = rootfs.ensure()
    missing = [node for node in lab.nodes if not (_folder(node.name) / "root").exists()]
    if missing:
        with step(f"root filesystems of {', '.join(node.name for node in missing)}"), ThreadPoolExecutor() as pool:
            ssh.ensure_key()
            list(pool.map(lambda node: _create(lab, node, base), missing))
    changed = _write_ssh_config(lab)
    stopped = [node for node in lab.nodes if not is_running(node.name)]
    if stopped:
        with step(f"starting {', '.join(node.name for node in stopped)}"):
            _start(lab, stopped)
    return len(missing) + len(stopped) + (1 if changed and not missing else 0)


def down(lab: LabSettings) -> int:
    """Stop and delete every node there is, also those that the settings no longer name."""
    names = existing()
    if not names:
        return 0
    with step(f"removing {', '.join(names)}"):
        with ThreadPoolExecutor() as pool:
            list(pool.map(_stop, names))
        for name in names:
            shell.run(["rm", "-rf", "--one-file-system", _folder(name)])
    return len(names)


def start(lab: LabSettings, name: str) -> int:
    """Start one node and wait until it answers by SSH; 0 if it was running."""
    node = _known(lab, name)
    if is_running(name):
        return 0
    with step(f"starting {name}"):
        _start(lab, [node])
    return 1


def stop(lab: LabSettings, name: str) -> int:
    """Shut one node down in an orderly way; 0 if it was stopped."""
    _known(lab, name)
    if not is_running(name):
        return 0
    with step(f"stopping {name}"):
        _stop(name)
    return 1


def reboot(lab: LabSettings, name: str) -> int:
    """Stop a node and start it again."""
    stop(lab, name)
    return start(lab, name)


def stop_all(lab: LabSettings) -> int:
    """Shut every running node down, keeping its files."""
    running = [name for name in existing() if is_running(name)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(_stop, running))
    return len(running)


def existing() -> list[str]:
    """Names of the nodes that have files on this machine."""
    return sorted(folder.name for folder in NODES.iterdir()) if NODES.exists() else []


def is_running(name: str) -> bool:
    """Whether the node's container is running."""
    return _pid(name) is not None


def status(lab: LabSettings) -> list[NodeStatus]:
    """State, resident memory and disk of each node."""
    return [_status(node) for node in lab.nodes]


def init_pid(name: str) -> int:
    """The node's PID 1 as this machine numbers it; raises UserError if the node is not running."""
    supervisor = _pid(name)
    nspawn = _child(supervisor) if supervisor else None
    init = _child(nspawn) if nspawn else None
    if init is None:
        raise UserError(f"{name}: not running; `./inv lab.start {name}` starts it")
    return init


def _child(pid: int) -> int | None:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


def _known(lab: LabSettings, name: str) -> LabNode:
    node = lab.node(name)
    if not (_folder(name) / "root").exists():
        raise UserError(f"{name}: does not exist yet; `./inv lab.up` makes it")
    return node


def _folder(name: str) -> Path:
    return NODES / name


def _create(lab: LabSettings, node: LabNode, base: Path) -> None:
    making = _folder(node.name) / "making"
    shell.run(["rm", "-rf", "--one-file-system", making])
    making.parent.mkdir(parents=True, exist_ok=True)
    making.parent.chmod(0o700)
    shell.run(["cp", "--archive", "--reflink=auto", base, making])
    for file, text in _identity(lab, node).items():
        target = making / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
    authorized = making / "root/.ssh/authorized_keys"
    authorized.parent.mkdir(mode=0o700, exist_ok=True)
    authorized.write_text(ssh.ensure_key())
    authorized.chmod(0o600)
    ssh.ensure_host_key(making, node.name)
    making.rename(_folder(node.name) / "root")


def _identity(lab: LabSettings, node: LabNode) -> dict[str, str]:
    """Files that make a copy of the root filesystem this node and no other."""
    return {
        "etc/hostname": f"{node.name}\n",
        "etc/machine-id": f"{uuid.uuid4().hex}\n",
        "etc/hosts": f"127.0.0.1 localhost\n{node.address} {node.name}\n",
        # No resolver: the lab has none, and names of nodes come from /etc/hosts.
        "etc/resolv.conf": "",
        "etc/apt/sources.list": "".join(f"{line}\n" for line in _apt_sources(lab)),
        # The default route exists because flanneld takes the interface that has it; the gateway forwards nothing.
        "etc/network/interfaces": (
            "auto lo\niface lo inet loopback\n\n"
            "auto host0\niface host0 inet static\n"
            f"    address {node.address}/{lab.node_network.prefixlen}\n"
            f"    gateway {lab.gateway}\n"
        ),
    }


def _apt_sources(lab: LabSettings) -> Iterable[str]:
    """The machine's Debian suites through the lab's caching proxy, under the last part of their path."""
    for source in archive.sources():
        yield archive.Source(f"{lab.apt_url}/{source.uri.rsplit('/', 1)[-1]}", source.suite).line()


def _write_ssh_config(lab: LabSettings) -> bool:
    ssh.ensure_key()
    keys = {node.name: ssh.ensure_host_key(_folder(node.name) / "root", node.name) for node in lab.nodes}
    return ssh.write_config(lab.nodes, keys)


def _start(lab: LabSettings, nodes: list[LabNode]) -> None:
    for node in nodes:
        _launch(lab, node.name)
    with ThreadPoolExecutor() as pool:
        list(pool.map(_wait_for_ssh, nodes))


def _launch(lab: LabSettings, name: str) -> None:
    console = LOG_FILE.parent / f"{name}.log"
    console.parent.mkdir(parents=True, exist_ok=True)
    with console.open("ab") as output:
        container = subprocess.Popen(
            _launcher(name) + _nspawn(lab, name),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # A node outlives the command that started it.
            start_new_session=True,
            env={**os.environ, "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "1"},
        )
    process.remember(_pid_file(name), container.pid)


def _launcher(name: str) -> list[str]:
    launcher = [str(REPOSITORY / "lab" / "launch-node"), name]
    if host.cgroup_layout() is host.CgroupLayout.V2_SYSTEMD:
        # systemd owns the one cgroup v2 tree: it gives the node a delegated scope of its own.
        scope = [
            "systemd-run",
            "--scope",
            "--quiet",
            "--collect",
            f"--unit=kubeproof-{name}",
            "--property=Delegate=yes",
        ]
        return scope + launcher
    return launcher


def _nspawn(lab: LabSettings, name: str) -> list[str]:
    return [
        "systemd-nspawn",
        "--quiet",
        f"--machine={name}",
        f"--directory={_folder(name) / 'root'}",
        "--boot",
        "--register=no",
        "--keep-unit",
        f"--network-bridge={lab.bridge}",
        "--capability=all",
        f"--system-call-filter={SYSTEM_CALLS}",
        # With the machine's resolver every failed look-up inside kubeadm would cost minutes.
        "--resolv-conf=off",
        "--timezone=off",
        "--link-journal=no",
        "--console=pipe",
        # The kubelet watches the kernel log for out-of-memory kills and does not start without it.
        "--bind-ro=/dev/kmsg",
    ]


def _wait_for_ssh(node: LabNode) -> None:
    def answers() -> bool:
        if not is_running(node.name):
            raise CommandError(f"{node.name}: ended while it started; see {LOG_FILE.parent / node.name}.log")
        return shell.succeeds(
            ["ssh", "-F", SSH_CONFIG, "-o", "ConnectTimeout=2", "-o", "BatchMode=yes", node.name, "true"]
        )

    wait_until(answers, seconds=BOOT_SECONDS, what=f"{node.name} to answer by SSH at {node.address}")


def _stop(name: str) -> None:
    pid = _pid(name)
    if pid is None:
        return
    os.kill(pid, signal.SIGTERM)
    try:
        wait_until(lambda: _pid(name) is None, seconds=STOP_SECONDS, what=f"{name} to shut down")
    except CommandError:
        say(f"[yellow]{name}: no orderly shutdown within {STOP_SECONDS}s; killed[/yellow]")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: _pid(name) is None, seconds=STOP_SECONDS, what=f"{name} to die")
    _remove_control_groups(name)
    _pid_file(name).unlink(missing_ok=True)


def _remove_control_groups(name: str) -> None:
    """Empty groups of the node, deepest first; those of processes that still end are left to the next start."""
    for hierarchy in host.CGROUP_V1_CONTROLLERS:
        group = host.CGROUP_ROOT / hierarchy / "kubeproof" / name
        if group.is_dir():
            for folder, _, _ in os.walk(group, topdown=False):
                Path(folder).rmdir()


def _pid_file(name: str) -> Path:
    return RUN / f"{name}.json"


def _pid(name: str) -> int | None:
    """The pid of the process that runs the node (lab/launch-node), or None."""
    return process.alive(_pid_file(name))


def _status(node: LabNode) -> NodeStatus:
    root = _folder(node.name) / "root"
    state = "running" if is_running(node.name) else ("stopped" if root.exists() else "not made")
    disk = int(shell.run(["du", "-sm", root]).split()[0]) if root.exists() else 0
    return NodeStatus(node.name, str(node.address), state, _memory_mib(node.name), disk)


def _memory_mib(name: str) -> int:
    """Anonymous and shared memory of all processes of the node, without page cache (cgroup v1's memory.stat)."""
    stat = host.CGROUP_ROOT / "memory" / "kubeproof" / name / "memory.stat"
    if not stat.exists():
        return 0
    fields = dict(line.split() for line in stat.read_text().splitlines())
    return (
        (int(fields["total_rss"]) + int(fields["total_shmem"])) // 2**20
        if "total_shmem" in fields
        else (int(fields["total_rss"]) // 2**20)
    )
