"""The root filesystem of a node that has the deploy's packages and images already, as the mirror serves them now.

Made once for each content of the mirror, from the plain root filesystem. Its /usr is not copied to each node: nodes
mount it by an overlay, of which each writes an upper layer of its own. Layers of images are linked into each node, as
Docker unmounts whatever is below its folder. The deploy finds what a host has that had the container runtime before.
"""

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

from kubeproof.config.settings import Settings
from kubeproof.config.tables.runtimes import references
from kubeproof.deploy import manifest_source
from kubeproof.node.images import images_for
from lab import container, group_data, node_files, rootfs, shell, trees
from lab.mirror import apt, cache, registry
from lab.paths import APT_REPOSITORY, APT_ROOT, REPOSITORY, SHARED
from lab.settings import LabSettings
from lab.systems import NodeSystem

KIND = "prepared"
PROGRAM = REPOSITORY / "lab" / "prepare-node"
OS_RELEASE = "usr/lib/os-release"
"""systemd-nspawn starts no root filesystem without it, and looks before it mounts anything."""
LAYERS = ("var/lib/docker/overlay2/*/diff", "var/lib/containerd/io.containerd.snapshotter.v1.overlayfs/snapshots/*/fs")
_RECIPE = 4
APPARMOR = Path("/sys/module/apparmor/parameters/enabled")


@dataclass(frozen=True)
class Recipe:
    """What a root filesystem is prepared with: the words of PROGRAM, and everything that decides its content."""

    words: list[str]
    parts: tuple[object, ...]


def ensure(lab: LabSettings, system: NodeSystem) -> Path:
    """Return its folder, with what each node has a copy of, making it first if the cache has none for the mirror.

    What is shared is where nodes look for it then, by the folder's name: below SHARED.
    """
    made = recipe(lab, system)
    key = cache.key(_RECIPE, rootfs.key(system), *made.parts)
    title = f"node root filesystem of {system.name} with packages and images"
    folder, _ = cache.ensure(system.kind(KIND), key, title, lambda partial: _make(lab, system, partial, made.words))
    share(folder / "shared", key)
    return folder


def recipe(lab: LabSettings, system: NodeSystem) -> Recipe:
    """The deploy's packages and images, as far as the mirror has them now."""
    settings = group_data.settings()
    held = registry.held_by(lab.registry)
    network = manifest_source.plan_network(settings).images
    wanted = {*images_for("control-plane", settings, network), *images_for("worker", settings, network)}
    # The others cannot be had; the deploy says so.
    images = {image: held[image] for image in sorted(wanted) if image in held}
    words = [settings.runtime.name, lab.registry, " ".join(_packages(settings, system))]
    folders = (APT_REPOSITORY, APT_ROOT / system.repository)
    indexes = [hashlib.sha256((folder / "Packages").read_bytes()).hexdigest() for folder in folders]
    parts = (words, images, indexes, PROGRAM.read_text())
    return Recipe([*words, " ".join(references(settings.runtime, tuple(images)))], parts)


def share(folder: Path, key: str) -> None:
    """Have a folder of the cache below SHARED, by its key, where nodes look for it."""
    if (SHARED / key).exists():
        return
    with cache.creating(SHARED / key) as partial:
        # Links, which stay when the cache is deleted; it may be on another file system.
        if not shell.succeeds(["cp", "--archive", "--link", folder, partial]):
            # It made the folders. A copy into one that is there would end up below it.
            cache.remove(partial)
            trees.copy(folder, partial)


def install(lab: LabSettings, system: NodeSystem, root: Path, words: list[str]) -> None:
    """Have packages and images in a root filesystem, by the words of a recipe."""
    shutil.copy(APT_REPOSITORY / apt.KEY_FILE, root / node_files.APT_KEY)
    # Each node gets its own.
    (root / "etc/apt/sources.list").write_text(
        "".join(node_files.apt_source(lab, repository) for repository in (APT_REPOSITORY.name, system.repository))
    )
    container.run_program(root, PROGRAM, words)


def _packages(settings: Settings, system: NodeSystem) -> list[str]:
    # It brings all of pyinfra along, and is needed for new nodes only.
    from kubeproof.deploy.phases.packages import wanted_packages

    apparmor = APPARMOR.exists() and APPARMOR.read_text().startswith("Y")
    wanted = wanted_packages(settings, system.packages, apparmor=apparmor)
    return [f"{name}={version}" if version else name for name, version in wanted.items()]


def _make(lab: LabSettings, system: NodeSystem, folder: Path, words: list[str]) -> None:
    root = folder / "root"
    folder.mkdir()
    folder.parent.chmod(0o700)
    trees.copy(rootfs.ensure(system), root)
    install(lab, system, root, words)
    for path in [root / "usr", *(path for pattern in LAYERS for path in root.glob(pattern))]:
        shared = folder / "shared" / path.relative_to(root)
        shared.parent.mkdir(parents=True, exist_ok=True)
        path.rename(shared)
    # cp gives each node's folders the attributes of these.
    for path in (folder / "shared/var").rglob("*"):
        if (root / path.relative_to(folder / "shared")).is_dir():
            shutil.copystat(root / path.relative_to(folder / "shared"), path)
    (root / OS_RELEASE).parent.mkdir(parents=True)
    shutil.copy(folder / "shared" / OS_RELEASE, root / OS_RELEASE)
