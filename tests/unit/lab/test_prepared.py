"""The root filesystem with packages and images: made once for what the mirror serves, anew when that changes."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from kubeproof.node.images import images_for
from lab import container, group_data, prepared, rootfs, trees
from lab.settings import FILE, parse, read_file
from lab.systems import DEFAULT

LAB = parse(read_file(FILE), {})


class Mirror:
    """A mirror and a plain root filesystem below a folder; programs that are run in a copy of that are noted."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.runs = folder, list[Sequence[str]]()
        self.held = {image: f"sha256:{number}" for number, image in enumerate(self.wanted())}
        for name in ("kubernetes", "debian"):
            (folder / name).mkdir()
            (folder / name / "Packages").write_text(name)
            (folder / name / "Release.key").write_text("a key")
        for place in ("etc/apt", "usr/lib"):
            (folder / "plain" / place).mkdir(parents=True)
        monkeypatch.setattr(prepared, "APT_REPOSITORY", folder / "kubernetes")
        monkeypatch.setattr(prepared, "APT_ROOT", folder)
        (folder / "plain/usr/lib/os-release").touch()
        monkeypatch.setattr(prepared, "SHARED", folder / "shared")
        monkeypatch.setattr("lab.paths.CACHE", folder / "cache")
        monkeypatch.setattr(rootfs, "key", lambda _: "abc")
        monkeypatch.setattr(rootfs, "ensure", lambda _: folder / "plain")
        monkeypatch.setattr("lab.mirror.registry.held_by", lambda _: self.held)
        monkeypatch.setattr(container, "run_program", self.run)

    @staticmethod
    def wanted() -> list[str]:
        settings = group_data.settings()
        return sorted({*images_for("control-plane", settings, ()), *images_for("worker", settings, ())})

    def run(self, root: Path, _program: Path, words: Sequence[str]) -> None:
        (root / "made").write_text((root / "etc/apt/sources.list").read_text())
        self.runs.append(words)


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mirror:
    return Mirror(tmp_path, monkeypatch)


def test_it_is_made_once_with_what_the_deploy_wants_and_the_mirror_has(mirror: Mirror) -> None:
    missing = mirror.wanted()[0]
    del mirror.held[missing]
    folder = prepared.ensure(LAB, DEFAULT)
    assert prepared.ensure(LAB, DEFAULT) == folder
    ((runtime, registry, packages, images),) = mirror.runs
    assert (runtime, registry) == ("docker", LAB.registry)
    assert {"docker.io", "kubelet=1.20.2-*", "tcpdump"} <= set(packages.split())
    assert set(mirror.wanted()) - {missing} == set(images.split())
    lines = (folder / "root/made").read_text().splitlines()
    assert [line.split("] ")[1] for line in lines] == [f"{LAB.apt_url}/{name}/ /" for name in ("kubernetes", "debian")]


@pytest.mark.parametrize("change", ["packages", "images", "root", "program"])
def test_other_content_makes_it_anew_and_the_old_one_goes(
    mirror: Mirror, change: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = prepared.ensure(LAB, DEFAULT)
    if change == "packages":
        (mirror.folder / "debian/Packages").write_text("newer")
    elif change == "images":
        mirror.held[mirror.wanted()[0]] = "sha256:other"
    elif change == "root":
        monkeypatch.setattr(rootfs, "key", lambda _: "def")
    else:
        monkeypatch.setattr(prepared, "PROGRAM", tmp_path / "program")
        (tmp_path / "program").write_text("other")
    assert prepared.ensure(LAB, DEFAULT) != old
    assert not old.exists()


def test_what_others_have_in_the_registry_makes_no_difference(mirror: Mirror) -> None:
    folder = prepared.ensure(LAB, DEFAULT)
    mirror.held[f"{LAB.registry}/other:1"] = "sha256:other"
    assert prepared.ensure(LAB, DEFAULT) == folder


def test_it_is_closed_to_other_users(mirror: Mirror) -> None:
    assert prepared.ensure(LAB, DEFAULT).parent.stat().st_mode & 0o777 == 0o700


def test_its_usr_is_shared_and_stays_when_the_cache_goes(mirror: Mirror) -> None:
    folder = prepared.ensure(LAB, DEFAULT)
    assert [path.name for path in (folder / "root/usr").rglob("*")] == ["lib", "os-release"]
    trees._remove(mirror.folder / "cache")
    assert (mirror.folder / "shared" / folder.name / "usr/lib/os-release").is_file()


def test_what_is_shared_may_lie_on_another_file_system_than_the_cache(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm") as other:
        monkeypatch.setattr(prepared, "SHARED", Path(other))
        assert Path(other).stat().st_dev != mirror.folder.stat().st_dev
        folder = prepared.ensure(LAB, DEFAULT)
        assert sorted(path.name for path in (Path(other) / folder.name).iterdir()) == ["usr"]
        assert (Path(other) / folder.name / "usr/lib/os-release").is_file()
