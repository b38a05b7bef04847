"""The Debian packages of the mirror's apt repository, made from built programs with dpkg-deb."""

import gzip
import hashlib
import os
import shutil
from pathlib import Path

from lab import shell
from lab.mirror import cache, control
from lab.mirror.control import Package
from lab.mirror.kubernetes import Build

DEBIAN = Path(__file__).parent / "debian"
"""Units, drop-ins and maintainer scripts."""
COMPRESSION = ("-Zzstd", "-z3")
"""zstd: dpkg of Debian 12 reads it, and it packs and unpacks many times faster than xz."""


def ensure(build: Build) -> tuple[tuple[Path, ...], int]:
    """Return the .deb files made of ``build`` and how many things were built for it (0 or 1)."""
    architecture = shell.run(["dpkg", "--print-architecture"]).strip()

    def make(folder: Path) -> None:
        for package in control.PACKAGES:
            _make(package, build, architecture, folder)

    title = f"Debian packages {', '.join(package.name for package in control.PACKAGES)}"
    folder, built = cache.ensure("packages", packages_key(build.key, architecture), title, make)
    return tuple(sorted(folder.glob("*.deb"))), built


def packages_key(build_key: str, architecture: str) -> str:
    """Key over the programs, the control data and every file of lab/mirror/debian."""
    files = {path.name: path.read_text() for path in sorted(DEBIAN.iterdir())}
    controls = [control.control(package, "", architecture, "", 0) for package in control.PACKAGES]
    shapes = [
        (package.programs, package.files, package.executables, package.links, package.conffiles, package.scripts)
        for package in control.PACKAGES
    ]
    return cache.key(build_key, controls, shapes, files, COMPRESSION)


def _make(package: Package, build: Build, architecture: str, target: Path) -> None:
    root = target / package.name
    _add_content(package, build, root)
    _add_documents(package, build, root)
    _add_control(package, build, architecture, root)
    deb = target / control.file_name(package, build.number, architecture)
    environment = {"SOURCE_DATE_EPOCH": str(control.epoch_seconds())}
    shell.run(["dpkg-deb", "--root-owner-group", *COMPRESSION, "--build", root, deb], env=environment)
    shutil.rmtree(root)


def _add_content(package: Package, build: Build, root: Path) -> None:
    for program in package.programs:
        _install(build.binary(program), root / "usr/bin" / program, 0o755)
    for path, name in package.files.items():
        _install(DEBIAN / name, _inside(root, path), 0o644)
    for path, name in package.executables.items():
        _install(DEBIAN / name, _inside(root, path), 0o755)
    for path, points_to in package.links.items():
        link = _inside(root, path)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(points_to)


def _add_documents(package: Package, build: Build, root: Path) -> None:
    folder = root / "usr/share/doc" / package.name
    folder.mkdir(parents=True)
    changes = control.changelog(package, build.number, build.version).encode()
    (folder / "changelog.Debian.gz").write_bytes(gzip.compress(changes, compresslevel=9, mtime=0))
    (folder / "copyright").write_text(control.copyright_text(package, build.version, build.copyright.read_text()))


def _add_control(package: Package, build: Build, architecture: str, root: Path) -> None:
    files = sorted(path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    installed_kib = sum(-(-path.stat().st_size // 1024) for path in root.rglob("*"))
    folder = root / "DEBIAN"
    folder.mkdir()
    text = control.control(package, build.number, architecture, build.version, installed_kib)
    (folder / "control").write_text(text)
    sums = [
        f"{_md5(path)}  {path.relative_to(root)}\n"
        for path in files
        if f"/{path.relative_to(root)}" not in package.conffiles
    ]
    (folder / "md5sums").write_text("".join(sums))
    if package.conffiles:
        (folder / "conffiles").write_text("".join(f"{path}\n" for path in package.conffiles))
    for script in package.scripts:
        _install(DEBIAN / f"{package.name}.{script}", folder / script, 0o755)
    _normalise(root)


def _normalise(root: Path) -> None:
    """Directories and files with Debian's usual modes, whatever the umask was."""
    for folder, _, names in os.walk(root):
        Path(folder).chmod(0o755)
        for path in (Path(folder) / name for name in names):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)


def _install(source: Path, target: Path, mode: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(mode)


def _inside(root: Path, path: str) -> Path:
    return root / path.removeprefix("/")


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
