"""The root filesystem that a lab node starts from: Debian with systemd and OpenSSH, and nothing of Kubernetes.

Made once by mmdebstrap and kept in the cache by content: the package list, the archive and the files of
lab/node_image decide its key.
"""

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from lab import archive, debootstrap, host, shell
from lab.mirror import cache
from lab.paths import REPOSITORY
from lab.systems import NodeSystem

KIND = "rootfs"
NODE_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "ifupdown", "iproute2", "iputils-ping", "netbase"),
    *("procps", "kmod", "ca-certificates", "curl", "less", "jq"),
)
"""A small server installation. jq serves the runc shim, and people."""

MASKED_UNITS = ("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "fstrim.timer")
"""Timers that would fight the deploy for apt's lock or touch the machine's disk from inside a container."""

IMAGE = REPOSITORY / "lab" / "node_image"
SHIM = REPOSITORY / "lab" / "runc_shim" / "runc"
_RECIPE_VERSION = 1


def ensure(system: NodeSystem) -> Path:
    """Return the root filesystem's folder, making it first if the cache has none for this recipe."""
    title = f"node root filesystem of {system.name} (mmdebstrap)"
    return cache.ensure(system.kind(KIND), key(system), title, lambda folder: _build(folder, system))[0]


def is_cached(system: NodeSystem) -> bool:
    return cache.entry(system.kind(KIND), key(system)).exists()


def key(system: NodeSystem) -> str:
    sources = tuple(source.line() for source in archive.sources_of(system.release))
    digest = hashlib.sha256(repr((_RECIPE_VERSION, NODE_PACKAGES, MASKED_UNITS, sources)).encode())
    for file in _image_files():
        digest.update(file.relative_to(REPOSITORY).as_posix().encode() + file.read_bytes())
    digest.update(b"shim" if host.lacks_sys_resource() else b"")
    return digest.hexdigest()[:16]


def _image_files() -> Iterator[Path]:
    yield from files_below(IMAGE)
    yield SHIM


def files_below(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def _build(folder: Path, system: NodeSystem) -> None:
    # Its setuid programs grow old without updates; no user of this machine shall run them.
    folder.parent.chmod(0o700)
    debootstrap.make(folder, "minbase", NODE_PACKAGES, hooks(*_diverting()), release=system.release)
    _add_image_files(folder)


def hooks(*more: str) -> list[str]:
    """Options of mmdebstrap for what is done in every node's root filesystem, and more."""
    masking = f'chroot "$1" systemctl mask {" ".join(MASKED_UNITS)}'
    # Keys made here would be shared by all nodes; each node gets its own.
    without_keys = 'rm -f "$1"/etc/ssh/ssh_host_*'
    return [f"--customize-hook={hook}" for hook in (masking, *more, without_keys)]


def _diverting() -> list[str]:
    if not host.lacks_sys_resource():
        return []
    # Diverted before runc is ever installed, so that Docker's and containerd's runc is the shim from the start.
    return ['chroot "$1" dpkg-divert --quiet --add --no-rename --divert /usr/sbin/runc.distrib /usr/sbin/runc']


def _add_image_files(root: Path) -> None:
    shutil.copytree(IMAGE, root, dirs_exist_ok=True)
    shell.run(["chroot", root, "systemctl", "enable", "kubeproof-node.service"])
    if host.lacks_sys_resource():
        shutil.copy(SHIM, root / "usr/sbin/runc")
