"""A worker that is a virtual machine: its own kernel, cgroup v2, AppArmor and a user with sudo, in the same cluster.

Runs only with KUBEPROOF_LAB_VM_WORKERS set: `KUBEPROOF_LAB_VM_WORKERS=1 ./inv test --only vm`.
"""

import subprocess
from pathlib import Path

import pytest

from kubeproof.config.cluster import LoadedInventory
from lab import nodes, settings
from lab.settings import LabNode
from tests.lab.commands import changes, succeed


@pytest.fixture
def worker(inventory: LoadedInventory) -> LabNode:
    return next(node for node in settings.load().nodes if node.vm)


def run(inventory: LoadedInventory, worker: LabNode, command: str) -> str:
    """What a command writes on the virtual machine, run by its user."""
    words = [*inventory.ssh[worker.name].command(), command]
    return subprocess.run(words, capture_output=True, text=True, check=True, timeout=120).stdout.strip()


def test_it_is_a_machine_of_its_own(inventory: LoadedInventory, worker: LabNode) -> None:
    assert run(inventory, worker, "uname -r") != Path("/proc/sys/kernel/osrelease").read_text().strip()
    assert run(inventory, worker, "whoami; sudo whoami").split() == ["admin", "root"]
    assert run(inventory, worker, "stat --file-system --format=%T /sys/fs/cgroup") == "cgroup2fs"
    assert run(inventory, worker, "cat /sys/module/apparmor/parameters/enabled") == "Y"


def test_its_pods_are_systemds_and_apparmor_confines_them(inventory: LoadedInventory, worker: LabNode) -> None:
    assert run(inventory, worker, "systemctl is-active kubepods.slice") == "active"
    assert "docker-default" in run(inventory, worker, "sudo cat /sys/kernel/security/apparmor/profiles")
    assert not run(inventory, worker, "sudo journalctl --dmesg --grep 'apparmor=.DENIED' --output=cat --quiet || true")


def test_it_is_proven() -> None:
    succeed("verify")


def test_a_repeated_deploy_changes_nothing() -> None:
    assert changes(succeed("apply")) == 0


def test_it_comes_back_from_a_reboot(worker: LabNode) -> None:
    succeed("lab.reboot", worker.name)
    assert nodes.is_running(worker.name)
    succeed("verify")
