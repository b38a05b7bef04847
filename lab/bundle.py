"""Bundles: everything that an `up` takes from elsewhere, in one file, and its use on a machine without a network.

Of Debian it has a part of the archive, not root filesystems that were made of it: those are made where it is used, and
apt checks Debian's signatures there as ever. What was built is in it as the cache keeps it. The key that signs the
lab's own packages stays where it is; the machine that uses the bundle signs them by its own.
"""

import re
import shutil
import sys
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from rich.markup import escape

from kubeproof.deploy import manifest_source
from kubeproof.terminal.console import say, step
from kubeproof.terminal.errors import CommandError, UserError
from lab import (
    archive,
    bundle_file,
    debian_copy,
    group_data,
    machine,
    mirror,
    network_requirements,
    nodes,
    paths,
    preflight,
    rootfs,
    shell,
    vm_image,
)
from lab.bundle_file import About
from lab.mirror import additions, assembly, cache, node_packages
from lab.settings import LabSettings

KINDS = ("source", "kubernetes", "base-layer", "packages", "pause")
"""What of the cache is in a bundle, beside images: the rest is made of these and of Debian's packages."""
PYTHON = ("python3", "python3-venv")
"""What ./inv needs before anything else."""
ABOUT = "about"
"""In the folder of the bundle that is in use: a line that tells which it is."""
NEEDED = ("apt", "?essential", "?priority(required)")
"""What mmdebstrap installs whatever it is asked for (apt-patterns(7)): also what became so since the last time."""
LOCK = paths.REPOSITORY / "requirements.lock"
COPY_GIB = 0.6
"""The part of Debian's archive and the Python packages, before they are in the file: 0.4 GiB was measured."""
ROOTS_GIB = 0.5
"""Root filesystem and packages of the nodes, which are made when the bundle is used, for each system."""


def save(lab: LabSettings, file: Path) -> None:
    """Write a bundle of what the mirror holds, which has to be built, and of what nodes and this machine install.

    Raises UserError before anything is written, CommandError.
    """
    check_target(file)
    network_requirements.check(lab, group_data.settings())
    with mirror.alone(), _work() as work:
        with step("bundle: packages of Debian"):
            debian_copy.make(work / "debian", _debian_packages(lab))
        with step("bundle: Python packages"):
            _add_wheels(work / "wheels")
        _add_manifest(work / "manifests")
        files = {**dict(_of_cache()), **dict(_below(work, work))}
        with step(f"bundle: {file.name}"), cache.creating(file) as partial:
            about = _about(lab, {name: bundle_file.file_of(path) for name, path in files.items()})
            bundle_file.write(partial, about, files)
    say(
        f"{escape(str(file))}: {len(files)} files, {file.stat().st_size >> 20} MiB, made for {', '.join(about.systems)}"
    )
    say(f"SHA-256 {bundle_file.file_of(file).sha256}")


def use(lab: LabSettings, file: Path) -> None:
    """Put a bundle's content in the place of what this machine would fetch and build.

    Raises UserError before anything is changed. What is interrupted leaves at most entries in the cache that are whole.
    """
    about = _checked(lab, file)
    with mirror.alone(), cache.creating(archive.bundle()) as partial:
        with step("bundle: unpacking and checking"):
            bundle_file.unpack(file, about, partial)
        _place(partial)
        (partial / ABOUT).write_text(described(about) + "\n")
    say(f"the lab is made from this bundle now, without a network: {described(about)}")


def in_use() -> str:
    """A line that tells which bundle the lab is made from; empty if it is made by the network."""
    return (archive.bundle() / ABOUT).read_text().strip() if archive.in_bundle() else ""


def described(about: About) -> str:
    return f"made {about.made} by Kubeproof {about.project} for {', '.join(about.systems)}"


def check_target(file: Path) -> None:
    """Raise UserError if a bundle cannot be written to a file, as far as that can be told."""
    problems = []
    if not file.parent.is_dir():
        problems.append(f"{file}: its folder is not there, make it or name another file")
    elif file.exists():
        problems.append(f"{file}: is there already, remove it or name another file")
    else:
        size = sum(path.stat().st_size for _, path in _of_cache()) / machine.GIB + COPY_GIB
        problems += machine.disk_problems({paths.CACHE: COPY_GIB, file.parent: size})
    if problems:
        raise UserError(problems)


@contextmanager
def _work() -> Iterator[Path]:
    """A folder for what is collected; the next save removes what a killed one has left."""
    work = paths.CACHE / "build" / "bundle"
    cache.remove(work)
    work.mkdir(parents=True)
    try:
        yield work
    finally:
        cache.remove(work)


