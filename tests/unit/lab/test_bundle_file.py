"""The file of a bundle: what is written is read again, and nothing of a file that is wrong in any way is believed."""

import gzip
import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from kubeproof.terminal.errors import UserError
from lab import bundle_file
from lab.bundle_file import ABOUT, About, File

CONTENT = {"debian/0/pool/a_1%3a2+b~c_all.deb": b"package", "cache/images/blobs/sha256/00": b"layer" * 1000}


def about_of(files: Mapping[str, Path]) -> About:
    listed = {name: bundle_file.file_of(path) for name, path in files.items()}
    return About("0.1.0", "2026-01-01 00:00", "amd64", ("debian-12",), ("calico/cni:v1",), listed)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    found = {}
    for number, (name, content) in enumerate(CONTENT.items()):
        found[name] = tmp_path / f"file{number}"
        found[name].write_bytes(content)
    found["cache/images/blobs/sha256/00"].chmod(0o755)
    return found


@pytest.fixture
def bundle(tmp_path: Path, files: dict[str, Path]) -> Path:
    bundle_file.write(tmp_path / "bundle", about_of(files), files)
    return tmp_path / "bundle"


def unpack(file: Path, target: Path) -> None:
    bundle_file.unpack(file, bundle_file.read_about(file), target)


def refusal(file: Path, target: Path) -> str:
    with pytest.raises(UserError) as error:
        unpack(file, target)
    (line,) = error.value.problems
    assert line.startswith(f"{file}: ")
    assert "\n" not in line
    return line


def members_changed(file: Path, change: Callable[[tarfile.TarInfo, bytes], tuple[tarfile.TarInfo, bytes]]) -> None:
    """Write a bundle anew with other members."""
    with tarfile.open(file) as tar:
        members = [(member, (tar.extractfile(member) or io.BytesIO()).read()) for member in tar]
    with tarfile.open(file, "w:gz") as tar:
        for member, content in members:
            new, data = change(member, content)
            tar.addfile(new, io.BytesIO(data))


def about_changed(file: Path, change: Callable[[dict[str, object]], object]) -> None:
    def changed(member: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
        if member.name == ABOUT:
            about = json.loads(content)
            change(about)
            content = json.dumps(about).encode()
            member.size = len(content)
        return member, content

    members_changed(file, changed)


def test_what_is_written_is_read_again(bundle: Path, files: dict[str, Path], tmp_path: Path) -> None:
    about = bundle_file.read_about(bundle)
    assert about == about_of(files)
    assert about.size == sum(len(content) for content in CONTENT.values())
    unpack(bundle, tmp_path / "target")
    found = {path.relative_to(tmp_path / "target").as_posix() for path in (tmp_path / "target").rglob("*.*")}
    assert found == {"debian/0/pool/a_1%3a2+b~c_all.deb"}
    for name, content in CONTENT.items():
        assert (tmp_path / "target" / name).read_bytes() == content
        assert (tmp_path / "target" / name).stat().st_mode & 0o777 == files[name].stat().st_mode & 0o777


def test_other_files_are_no_bundles(tmp_path: Path) -> None:
    text, tar = tmp_path / "text", tmp_path / "tar"
    text.write_text("text")
    assert "not a bundle" in refusal(text, tmp_path / "x")
    text.write_bytes(b"")
    assert "not a bundle" in refusal(text, tmp_path / "x")
    text.write_bytes(gzip.compress(b"text"))
    assert "not a bundle" in refusal(text, tmp_path / "x")
    with tarfile.open(tar, "w:gz") as archive:
        archive.add(text, "file")
    assert "not a bundle" in refusal(tar, tmp_path / "x")
    with tarfile.open(tar, "w:gz") as archive:
        archive.add(text, ABOUT)
    assert "not a bundle" in refusal(tar, tmp_path / "x")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_a_cut_file_is_told(bundle: Path, tmp_path: Path, share: float) -> None:
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[: int(len(whole) * share)])
    assert "is cut" in refusal(bundle, tmp_path / "x")


