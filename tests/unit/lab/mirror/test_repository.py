"""The packages and their repository with Debian's own tools, on tiny stand-ins for the programs; needs no root."""

import shutil
import subprocess
from pathlib import Path

import pytest

from lab import paths, shell
from lab.mirror import apt, kubernetes, packages
from lab.mirror.kubernetes import Build

TOOLS = ("dpkg-deb", "apt-ftparchive", "gpg", "gpgv")

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in TOOLS), reason=f"needs {', '.join(TOOLS)} on this machine"
)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(paths, "MIRROR", tmp_path / "m")
    monkeypatch.setattr(shell, "LOG_FILE", tmp_path / "log")
    return tmp_path / "m" / "apt"


@pytest.fixture
def debs(repository: Path, tmp_path: Path) -> tuple[Path, ...]:
    del repository
    build = Build(tmp_path / "build", "key", "1.20.5+really1.20.2-1", "1.20.2")
    (build.folder / "bin").mkdir(parents=True)
    build.copyright.write_text("Format: x\n\nFiles: *\n")
    for command in kubernetes.COMMANDS:
        build.binary(command).write_text("#!/bin/sh\n")
        build.binary(command).chmod(0o755)
    made, count = packages.ensure(build)
    assert count == 1
    assert packages.ensure(build) == (made, 0)
    return made


def output(*words: str | Path) -> str:
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, check=True).stdout


def test_packages_hold_what_upstreams_do(debs: tuple[Path, ...]) -> None:
    by_name = {deb.name.partition("_")[0]: deb for deb in debs}
    contents = output("dpkg-deb", "--contents", by_name["kubelet"])
    assert "./lib/systemd/system/kubelet.service" in contents
    assert {line.split()[1] for line in contents.splitlines()} == {"root/root"}
    drop_in = "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf"
    assert output("dpkg-deb", "--info", by_name["kubeadm"], "conffiles").split() == [drop_in]
    assert "usr/bin/kubeadm" in output("dpkg-deb", "--info", by_name["kubeadm"], "md5sums")
    assert "/opt/cni/bin/bridge -> /usr/lib/cni/bridge" in output("dpkg-deb", "--contents", by_name["kubernetes-cni"])


def test_the_repository_is_signed_with_its_own_key(debs: tuple[Path, ...], repository: Path, tmp_path: Path) -> None:
    assert apt.ensure(debs, repository) == 1
    assert apt.ensure(debs, repository) == 0
    keyring = tmp_path / "keyring.gpg"
    output("gpg", "--homedir", paths.MIRROR / "gnupg", "--dearmor", "--output", keyring, repository / "Release.key")
    release = output("gpgv", "--keyring", keyring, "--output", "-", repository / "InRelease")
    assert "Origin: Kubeproof" in release
    assert "Package: kubeadm" in (repository / "Packages").read_text()
    assert (paths.MIRROR / "gnupg").stat().st_mode & 0o077 == 0


def test_the_key_stays_when_the_packages_change(debs: tuple[Path, ...], repository: Path) -> None:
    apt.ensure(debs, repository)
    before = apt.signing_key()
    assert apt.ensure(debs[:1], repository) == 1
    assert apt.signing_key() == before
    assert len(list(repository.glob("*.deb"))) == 1


def test_files_have_the_names_that_archives_give_them() -> None:
    # What apt calls a download with an epoch cannot be asked for: %3a is read as a colon.
    assert apt.plain_name("vim-tiny_2%3a9.0.1378-2_amd64.deb") == "vim-tiny_9.0.1378-2_amd64.deb"
    assert apt.plain_name("docker.io_20.10.24+dfsg1-1_amd64.deb") == "docker.io_20.10.24+dfsg1-1_amd64.deb"
