"""The lab's nodes, containers or virtual machines: each with its own network stack, init, SSH server and identity."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kubeproof.terminal.console import step
from kubeproof.terminal.errors import CommandError, UserError
from lab import container, kernel_settings, node_files, prepared, rootfs, shell, ssh, vm, vm_image
from lab.container import init_pid as init_pid
from lab.container import is_running as is_running
from lab.node_files import existing as existing
from lab.paths import NODES, SSH_CONFIG
from lab.settings import LabNode, LabSettings
from lab.systems import NodeSystem
from lab.wait import wait_until

BOOT_SECONDS = 180
CONNECT_SECONDS = 2
SSH_SECONDS = 20
"""One of the tries to reach a node."""


@dataclass(frozen=True)
class NodeStatus:
    """What `lab.status` shows of a node; sizes in MiB, None where they are not known."""

    name: str
    address: str
    state: str
    memory_mib: int | None
    disk_mib: int | None


class Driver(Protocol):
    """What runs a node: lab/container.py, or lab/vm.py."""

    def launch(self, lab: LabSettings, name: str) -> None: ...
    def stop(self, name: str) -> None: ...
    def kill(self, name: str) -> None: ...
    def memory_mib(self, name: str) -> int | None: ...


def _driver(name: str) -> Driver:
    """By what the node is, also if the settings have changed since."""
    return vm if node_files.is_vm(name) else container


def check(lab: LabSettings) -> list[str]:
    """Nodes that are there and do not fit the settings; one line each."""
    return node_files.problems(lab)


def up(lab: LabSettings) -> int:
    """Make and start every node of the lab, remove those that the settings no longer name, wait until all answer.

    Returns how many had to be made, started or removed.
    """
    removed = _remove(node_files.surplus(lab))
    missing = [node for node in lab.nodes if not node_files.exists(node.name)]
    if missing:
        bases = {system: _base(lab, system) for system in dict.fromkeys(node.system for node in missing if not node.vm)}
        images = {system: vm_image.ensure(lab, system) for system in {node.system for node in missing if node.vm}}
        ssh.ensure_key()

        def create(node: LabNode) -> None:
            if node.vm:
                vm.create(lab, node, images[node.system])
            else:
                node_files.create(lab, node, bases[node.system])

        with step(f"root filesystems of {_names(missing)}"), ThreadPoolExecutor() as pool:
            list(pool.map(create, missing))
    return removed + len(missing) + start_all(lab)


def _base(lab: LabSettings, system: NodeSystem) -> Path:
    return prepared.ensure(lab, system) if lab.hosts == "prepared" else rootfs.ensure(system)


def down() -> int:
    """Delete every node there is, also those that the settings no longer name."""
    return _remove(existing()) + kernel_settings.restore()


def start_all(lab: LabSettings) -> int:
    """Start every node that does not run, wait until all answer by SSH, and return how much was to be done."""
    ssh.ensure_key()
    keys = {node.name: ssh.ensure_host_key(node_files.root_of(node.name), node.name) for node in lab.nodes}
    changes = int(ssh.write_config(lab.nodes, keys))
    stopped = [node for node in lab.nodes if not is_running(node.name)]
    with step(f"starting {_names(stopped)}") if stopped else nullcontext():
        _launch(lab, stopped)
        # Those that were running may have been left half booted by an interrupted command.
        _wait_for_ssh(lab.nodes)
    return changes + len(stopped)


def stop_all() -> int:
    """Shut every node down in an orderly way, all at once; return how many ran."""
    running = [name for name in existing() if is_running(name)]
    if running:
        with step(f"stopping {', '.join(running)}"), ThreadPoolExecutor() as pool:
            list(pool.map(lambda name: _driver(name).stop(name), running))
    return len(running)


def kill_all() -> None:
    """End every node at once: for those whose files are to be deleted or replaced."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: _driver(name).kill(name), existing()))


def start(lab: LabSettings, name: str) -> int:
    """Start one node and wait until it answers by SSH; 0 if it was running."""
    node = _known(lab, name)
    if is_running(name):
        return 0
    with step(f"starting {name}"):
        _launch(lab, [node])
        _wait_for_ssh([node])
    return 1


def stop(lab: LabSettings, name: str) -> int:
    """Shut one node down in an orderly way; 0 if it was stopped."""
    _known(lab, name)
    if not is_running(name):
        return 0
    with step(f"stopping {name}"):
        _driver(name).stop(name)
    return 1


def reboot(lab: LabSettings, name: str) -> int:
    stop(lab, name)
    return start(lab, name)


def status(lab: LabSettings) -> list[NodeStatus]:
    return [_status(node) for node in lab.nodes]


def _remove(names: list[str]) -> int:
    if names:
        with step(f"removing {', '.join(names)}"), ThreadPoolExecutor() as pool:
            list(pool.map(_delete, names))
    return len(names)


def _delete(name: str) -> None:
    """Without a shutdown, since nothing of it is kept."""
    _driver(name).kill(name)
    shell.run(["rm", "-rf", "--one-file-system", NODES / name])


def _names(nodes: Iterable[LabNode]) -> str:
    return ", ".join(node.name for node in nodes)


def _known(lab: LabSettings, name: str) -> LabNode:
    node = lab.node(name)
    if not node_files.exists(name):
        raise UserError(f"{name}: does not exist yet; `./inv lab.up` makes it")
    return node


def _launch(lab: LabSettings, nodes: Iterable[LabNode]) -> None:
    if problems := node_files.unfinished():
        raise UserError(problems)
    kernel_settings.remember()
    for node in nodes:
        _driver(node.name).launch(lab, node.name)


def _wait_for_ssh(nodes: Iterable[LabNode]) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(_wait_for_one, nodes))


def _wait_for_one(node: LabNode) -> None:
    connect, seconds = (vm.CONNECT_SECONDS, vm.BOOT_SECONDS) if node.vm else (CONNECT_SECONDS, BOOT_SECONDS)
    options = ["-o", f"ConnectTimeout={connect}", "-o", "BatchMode=yes"]
    command = ["ssh", "-F", str(SSH_CONFIG), *options, node.name, "true"]
    log = container.console_log(node.name)

    def answers() -> bool:
        if not is_running(node.name):
            raise CommandError(f"{node.name}: ended while it started; see {log}")
        return shell.succeeds(command, SSH_SECONDS)

    wait_until(answers, seconds=seconds, what=f"{node.name} to answer by SSH at {node.address}; see {log}")


def _status(node: LabNode) -> NodeStatus:
    made = node_files.exists(node.name)
    state = "running" if is_running(node.name) else ("stopped" if made else "not made")
    size = shell.run(["du", "-sm", NODES / node.name], check=False).split() if made else []
    disk = int(size[0]) if size else None
    return NodeStatus(node.name, str(node.address), state, _driver(node.name).memory_mib(node.name), disk)