def test_another_format_is_told_with_its_number(bundle: Path, tmp_path: Path) -> None:
    about_changed(bundle, lambda about: about.update(format=7))
    assert "has format 7, this version reads 1" in refusal(bundle, tmp_path / "x")


@pytest.mark.parametrize(
    "changes",
    [
        {"files": ["a"]},
        {"files": {"debian/a": {"size": -1, "sha256": "0" * 64}}},
        {"files": {"debian/a": {"size": "1", "sha256": "0" * 64}}},
        {"files": {"debian/a": {"size": 1, "sha256": "0"}}},
        {"files": {"debian/a": {"size": 1}}},
        {"files": {"debian/a": 1}},
        {"made": 1},
        {"made": "a\nb"},
        {"systems": "debian-12"},
        {"images": [1]},
    ],
)
def test_a_list_that_no_bundle_has_is_refused(bundle: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    about_changed(bundle, lambda about: about.update(changes))
    assert "is not a bundle" in refusal(bundle, tmp_path / "x")


@pytest.mark.parametrize(
    "name",
    [
        *(
            "/etc/passwd",
            "../x",
            "debian/../../x",
            "debian/..",
            "debian/./a",
            "debian//a",
            "debian",
            "x",
            "bundle.json",
        ),
        *("cache/a\\b", "cache/a\nb", "cache/a\0b", "cache/"),
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(bundle: Path, tmp_path: Path, name: str) -> None:
    about_changed(bundle, lambda about: about["files"].update({name: {"size": 0, "sha256": "0" * 64}}))  # type: ignore[attr-defined]
    assert "is not a bundle" in refusal(bundle, tmp_path / "x")
    assert not (tmp_path / "x").exists()


def renamed(member: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    if member.name != ABOUT:
        member.name = "../../escaped"
    return member, content


def a_device(member: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    if member.name == ABOUT:
        return member, content
    device = tarfile.TarInfo(member.name)
    device.type = tarfile.BLKTYPE
    return device, b""


def longer(member: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
    if member.name != ABOUT:
        member.size, content = len(content) + 1, content + b"x"
    return member, content


@pytest.mark.parametrize("change", [renamed, a_device, longer])
def test_members_that_the_list_does_not_have_are_refused(
    bundle: Path,
    tmp_path: Path,
    change: Callable[[tarfile.TarInfo, bytes], tuple[tarfile.TarInfo, bytes]],
) -> None:
    (tmp_path / "deep").mkdir()
    members_changed(bundle, change)
    assert "is not what its list says" in refusal(bundle, tmp_path / "deep" / "x")
    assert not list(tmp_path.rglob("escaped"))


def test_a_link_is_refused(bundle: Path, tmp_path: Path) -> None:
    def change(member: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
        if member.name != ABOUT:
            member.type, member.linkname, member.size, content = tarfile.SYMTYPE, "/etc", 0, b""
        return member, content

    members_changed(bundle, change)
    assert "is not what its list says" in refusal(bundle, tmp_path / "x")
    assert not list((tmp_path / "x").rglob("*"))


def test_a_sum_that_differs_is_told_with_the_file(bundle: Path, tmp_path: Path) -> None:
    def change(member: tarfile.TarInfo, content: bytes) -> tuple[tarfile.TarInfo, bytes]:
        return member, content.replace(b"package", b"PACKAGE")

    members_changed(bundle, change)
    assert "debian/0/pool/a_1%3a2+b~c_all.deb has another SHA-256" in refusal(bundle, tmp_path / "x")


def test_a_file_that_is_missing_is_told(bundle: Path, files: dict[str, Path], tmp_path: Path) -> None:
    more = {**about_of(files).files, "debian/absent": File(1, "0" * 64)}
    with pytest.raises(UserError, match="1 of 3 files are missing"):
        bundle_file.unpack(bundle, replace(about_of(files), files=more), tmp_path / "x")
