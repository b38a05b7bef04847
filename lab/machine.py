"""What is wrong with this machine for a lab: each question reads some files, and answers in lines that say what to do.

Nothing here runs a command or changes anything, so that every user on every system gets these answers.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from lab import host

GIB = 2**30
PROC = Path("/proc")
ARCHITECTURE = "x86_64"
"""Its packages, kernel and images are those of Debian's amd64."""


def identity_problems(release: Mapping[str, str], *, architecture: str, root: bool) -> list[str]:
    """``release`` holds the fields of os-release(5), ``architecture`` is what uname -m says."""
    problems = []
    if (release.get("ID"), release.get("VERSION_ID")) != ("debian", "12"):
        name = release.get("PRETTY_NAME", "something else")
        problems.append(f"machine: this is {name}, the lab is made from Debian 12; run it on such a machine")
    if architecture != ARCHITECTURE:
        problems.append(f"machine: this is an {architecture}, the lab is made for {ARCHITECTURE} alone; run it on one")
    if not root:
        problems.append("user: the lab makes network devices and containers and needs root; run it with sudo")
    return problems


def cgroup_problems(layout: host.CgroupLayout) -> list[str]:
    """A node needs a tree of control groups that it may write to, in one of the two layouts that the lab knows."""
    if layout is host.CgroupLayout.UNSUPPORTED:
        return [f"control groups: {layout.value}; boot with systemd and cgroup v2"]
    return []


def swap_problems(swaps: Path = PROC / "swaps") -> list[str]:
    """kubelet refuses a machine that swaps, and a container cannot turn off the swap of its kernel."""
    names = [line.split()[0] for line in swaps.read_text().splitlines()[1:]] if swaps.exists() else []
    if not names:
        return []
    return [
        f"swap: kubelet refuses to run while the machine swaps to {', '.join(names)}; run `swapoff -a`, "
        "and take swap out of /etc/fstab if it is to stay off after a reboot"
    ]


def memory_problems(needed: float, meminfo: Path = PROC / "meminfo") -> list[str]:
    """``needed`` is in GiB. What the kernel can free at once (MemAvailable, proc(5)) counts as free."""
    fields = dict(line.split(":") for line in meminfo.read_text().splitlines())
    total, available = (int(fields[name].split()[0]) / 2**20 for name in ("MemTotal", "MemAvailable"))
    if available >= needed:
        return []
    return [
        f"memory: {available:.1f} GiB of {total:.1f} GiB available, the lab needs {needed:.1f} GiB; "
        "end other programs or give the machine more"
    ]


def disk_problems(needs: Mapping[Path, float], free: Callable[[Path], float] | None = None) -> list[str]:
    """``needs`` maps folders, which may not exist yet, to GiB; folders of one file system share its free space."""
    measure = free or _free_gib
    problems = []
    for folders in _by_file_system(needs):
        needed, available = sum(needs[folder] for folder in folders), measure(_existing(folders[0]))
        if available < needed:
            where = ", ".join(str(folder) for folder in folders)
            problems.append(f"disk: {available:.1f} GiB free for {where}, the lab needs {needed:.1f} GiB; free some")
    return problems


def _by_file_system(folders: Mapping[Path, float]) -> list[list[Path]]:
    found: dict[int, list[Path]] = {}
    for folder in folders:
        found.setdefault(_existing(folder).stat().st_dev, []).append(folder)
    return list(found.values())


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())


def _free_gib(folder: Path) -> float:
    return shutil.disk_usage(folder).free / GIB
