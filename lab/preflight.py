"""Whether this machine can carry the lab, checked before anything on it is changed."""

import shutil
from pathlib import Path

from kubeproof.console import say, step
from kubeproof.errors import CommandError, UserError
from lab import host, mirror, network, nodes, rootfs, shell, ssh
from lab.paths import CACHE, STATE
from lab.settings import LabSettings

DISK_GIB = 8
"""What the lab takes with all of its caches, and room for what a build needs for a while."""
MEMORY_GIB = 4
"""Three nodes take less than 3 GiB; the build of Kubernetes takes more for a while."""

MODULES_WITH_PACKAGES = (network, nodes, rootfs, ssh, mirror)


def check(lab: LabSettings) -> None:
    """Raise UserError with everything that stands in the lab's way on this machine."""
    problems = [*_identity_problems()]
    if not problems:
        # These read more of the machine than an unprivileged user or another system would answer for.
        problems = [*_cgroup_problems(), *_room_problems(), *_kernel_problems()]
        if shutil.which("ip"):
            problems += network.check(lab)
        problems += mirror.check(lab)
    if problems:
        raise UserError(problems)


def _identity_problems() -> list[str]:
    problems = []
    release = host.os_release()
    if (release.get("ID"), release.get("VERSION_ID")) != ("debian", "12"):
        problems.append(f"machine: the lab needs Debian 12, this is {release.get('PRETTY_NAME', 'something else')}")
    if not host.is_root():
        problems.append("user: the lab makes network devices and containers and needs root; run it with sudo")
    return problems


def _cgroup_problems() -> list[str]:
    if host.cgroup_layout() is not host.CgroupLayout.UNSUPPORTED:
        return []
    return [f"control groups: {host.CgroupLayout.UNSUPPORTED.value}; boot with systemd and cgroup v2"]


def _room_problems() -> list[str]:
    problems = []
    present = STATE.exists() and CACHE.exists()
    for folder in (STATE, CACHE):
        existing = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(existing).free / 2**30
        if free < DISK_GIB and not present:
            problems.append(f"disk: {free:.1f} GiB free at {existing}, the lab needs {DISK_GIB} GiB; free some")
    memory = int(next(row for row in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in row).split()[1])
    if memory < MEMORY_GIB * 2**20:
        problems.append(f"memory: {memory / 2**20:.1f} GiB, the lab needs {MEMORY_GIB} GiB")
    return problems


def _kernel_problems() -> list[str]:
    if "overlay" not in Path("/proc/filesystems").read_text() and not shell.succeeds(["modprobe", "overlay"]):
        return ["kernel: no overlayfs, which Docker stores its images with; boot a kernel that has it"]
    if not Path("/proc/sys/net/bridge").exists() and not shell.succeeds(["modprobe", "br_netfilter"]):
        return ["kernel: no br_netfilter, without which Services fail between pods of one node; boot one that has it"]
    return []


def missing_packages() -> list[str]:
    """Debian packages that the lab needs on this machine and that are not installed."""
    wanted = sorted({package for module in MODULES_WITH_PACKAGES for package in module.PACKAGES})
    listing = shell.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"], check=False)
    installed = {line.split()[0] for line in listing.splitlines() if line.endswith(" installed")}
    return [package for package in wanted if package not in installed]


def install_packages() -> int:
    """Install what is missing, listing it first; return how many packages that were."""
    missing = missing_packages()
    if not missing:
        return 0
    say(f"this machine lacks {len(missing)} Debian packages, which are installed now: {' '.join(missing)}")
    # Debian would start some of them for the whole machine; the lab runs its own, on its own address only.
    with step("Debian packages for the lab"), mirror.kept_from_starting():
        try:
            shell.run(["apt-get", "-q", "update"], env=_APT)
            shell.run(["apt-get", "-q", "-y", "install", "--no-install-recommends", *missing], env=_APT)
        except CommandError as error:
            reason = str(error).splitlines()[1:2] or [str(error)]
            raise UserError(f"packages: apt-get failed; is Debian's archive reachable? {reason[0]}") from error
    return len(missing)


_APT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
