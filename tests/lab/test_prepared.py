"""Hosts that have packages and images before their first deploy: a cluster is made sooner, what was there stays."""

import os
import re
import time

import pytest

from lab.settings import load
from tests.lab import snapshot
from tests.lab.commands import changes, holds, last_changes, succeed
from tests.lab.remote import ssh
from tests.lab.snapshot import Snapshot

UP_SECONDS = 75
"""The aim on a machine that has nothing else to do."""
NAMES = [node.name for node in load().nodes]
IDENTITIES = "cat /etc/machine-id /etc/ssh/ssh_host_ed25519_key.pub; docker info --format '{{.ID}}'"
SECTIONS = ("links", "addresses", "routes", "rules", "neighbours", "fdb", "sysctls", "mounts", "units", "files")
"""Of nftables and /run also what Docker makes anew whenever it starts, as it does in a reset."""
OF_DOCKER = ("var/lib/docker", "var/lib/containerd", "/run/docker/")
"""What Docker notes of having been used, and mounts when it has been."""


@pytest.fixture(scope="module")
def before() -> dict[str, Snapshot]:
    """Prepared hosts as they are before the first deploy. Takes a lab that is there away, and leaves another."""
    if os.geteuid() != 0:
        pytest.skip("the lab can be made by root only")
    succeed("lab.down")
    succeed("lab.up")
    for name in NAMES:
        ssh(name, "systemctl start docker")
    return {name: snapshot.take(name, SECTIONS) for name in NAMES}


def test_each_host_is_one_of_its_own(before: dict[str, Snapshot]) -> None:
    identities = [line for name in NAMES for line in ssh(name, IDENTITIES).splitlines()]
    assert len(set(identities)) == len(identities) == 3 * len(NAMES)


def test_up_finds_packages_and_images(before: dict[str, Snapshot]) -> None:
    started = time.monotonic()
    output = succeed("up")
    print(f"up on prepared hosts: {time.monotonic() - started:.1f}s (aim, with making them: at most {UP_SECONDS}s)")
    assert holds(output), output[-2000:]
    operations = {operation for of_host in last_changes().values() for operation in of_host}
    assert "Workers | Join the cluster" in operations
    assert not {operation for operation in operations if operation.endswith(("Pull images", "Docker and Kubernetes"))}


def test_reset_leaves_what_was_there_before(before: dict[str, Snapshot]) -> None:
    succeed("reset")
    for name in NAMES:
        lines = snapshot.difference(before[name], snapshot.take(name, SECTIONS))
        assert [line for line in lines if not line.partition(": ")[2].partition(": ")[2].startswith(OF_DOCKER)] == []
        rules = "\n".join(snapshot.take(name, ["nftables"])["nftables"])
        assert "DOCKER" in rules
        assert not re.search("KUBE|podnet|10.244", rules)
    assert changes(succeed("reset")) == 0
