"""A worker that is a virtual machine: its own kernel, cgroup v2, AppArmor and a user with sudo, in the same cluster.

Runs only with KUBEPROOF_LAB_VM_WORKERS set: `KUBEPROOF_LAB_VM_WORKERS=1 ./inv test --only vm`. On a machine without KVM
it is emulated, which takes minutes where containers take seconds: each test asks much at once.
"""

from pathlib import Path

import pytest

from lab.settings import LabNode, load
from tests.lab.commands import changes, holds, inv, succeed
from tests.lab.remote import kubectl, ssh


@pytest.fixture
def worker() -> LabNode:
    return next(node for node in load().nodes if node.vm)


def test_up_ends_with_a_proven_cluster() -> None:
    output = succeed("up")
    assert holds(output), output[-2000:]


def test_it_is_a_machine_of_its_own(worker: LabNode) -> None:
    asked = (
        "uname -r; whoami; sudo whoami; stat --file-system --format=%T /sys/fs/cgroup; "
        "cat /sys/module/apparmor/parameters/enabled; systemctl is-active kubepods.slice; "
        "sudo journalctl --dmesg --grep 'apparmor=.DENIED' --output=cat --quiet || true"
    )
    kernel, *found = ssh(worker.name, asked).splitlines()
    assert kernel != Path("/proc/sys/kernel/osrelease").read_text().strip()
    assert found == ["admin", "root", "cgroup2fs", "Y", "active"]
    profile = "docker-default" if load().container_runtime == "docker" else "cri-containerd.apparmor.d"
    assert profile in ssh(worker.name, "sudo cat /sys/kernel/security/apparmor/profiles")


def test_policies_are_in_force_on_it() -> None:
    """One of the suite's cases: all pairs of nine pods, which are spread over all nodes."""
    assert "0 wrong" in succeed("matrix", "--only", "deny-ingress")


def test_a_repeated_deploy_changes_nothing() -> None:
    assert changes(succeed("apply")) == 0


def test_after_a_reboot_all_is_as_before(worker: LabNode) -> None:
    before = ssh(worker.name, "cat /proc/sys/kernel/random/boot_id")
    succeed("lab.reboot", worker.name)
    assert ssh(worker.name, "cat /proc/sys/kernel/random/boot_id") != before
    assert kubectl(f"wait --for=condition=Ready node/{worker.name} --timeout=300s")
    assert inv("verify").code == 0


def test_reset_leaves_nothing(worker: LabNode) -> None:
    succeed("reset")
    left = "ls -d /etc/kubernetes /var/lib/kubelet /etc/cni/net.d/* 2>/dev/null; ip -br link; sudo iptables-save"
    found = ssh(worker.name, left)
    assert not [word for word in ("kube", "cni", "flannel", "podnet") if word in found.lower()], found
