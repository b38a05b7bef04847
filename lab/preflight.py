"""Whether this machine can carry the lab, asked before anything on it is changed; and the packages that it lacks."""

import platform
import re
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

from kubeproof.terminal.console import say, step
from kubeproof.terminal.errors import CommandError, UserError
from lab import archive, firewalls, host, machine, mirror, network, nodes, paths, prepared, rootfs, shell, vm, vm_image
from lab.mirror import kubernetes, node_packages, source
from lab.mirror.cache import PARTIAL
from lab.settings import LabSettings

NODE_DISK_GIB = 1.3
"""A node with Docker's packages and the images: three were measured at 3.8 GiB."""
CACHE_GIB = 3.0
"""All caches take 1.3 GiB; while Kubernetes is built, its source and Go's build cache take 1.7 GiB more."""
PREPARED_GIB = 1.0
"""The root filesystem with packages and images was measured at 0.9 GiB."""
PACKAGES_GIB = 0.7
"""The Debian packages of the lab, of which Go is the largest, and their downloads."""
SPARE_GIB = 0.2
"""Logs, and what a repeated `up` downloads."""
VM_DISK_GIB = 1.6
"""The image of virtual machines, with packages and images, was measured at 1.2 GiB; what one writes comes to that."""
VM_MEMORY_GIB = vm.MEMORY_MIB / 1024 + 0.3
"""What it has, and what qemu needs for itself; an estimate."""
NODE_MEMORY_GIB = 0.7
"""Three nodes with a cluster were measured at 1.7 GiB resident."""
BUILD_MEMORY_GIB = 3.0
"""Two of Go's linkers at once, an estimate from the size of what they link."""

DOWNLOADED = ("source", "base-layer", node_packages.KIND)
"""Caches that are filled from Debian's archive, beside the root filesystem."""
BUILT = "kubernetes"

IMAGE_PACKAGES = ("docker-registry", "skopeo")
"""Debian packages for getting images into the registry, and the registry itself."""
PACKAGES = (
    # machine, network and nodes: modprobe, ip, nft, systemd-nspawn, ssh-keygen
    *("kmod", "iproute2", "nftables", "systemd-container", "openssh-client"),
    # root filesystems and the layer of images
    *("mmdebstrap", "debian-archive-keyring", "util-linux", "umoci"),
    # Kubernetes' programs, their packages and the apt repositories
    *("golang-go", kubernetes.REFLECT2_PACKAGE, "dpkg-dev", "xz-utils", "apt-utils", "gpg", "gpg-agent", "python3"),
    *IMAGE_PACKAGES,
)
"""Debian packages that the lab needs on its machine."""

UPDATE_SECONDS = 120
"""The lists of a fresh machine are 9 MB; a slow network is no reason to refuse."""
RESOLVER = "timeout:2 attempts:2"
"""resolv.conf(5): a resolver that never answers would otherwise take twenty seconds for each suite."""
_UPDATE = (
    *("apt-get", "-q", "update"),
    # Otherwise apt-get says that all is well when it had to use old lists.
    *("-o", "APT::Update::Error-Mode=any"),
    # An archive that does not answer is told from a slow one within seconds.
    *("-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=5", "-o", "Acquire::https::Timeout=5"),
)
_APT = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


def check(lab: LabSettings) -> None:
    """Raise UserError with everything that stands in the lab's way on this machine.

    Changes nothing but apt's lists, which it refreshes where something is to be downloaded.
    """
    release, architecture = platform.freedesktop_os_release(), platform.machine()
    unfit = machine.identity_problems(release, architecture=architecture, root=host.is_root())
    problems = [*unfit, *_resource_problems(lab)]
    if not unfit:
        # These run commands, which an unprivileged user may not, and which another system may not have.
        problems += [*_kernel_problems(), *network.check(lab), *firewalls.check(lab.bridge), *_service_problems(lab)]
    if problems:
        raise UserError(problems)


def _resource_problems(lab: LabSettings) -> list[str]:
    return [
        *machine.cgroup_problems(host.cgroup_layout()),
        *machine.swap_problems(),
        *machine.memory_problems(_memory_needed(lab)),
        *machine.disk_problems(_disk_needed(lab)),
    ]


def _memory_needed(lab: LabSettings) -> float:
    """GiB. The nodes start when the build is over."""
    to_start = [node for node in lab.nodes if not nodes.is_running(node.name)]
    running = sum(VM_MEMORY_GIB if node.vm else NODE_MEMORY_GIB for node in to_start)
    return max(running, 0 if _is_cached(BUILT) else BUILD_MEMORY_GIB)


def _disk_needed(lab: LabSettings) -> dict[Path, float]:
    """GiB for each folder that grows."""
    made = nodes.existing()
    missing = [node for node in lab.nodes if node.name not in made]
    building = not _is_cached(BUILT)
    kinds = [system.kind(prepared.KIND) for system in lab.systems]
    preparing = missing and lab.hosts == "prepared" and not all(map(_is_cached, kinds))
    return {
        # What a build leaves free again is enough for the other.
        paths.CACHE: CACHE_GIB if building else SPARE_GIB + (PREPARED_GIB if preparing else 0),
        paths.STATE: sum(VM_DISK_GIB if node.vm else NODE_DISK_GIB for node in missing),
        Path("/usr"): PACKAGES_GIB if building else 0,
    }


