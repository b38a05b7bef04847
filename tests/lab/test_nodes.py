"""Nodes can be stopped and started, and the cluster survives it. Reboots from outside are in test_faults."""

import re
import subprocess

import pytest

from lab import nodes, shell
from lab.paths import SSH_CONFIG
from lab.settings import load
from lab.wait import wait_until
from tests.lab.commands import inv, succeed

SETTLE_SECONDS = 180

pytestmark = pytest.mark.usefixtures("running_lab")


def _holds() -> bool:
    return inv("verify").code == 0


def _ssh(name: str, *words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["ssh", "-F", SSH_CONFIG, name, *words], capture_output=True, text=True, check=False)


def test_a_node_that_reboots_itself_comes_back() -> None:
    name = load().nodes[-1].name
    before = _ssh(
        name, "cat /proc/sys/kernel/random/boot_id; systemctl show --property=UserspaceTimestampMonotonic"
    ).stdout
    _ssh(name, "systemctl", "reboot")

    def rebooted() -> bool:
        now = _ssh(name, "cat /proc/sys/kernel/random/boot_id; systemctl show --property=UserspaceTimestampMonotonic")
        return now.returncode == 0 and now.stdout != before

    wait_until(rebooted, seconds=SETTLE_SECONDS, what=f"{name} to reboot itself")
    wait_until(_holds, seconds=SETTLE_SECONDS, what="the proof to hold after the reboot")


def test_every_node_has_a_bpf_file_system_of_its_own() -> None:
    """Also the one that has just rebooted itself. Networks ask for the folder, such as Calico (hostPath)."""
    names = [node.name for node in load().nodes]
    try:
        for name in names:
            listed = "find /sys/fs/bpf -mindepth 1 -type d -printf '%f '"
            made = _ssh(name, f"stat -f -c %T /sys/fs/bpf && mkdir /sys/fs/bpf/of-{name} && {listed}")
            assert (made.stdout.split(), made.stderr) == (["bpf_fs", f"of-{name}"], "")
    finally:
        for name in names:
            _ssh(name, f"rmdir /sys/fs/bpf/of-{name}")


def test_apply_with_a_node_down_finishes_the_others_and_fails() -> None:
    name = load().nodes[-1].name
    succeed("lab.stop", name)
    try:
        assert not nodes.is_running(name)
        outcome = inv("apply")
        assert outcome.code == 1, outcome.output[-2000:]
        assert name in outcome.output
        assert "Traceback" not in outcome.output
        verified = inv("verify")
        assert verified.code == 1
        assert re.search(rf"{name}", verified.output)
    finally:
        # As the network of a killed node leaves it behind for as long as it has connections.
        shell.run(["ip", "link", "add", f"vb-{name}", "type", "bridge"])
        succeed("lab.start", name)
    wait_until(_holds, seconds=SETTLE_SECONDS, what="the proof to hold after the node's start")


def test_an_unknown_node_is_refused_with_the_names_there_are() -> None:
    outcome = inv("lab.stop", "k8s-nodule1")
    assert outcome.code == 2
    assert load().nodes[1].name in outcome.output
    assert "Traceback" not in outcome.output
