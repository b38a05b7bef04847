"""Images that a user puts into the lab's registry: what words name, and what is kept."""

import io
import json
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from kubeproof.terminal.errors import UserError
from lab import paths, settings, shell
from lab.mirror import additions, daemons, pins, registry, service
from lab.mirror.additions import Addition, parse
from lab.settings import LabSettings

NAME = "docker.io/calico/cni:v1"
DIGEST = f"sha256:{'0' * 64}"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabSettings:
    """The lab as it comes, with a cache of the test's own."""
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(paths, "RUN", tmp_path / "run")
    monkeypatch.setattr(pins, "FILE", tmp_path / "images.lock")
    return settings.parse(settings.read_file(settings.FILE), {})


def archive(path: Path, **members: object) -> Path:
    """A tar file with members of JSON; a double underscore in a name is a dot."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            data = content if isinstance(content, bytes) else json.dumps(content).encode()
            member = tarfile.TarInfo(name.replace("__", "."))
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def docker_archive(path: Path, *tags: str) -> Path:
    """What docker save writes: an image with an empty layer."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w"):
        pass
    diff = __import__("hashlib").sha256(layer.getvalue()).hexdigest()
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff}"]},
    }
    manifest = [{"Config": "config.json", "RepoTags": list(tags), "Layers": ["layer.tar"]}]
    return archive(path, config__json=config, layer__tar=layer.getvalue(), manifest__json=manifest)


def test_from_a_registry(tmp_path: Path) -> None:
    assert parse([NAME], tmp_path) == [Addition(NAME, f"docker://{NAME}")]


def test_files_by_what_is_in_them(tmp_path: Path) -> None:
    saved = docker_archive(tmp_path / "saved.tar", NAME, "quay.io/coreos/flannel:v2")
    oci = archive(tmp_path / "oci.tar", **{"oci-layout": {}})
    folder = tmp_path / "layout"
    folder.mkdir()
    (folder / "oci-layout").write_text("{}")
    assert parse(["saved.tar"], tmp_path) == [
        Addition(NAME, f"docker-archive:{saved}:{NAME}"),
        Addition("quay.io/coreos/flannel:v2", f"docker-archive:{saved}:quay.io/coreos/flannel:v2"),
    ]
    words = [f"{NAME}=saved.tar", f"{NAME}={oci}", f"{NAME}=layout"]
    sources = [f"docker-archive:{saved}", f"oci-archive:{oci}", f"oci:{folder}"]
    assert parse(words, tmp_path) == [Addition(NAME, source) for source in sources]


def test_what_names_nothing_is_said_all_at_once(tmp_path: Path) -> None:
    archive(tmp_path / "other.tar", a={})
    archive(tmp_path / "oci.tar", **{"oci-layout": {}})
    (tmp_path / "text.tar").write_text("no tar")
    (tmp_path / "folder").mkdir()
    words = ["two words:1", "a/b", f"a/b@sha256:{'0' * 64}", "absent.tar", "other.tar", "text.tar", "folder", "oci.tar"]
    with pytest.raises(UserError) as error:
        parse(words, tmp_path)
    said = [line.partition(": ")[2].partition(" (")[0] for line in error.value.problems]
    assert said == [
        "is not an image reference",
        "has no tag",
        "is named by a digest, which a copy in another form has not",
        "cannot be read as an archive of an image: No such file or directory",
        "is no archive of an image",
        "cannot be read as an archive of an image: not a tar file",
        "is a folder without oci-layout",
        "does not say what its image is called",
    ]
    assert all("\n" not in line for line in error.value.problems)
    with pytest.raises(UserError, match="none is named"):
        parse([], tmp_path)


def test_they_are_kept_and_served_beside_the_labs_own(lab: LabSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def run(words: list[object], **_: object) -> str:
        commands.append([str(word) for word in words])
        return DIGEST if "inspect" in words else ""

    monkeypatch.setattr(shell, "run", run)
    monkeypatch.setattr(daemons, "running_pid", lambda _daemon: None)
    assert additions.shelf(lab).images == {}
    assert service.add(lab, [NAME, "ghcr.io/flannel-io/flannel:v2"], Path("/")) == 2
    copied = [words[-2] for words in commands if "copy" in words]
    assert copied == [f"docker://docker.io/calico/cni@{DIGEST}", f"docker://ghcr.io/flannel-io/flannel@{DIGEST}"]
    assert sorted(additions.shelf(lab).images.values()) == [
        f"{lab.registry}/calico/cni:v1",
        f"{lab.registry}/flannel-io/flannel:v2",
    ]
    commands.clear()
    monkeypatch.setattr(daemons, "running_pid", lambda _daemon: 1)
    service.add(lab, [NAME], Path("/"))
    assert f"docker://{lab.registry}/calico/cni:v1" in [words[-1] for words in commands]


@pytest.mark.skipif(not shutil.which("skopeo"), reason="skopeo is not installed")
def test_an_archive_for_real(lab: LabSettings, tmp_path: Path) -> None:
    saved = docker_archive(tmp_path / "saved.tar", NAME)
    assert additions.add([str(saved)], tmp_path) == 1
    assert additions.add([f"quay.io/other/name:v9={saved}"], tmp_path) == 1
    digests = additions.shelf(lab).digests()
    assert digests.keys() == {f"{lab.registry}/calico/cni:v1", f"{lab.registry}/other/name:v9"}
    done: Any = subprocess.run(
        ["skopeo", "inspect", "--raw", f"oci:{additions.layout()}:{additions.tag_of(NAME)}"],
        capture_output=True,
        check=True,
    )
    assert json.loads(done.stdout)["layers"]
    assert registry.is_outdated(digests, digests) is False
