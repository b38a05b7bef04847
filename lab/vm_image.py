"""The disk that every virtual machine of the lab starts from, with the kernel that boots it. Nobody writes to it.

Debian with its own kernel, systemd, OpenSSH, AppArmor and a user with sudo, and, as nodes in containers have them,
the deploy's packages and images.
"""

import shutil
from pathlib import Path

from lab import archive, debootstrap, prepared, rootfs, shell, ssh, trees
from lab.mirror import cache
from lab.paths import REPOSITORY, SHARED
from lab.settings import LabSettings
from lab.systems import NodeSystem

ROOT_KIND = "vm-rootfs"
KIND = "vm-image"
PACKAGES = (*rootfs.NODE_PACKAGES, "linux-image-cloud-amd64", "initramfs-tools", "udev", "sudo", "apparmor")
FILES = REPOSITORY / "lab" / "vm_files"
COPIED = (rootfs.IMAGE, FILES)
"""Folders of files for the root filesystem; what is in a later one replaces the same of an earlier one."""
USER_ID = 1000
"""Debian's first user (adduser.conf(5), FIRST_UID)."""
DISK, KERNEL, INITRD = "disk.img", "vmlinuz", "initrd.img"
DISK_SIZE = "12G"
"""What the virtual machine sees. The file is sparse, and takes what its files take."""
_RECIPE = 1


def ensure(lab: LabSettings, system: NodeSystem) -> Path:
    """Return the folder with disk, kernel and initrd, made if there is none for what the mirror serves now."""
    recipe = prepared.recipe(lab, system)
    key = cache.key(_RECIPE, _root_key(system), recipe.parts if lab.hosts == "prepared" else ())
    title = f"disk of virtual machines with {system.name}"
    folder, _ = cache.ensure(system.kind(KIND), key, title, lambda partial: _make(lab, system, partial, recipe))
    prepared.share(folder, key)
    return SHARED / key


def is_cached(system: NodeSystem) -> bool:
    return cache.entry(system.kind(ROOT_KIND), _root_key(system)).exists()


def _root_key(system: NodeSystem) -> str:
    sources = [source.line() for source in archive.sources_of(system.release)]
    files = [
        (str(file.relative_to(REPOSITORY)), file.read_text())
        for folder in COPIED
        for file in rootfs.files_below(folder)
    ]
    return cache.key(PACKAGES, rootfs.MASKED_UNITS, sources, files)


def _make(lab: LabSettings, system: NodeSystem, folder: Path, recipe: prepared.Recipe) -> None:
    folder.mkdir()
    folder.parent.chmod(0o700)
    root = folder / "root"
    trees.copy(root_of(system), root)
    if lab.hosts == "prepared":
        prepared.install(lab, system, root, recipe.words)
    for name in (KERNEL, INITRD):
        # Links to those of the only version that there is.
        shutil.copy(root / name, folder / name)
    shell.run(["mkfs.ext4", "-q", "-d", root, "-E", "lazy_itable_init=1", folder / DISK, DISK_SIZE])
    cache.remove(root)


def root_of(system: NodeSystem) -> Path:
    """The plain root filesystem, made first if the cache has none."""
    title = f"root filesystem of virtual machines with {system.name}"
    return cache.ensure(system.kind(ROOT_KIND), _root_key(system), title, lambda folder: _make_root(folder, system))[0]


def _make_root(folder: Path, system: NodeSystem) -> None:
    folder.parent.chmod(0o700)
    adding = f'chroot "$1" useradd --create-home --shell /bin/bash --uid {USER_ID} {ssh.VM_USER}'
    debootstrap.make(folder, "minbase", PACKAGES, rootfs.hooks(adding), release=system.release)
    for copied in COPIED:
        shutil.copytree(copied, folder, dirs_exist_ok=True)
    (folder / "etc/sudoers.d/kubeproof").chmod(0o440)