def _debian_packages(lab: LabSettings) -> dict[str, list[list[str]]]:
    """Lists of names by release: what mmdebstrap put into root filesystems, with what nodes install there, and this
    machine's."""
    wanted: dict[str, list[list[str]]] = {archive.RELEASE: []}
    for system in lab.systems:
        roots = [rootfs.ensure(system)]
        if any(node.vm and node.system is system for node in lab.nodes):
            roots.append(vm_image.root_of(system))
        installed = [parse_installed((root / "var/lib/dpkg/status").read_text()) for root in roots]
        lists = [[*names, *NEEDED, *node_packages.wanted(system)] for names in installed]
        wanted.setdefault(system.release, []).extend(lists)
    wanted[archive.RELEASE].append([*preflight.PACKAGES, *preflight.packages_for(lab), *PYTHON])
    return wanted


def parse_installed(status: str) -> list[str]:
    """Names of the packages that are installed, from the text of /var/lib/dpkg/status. Pure."""
    installed = (part for part in status.split("\n\n") if re.search(r"^Status: \S+ ok installed$", part, re.MULTILINE))
    return [part.split(maxsplit=2)[1] for part in installed]


def _add_wheels(folder: Path) -> None:
    folder.mkdir()
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check", "--no-deps")
    what = ("--only-binary", ":all:", "--require-hashes", "--requirement", LOCK, "--dest", folder)
    try:
        # An address of an index may hold a password.
        shell.run((*pip, *what), log_output=False, timeout=shell.BUILD_SECONDS)
    except CommandError as error:
        reason = str(error).splitlines()[1:-1][-1:] or [str(error)]
        raise UserError(f"python packages: pip cannot download them ({reason[0]}), see to the package index") from error


def _add_manifest(folder: Path) -> None:
    """The manifest that a project publishes, if the pod network that is set has one."""
    settings = group_data.settings()
    if settings.network.manifest is None:
        return
    wanted = manifest_source.wanted_manifest(settings)
    folder.mkdir()
    (folder / f"{wanted.sha256}.yaml").write_bytes(manifest_source.verified(wanted))


def _of_cache() -> Iterator[tuple[str, Path]]:
    folders = [paths.CACHE / kind for kind in KINDS]
    for folder in (*folders, assembly.layout(), additions.layout()):
        for name, path in _below(folder, paths.CACHE):
            yield f"cache/{name}", path


def _below(folder: Path, root: Path) -> Iterator[tuple[str, Path]]:
    """Files of a folder with their paths below ``root``, sorted; none of an unfinished build."""
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and cache.PARTIAL not in name:
            yield name, path


def _about(lab: LabSettings, files: Mapping[str, bundle_file.File]) -> About:
    return About(
        project=tomllib.loads((paths.REPOSITORY / "pyproject.toml").read_text())["project"]["version"],
        made=f"{datetime.now():%Y-%m-%d %H:%M}",
        architecture=_architecture(),
        systems=tuple(system.name for system in lab.systems),
        images=tuple(sorted(additions.names())),
        files=files,
    )


def _architecture() -> str:
    return shell.run(["dpkg", "--print-architecture"]).strip()


def _checked(lab: LabSettings, file: Path) -> About:
    """What a bundle says of itself, if this machine can use it. Raises UserError with everything that is against it."""
    if not file.is_file():
        raise UserError(f"{file}: is no file, name one that `./inv bundle.save` has written")
    about = bundle_file.read_about(file)
    problems = list(_in_use(lab))
    if about.architecture != (own := _architecture()):
        problems.append(
            f"{file}: is for {about.architecture}, this machine is {own}; use one that was made on such a one"
        )
    if lacking := [system.name for system in lab.systems if system.name not in about.systems]:
        problems.append(
            f"{file}: has nothing for {', '.join(lacking)}, which the lab's setting system names; change it"
        )
    if lost := sorted(set(additions.names()) - set(about.images)):
        problems.append(
            f"images: {', '.join(lost)}: were added here, are not in the bundle and would be gone; "
            f"remove {additions.layout()} to do without them"
        )
    needed = about.size / machine.GIB + ROOTS_GIB * len(about.systems)
    problems += machine.disk_problems({paths.CACHE: needed})
    if problems:
        raise UserError(problems)
    return about


def _in_use(lab: LabSettings) -> Iterator[str]:
    used = [*nodes.existing(), *(name for name, _, state in mirror.status(lab) if state.startswith("running"))]
    if used:
        yield f"mirror: a lab on this machine uses it ({', '.join(used)}), run `./inv lab.down` first"


def _place(folder: Path) -> None:
    """Move what was unpacked to where builds look for it. Entries are named by their content: each is good alone."""
    for kind in KINDS:
        for entry in sorted((folder / "cache" / kind).glob("*")):
            target = cache.entry(kind, entry.name)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                entry.rename(target)
    for layout in (assembly.layout(), additions.layout()):
        unpacked = folder / "cache" / layout.relative_to(paths.CACHE)
        if unpacked.is_dir():
            with cache.creating(layout) as partial:
                unpacked.rename(partial)
    for manifest in (folder / "manifests").glob("*"):
        kept = manifest_source.cache_folder()
        kept.mkdir(parents=True, exist_ok=True)
        shutil.copy(manifest, kept)
    cache.remove(folder / "cache")