def _is_cached(kind: str) -> bool:
    """Whether the cache holds anything of a kind that was finished; a look that needs no recipe."""
    folder = paths.CACHE / kind
    return folder.is_dir() and any(not entry.name.startswith(PARTIAL) for entry in folder.iterdir())


def _kernel_problems(proc: Path = machine.PROC) -> list[str]:
    """What is built in shows under /proc; what is a module shows there once it is loaded."""
    problems = []
    if "overlay" not in (proc / "filesystems").read_text() and not _loads("overlay"):
        problems.append("kernel: no overlayfs, which Docker stores its images with; boot a kernel that has it")
    if not (proc / "sys/net/bridge").exists() and not _loads("br_netfilter"):
        problems.append("kernel: no br_netfilter, which Services need between pods of a node; boot one that has it")
    return problems


def _loads(module: str) -> bool:
    """Whether the kernel has a module; taken for granted while modprobe is among the packages that are to come."""
    return not shutil.which("modprobe", path=shell.ADMIN_PATH) or shell.succeeds(["modprobe", module])


def _service_problems(lab: LabSettings) -> list[str]:
    """The archive, the mirror's ports, and nodes of other settings. Without apt's lists only the first can be told."""
    unreachable = _archive_problems() if not archive.in_bundle() and _must_download(lab) else []
    if unreachable and not _archive_uris():
        return unreachable
    return [*unreachable, *mirror.check(lab), *nodes.check(lab)]


def packages_for(lab: LabSettings) -> tuple[str, ...]:
    """Debian packages that this lab needs beside those of every lab."""
    return vm.PACKAGES if lab.vm_workers else ()


def _must_download(lab: LabSettings) -> bool:
    """Whether anything is missing that comes from Debian's archive."""
    if missing_packages(packages_for(lab)) or not all(_is_cached(kind) for kind in DOWNLOADED):
        return True
    try:
        cached = all(map(rootfs.is_cached, lab.systems))
        return not cached or not all(vm_image.is_cached(node.system) for node in lab.nodes if node.vm)
    except UserError:
        # Without apt's lists nobody can tell.
        return True


def _archive_problems() -> list[str]:
    with step("Debian's package lists"):
        try:
            shell.run(_UPDATE, env={**_APT, "RES_OPTIONS": RESOLVER}, timeout=UPDATE_SECONDS)
        except CommandError as error:
            reason = why_unreachable(str(error), _archive_uris())
            advice = "see to the network and the sources in /etc/apt"
            return [f"Debian's archive: `apt-get update` fails ({reason}); {advice}"] if reason else []
    return []


def why_unreachable(report: str, uris: Collection[str]) -> str:
    """The reason in what a failed ``apt-get update`` wrote, empty if it does not concern these URIs. Pure.

    Without any URI, which are unknown before apt has lists, every failure concerns them.
    """
    errors = [line.removeprefix("E: ") for line in report.splitlines() if line.startswith("E: ")]
    fetches = [found for line in errors if (found := re.fullmatch(r"Failed to fetch (\S+)\s+(.*)", line))]
    for fetch in fetches:
        if not uris or fetch[1].startswith(tuple(uris)):
            return f"{fetch[1]}: {fetch[2]}"
    if fetches:
        return ""
    return (errors or report.splitlines())[0]


def _archive_uris() -> tuple[str, ...]:
    try:
        return tuple({source.uri for source in archive.sources()})
    except UserError:
        return ()


def missing_packages(more: Collection[str] = ()) -> list[str]:
    """Debian packages that the lab needs on this machine, and ``more``, that are not installed."""
    wanted = sorted({*PACKAGES, *more})
    listing = shell.run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\n"], check=False)
    installed = {line.split()[0] for line in listing.splitlines() if line.endswith(" installed")}
    return [package for package in wanted if package not in installed]


def install_packages(more: Collection[str] = ()) -> int:
    """Install what the lab, and ``more``, lack, listing it first; return how many packages that were."""
    missing = missing_packages(more)
    if not missing:
        return 0
    say(f"this machine lacks {len(missing)} Debian packages, which are installed now: {' '.join(missing)}")
    # Debian would start some of them for the whole machine; the lab runs its own, on its own address only.
    with step("Debian packages for the lab"), mirror.kept_from_starting(), tempfile.TemporaryDirectory() as folder:
        try:
            options = source.updated(Path(folder), "deb") if archive.in_bundle() else _updated()
            shell.run(
                ["apt-get", *options, "-q", "-y", "install", "--no-install-recommends", *missing],
                env=_APT,
                timeout=shell.BUILD_SECONDS,
            )
        except CommandError as error:
            reason = str(error).splitlines()[1:2] or [str(error)]
            raise UserError(f"packages: apt-get failed; is Debian's archive reachable? {reason[0]}") from error
    return len(missing)


def _updated() -> list[str]:
    shell.run(["apt-get", "-q", "update"], env=_APT)
    return []
