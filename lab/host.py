"""What kind of machine this is: the facts on which the lab's way of making nodes depends."""

import os
from enum import Enum
from pathlib import Path

CAP_SYS_RESOURCE = 24
"""Bit of the capability, from linux/capability.h."""
CGROUP_ROOT = Path("/sys/fs/cgroup")
CGROUP_V1_CONTROLLERS = ("cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids", "systemd")
"""Hierarchies that Docker and the kubelet need on a cgroup v1 machine, and systemd's own."""


class CgroupLayout(Enum):
    V1 = "cgroup v1, one mount for each controller"
    V2_SYSTEMD = "cgroup v2 under systemd"
    UNSUPPORTED = "neither cgroup v1 with all controllers nor cgroup v2 under systemd"


def cgroup_layout(root: Path = CGROUP_ROOT, systemd: Path = Path("/run/systemd/system")) -> CgroupLayout:
    """Detect the layout from what is mounted, not from what the kernel could do."""
    if all((root / name / "cgroup.procs").exists() for name in CGROUP_V1_CONTROLLERS):
        return CgroupLayout.V1
    controllers = root / "cgroup.controllers"
    if controllers.exists() and "memory" in controllers.read_text().split() and systemd.is_dir():
        return CgroupLayout.V2_SYSTEMD
    return CgroupLayout.UNSUPPORTED


def lacks_sys_resource(status: Path = Path("/proc/self/status")) -> bool:
    """Whether even root may not raise resource limits or lower an OOM score here.

    runc then fails on every container with a negative OOM score adjustment and on privileged ones.
    """
    for line in status.read_text().splitlines():
        if line.startswith("CapBnd:"):
            return not int(line.split()[1], 16) >> CAP_SYS_RESOURCE & 1
    return False


def is_root() -> bool:
    """Whether this process may create network devices, mounts and control groups."""
    return os.geteuid() == 0
