"""A worker that is a virtual machine with Debian 13: its own kernel, cgroup v2, AppArmor and a user with sudo.

On a machine without KVM it is emulated, which takes minutes where containers take seconds: each test asks much at once.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.settings import LabNode, load
from tests.lab.commands import changes, holds, inv, succeed
from tests.lab.remote import kubectl, ssh

VM_WORKERS, SYSTEM = "KUBEPROOF_LAB_VM_WORKERS", "KUBEPROOF_LAB_SYSTEM"


@pytest.fixture(scope="module", autouse=True)
def lab_with_vm() -> Iterator[None]:
    """A lab of its own; in the end there is none."""
    succeed("lab.down")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(SYSTEM, " ".join([*["debian-12"] * (len(load().nodes) - 1), "debian-13"]))
        patch.setenv(VM_WORKERS, "1")
        patch.setenv("KUBEPROOF_LAB_CONTAINER_RUNTIME", "containerd")
        yield
        succeed("lab.down")


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
    assert "docker-default" in ssh(worker.name, "sudo cat /sys/kernel/security/apparmor/profiles")


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
