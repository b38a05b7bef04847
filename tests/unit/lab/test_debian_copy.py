"""A part of an archive, which stands for Debian's and has a key of the test's; apt itself makes it and uses it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from kubeproof.terminal.errors import CommandError
from lab import archive, debian_copy, shell
from lab.archive import Source
from lab.mirror import source

TOOLS = ("apt-get", "apt-ftparchive", "dpkg-deb", "gpg")
pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}, which the lab's machine has"
)
PACKAGES = {"app": "library (>= 1:2)", "library": "", "other": ""}
VERSIONS = {"library": "1:2+b~1"}


def run(*words: str | Path, cwd: Path) -> str:
    return subprocess.run(list(map(str, words)), cwd=cwd, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in of the archive: three packages, of which one depends on another, an index and a signature."""
    root = tmp_path_factory.mktemp("debian")
    for name, depends in PACKAGES.items():
        version = VERSIONS.get(name, "1")
        (root / "deb/DEBIAN").mkdir(parents=True)
        fields = f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@example.net>\n"
        needs = f"Depends: {depends}\n" if depends else ""
        (root / "deb/DEBIAN/control").write_text(f"{fields}{needs}Description: x\n")
        pool = root / "pool/main" / name
        pool.mkdir(parents=True)
        run("dpkg-deb", "--build", "deb", pool / f"{name}_{version.rpartition(':')[2]}_all.deb", cwd=root)
        shutil.rmtree(root / "deb")
    architecture = run("dpkg", "--print-architecture", cwd=root).strip()
    index = root / f"dists/bookworm/main/binary-{architecture}/Packages"
    index.parent.mkdir(parents=True)
    index.write_text(run("apt-ftparchive", "packages", "pool", cwd=root))
    about = {"Codename": "bookworm", "Components": "main", "Architectures": architecture}
    options = [f"--option=APT::FTPArchive::Release::{name}={text}" for name, text in about.items()]
    release = run("apt-ftparchive", *options, "release", "dists/bookworm", cwd=root)
    (root / "dists/bookworm/Release").write_text(release)
    sign(root)
    return root


def sign(root: Path) -> None:
    home = root / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ("gpg", "--homedir", home, "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", "")
    run(*gpg, "--quick-generate-key", "stand-in <a@example.net>", "ed25519", "sign", "never", cwd=root)
    run(*gpg, "--armor", "--output", root / "key.asc", "--export", cwd=root)
    folder = root / "dists/bookworm"
    run(*gpg, "--output", folder / "InRelease", "--clearsign", folder / "Release", cwd=root)
    run("gpgconf", "--homedir", home, "--kill", "all", cwd=root)


def archive_is(monkeypatch: pytest.MonkeyPatch, debian: Path, place: Path) -> None:
    monkeypatch.setattr(archive, "KEYRING", debian / "key.asc")
    monkeypatch.setattr(archive, "sources_of", lambda _release: (Source(f"copy:{place}", "bookworm"),))


@pytest.fixture
def copy(debian: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    archive_is(monkeypatch, debian, debian)
    debian_copy.make(tmp_path / "copy", {"bookworm": [["app"], ["app", "library"]]})
    archive_is(monkeypatch, debian, tmp_path / "copy" / "0")
    return tmp_path / "copy"


def test_it_has_what_was_asked_for_and_what_that_needs(copy: Path) -> None:
    names = {path.relative_to(copy).as_posix() for path in copy.rglob("*") if path.is_file()}
    assert {name for name in names if name.endswith(".deb")} == {
        "0/pool/main/app/app_1_all.deb",
        "0/pool/main/library/library_2+b~1_all.deb",
    }
    assert (copy / archive.INDEX).read_text() == "bookworm 0 bookworm\n"
    assert len(names) == 5


def install(folder: Path, name: str) -> list[str]:
    """What apt would install on an empty system, downloaded."""
    options = [*source.updated(folder, "deb"), *debian_copy.from_nothing(folder)]
    shell.run(["apt-get", *options, "--yes", "--download-only", "install", name])
    return sorted(path.name for path in (folder / "archives").glob("*.deb"))


def test_apt_installs_from_it(copy: Path, tmp_path: Path) -> None:
    assert install(tmp_path / "apt", "app") == ["app_1_all.deb", "library_1%3a2+b~1_all.deb"]


def test_what_was_not_asked_for_is_not_there(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="other_1_all"):
        install(tmp_path / "apt", "other")


def test_apt_refuses_a_package_and_an_index_that_were_changed(copy: Path, tmp_path: Path) -> None:
    deb = copy / "0/pool/main/app/app_1_all.deb"
    deb.write_bytes(deb.read_bytes()[:-1] + b"x")
    with pytest.raises(CommandError, match=r"install app: exit code 100"):
        install(tmp_path / "apt", "app")
    index = next(copy.rglob("Packages"))
    index.write_text(index.read_text().replace("Package: app", "Package: bad"))
    with pytest.raises(CommandError, match=r"update: exit code 100"):
        install(tmp_path / "apt2", "app")


def test_a_copy_can_be_copied(copy: Path, tmp_path: Path) -> None:
    debian_copy.make(tmp_path / "second", {"bookworm": [["library"]]})
    assert [path.name for path in (tmp_path / "second").rglob("*.deb")] == ["library_2+b~1_all.deb"]


def test_a_package_that_the_archive_lacks_is_told(
    debian: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive_is(monkeypatch, debian, debian)
    with pytest.raises(CommandError, match="Unable to locate package absent"):
        debian_copy.make(tmp_path / "copy", {"bookworm": [["absent"]]})
