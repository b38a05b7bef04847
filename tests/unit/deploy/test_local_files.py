import base64
import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from pyinfra.api.exceptions import DeployError

from kubeproof.config.settings import parse
from kubeproof.config.tables import cri_dockerd
from kubeproof.deploy import local_files
from kubeproof.deploy.local_files import ARMOUR, armoured_key
from tests.unit.samples import SETTINGS


def test_key_from_a_file(tmp_path: Path) -> None:
    key = tmp_path / "key.asc"
    key.write_text(f"{ARMOUR}\n")
    assert armoured_key("kubernetes_apt_key", str(key), "") == f"{ARMOUR}\n"


def test_url_that_cannot_be_fetched() -> None:
    with pytest.raises(
        DeployError, match=r"kubernetes_apt_key: http://127\.0\.0\.1:1/key cannot be had \(\[Errno 111\]"
    ):
        armoured_key("kubernetes_apt_key", "http://127.0.0.1:1/key", "")


@pytest.mark.parametrize("content", [b"no key", b"\x99\x01"])
def test_what_is_no_key(tmp_path: Path, content: bytes) -> None:
    key = tmp_path / "key"
    key.write_bytes(content)
    with pytest.raises(DeployError, match="is not an ASCII-armoured key; export it with gpg --armor"):
        armoured_key("kubernetes_apt_key", str(key), "")


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(DeployError, match="correct the setting"):
        armoured_key("kubernetes_apt_key", str(tmp_path / "absent"), "")


class TestFingerprint:
    """A key is the one that is known, or no host is given it."""

    PACKET = b"\x98\x03\x04AB"
    OWN = hashlib.sha1(b"\x99\x00\x03\x04AB", usedforsecurity=False).hexdigest().upper()

    def key(self, folder: Path, *packets: bytes) -> str:
        path = folder / "key.asc"
        body = base64.b64encode(b"".join(packets)).decode()
        path.write_text(f"{ARMOUR}\n\n{body}\n-----END PGP PUBLIC KEY BLOCK-----\n")
        return str(path)

    def test_the_pinned_key(self, tmp_path: Path) -> None:
        key = self.key(tmp_path, self.PACKET)
        assert ARMOUR in armoured_key("kubernetes_apt_key", key, self.OWN)

    def test_another_key_is_refused_with_both(self, tmp_path: Path) -> None:
        key, wanted = self.key(tmp_path, self.PACKET), "0" * 40
        with pytest.raises(DeployError, match=rf"{key} has the fingerprint {self.OWN}, not {wanted}"):
            armoured_key("kubernetes_apt_key", key, wanted)

    def test_a_second_key_beside_the_pinned_one_is_refused(self, tmp_path: Path) -> None:
        key = self.key(tmp_path, self.PACKET, b"\x98\x03\x04CD")
        with pytest.raises(DeployError, match=r"kubernetes_rpm_key_fingerprint: .* has the fingerprint .*, .*, not"):
            armoured_key("kubernetes_rpm_key", key, self.OWN)

    def test_what_cannot_be_read_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(DeployError, match="cannot be read as an OpenPGP key"):
            armoured_key("kubernetes_apt_key", self.key(tmp_path, b"\x00"), self.OWN)


class TestCriDockerd:
    """The archive is cri-dockerd's release, or nothing is taken of it."""

    @pytest.fixture
    def archive(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        path = tmp_path / "archive-amd64.tgz"
        with tarfile.open(path, "w:gz") as tar:
            member = tarfile.TarInfo(cri_dockerd.MEMBER)
            member.size = 3
            tar.addfile(member, io.BytesIO(b"ELF"))
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setitem(cri_dockerd.SHA256, "amd64", hashlib.sha256(path.read_bytes()).hexdigest())
        return path

    def test_the_program_is_kept(self, archive: Path) -> None:
        wanted = replace(parse(SETTINGS), cri_dockerd_archive=str(archive).replace("amd64", "{arch}"))
        program = local_files.cri_dockerd(wanted, "amd64")
        assert program.read_bytes() == b"ELF"
        archive.unlink()
        local_files.cri_dockerd.cache_clear()
        assert local_files.cri_dockerd(wanted, "amd64") == program

    @pytest.mark.parametrize("of", ["", ".tgz"], ids=["program", "archive"])
    def test_what_somebody_has_changed_in_the_cache_is_not_used(self, archive: Path, of: str) -> None:
        wanted = replace(parse(SETTINGS), cri_dockerd_archive=str(archive))
        program = local_files.cri_dockerd(wanted, "amd64")
        program.with_name(f"{program.name}{of}").write_bytes(b"another")
        local_files.cri_dockerd.cache_clear()
        assert local_files.cri_dockerd(wanted, "amd64").read_bytes() == b"ELF"

    def test_another_archive_is_refused(self, archive: Path) -> None:
        archive.write_bytes(b"something else")
        wanted = replace(parse(SETTINGS), cri_dockerd_archive=str(archive))
        with pytest.raises(DeployError, match=r"is not cri-dockerd .* its SHA-256 is .*, not .*; name that release's"):
            local_files.cri_dockerd(wanted, "amd64")

    def test_a_cache_that_cannot_be_written_is_one_line(
        self, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
        wanted = replace(parse(SETTINGS), cri_dockerd_archive=str(archive))
        with pytest.raises(DeployError, match=r"cri-dockerd: cannot be kept in .* \(Not a directory\)"):
            local_files.cri_dockerd(wanted, "amd64")

    def test_an_architecture_without_one(self) -> None:
        with pytest.raises(DeployError, match="there is none for riscv64; use containerd"):
            local_files.cri_dockerd(parse(SETTINGS), "riscv64")
