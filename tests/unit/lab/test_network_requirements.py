"""Before the lab is made it is known whether it can have the pod network that is set."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest

from kubeproof.config.settings import Settings
from kubeproof.terminal.errors import UserError
from lab import network_requirements, paths, settings
from lab.mirror import additions
from lab.settings import LabSettings
from tests.unit.networks import made_up
from tests.unit.node.example import cluster

IMAGES = ("example.net/flannel-io/plugin:v1", "example.net/flannel-io/flannel:v1")


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabSettings:
    """The lab as it comes, with a cache of the test's own."""
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    return settings.parse(settings.read_file(settings.FILE), {})


def flannel(folder: Path, repository: str) -> Settings:
    manifest = folder / "flannel.yaml"
    manifest.write_text(made_up.FLANNEL)
    return replace(
        cluster(cni="flannel").settings,
        cni_image_repository=repository,
        cni_manifest=str(manifest),
        cni_manifest_sha256=hashlib.sha256(manifest.read_bytes()).hexdigest(),
    )


def add(*images: str) -> None:
    """As additions.add leaves them behind."""
    additions.layout().mkdir(parents=True, exist_ok=True)
    names = {additions.tag_of(image): image.partition("/")[2] for image in images}
    (additions.layout() / additions.NAMES).write_text(json.dumps(names))


def test_what_is_missing_is_told_with_the_command_that_adds_it(lab: LabSettings, tmp_path: Path) -> None:
    add(IMAGES[0])
    with pytest.raises(UserError) as caught:
        network_requirements.check(lab, flannel(tmp_path, lab.registry))
    (line,) = caught.value.problems
    assert f"lacks {IMAGES[1]}, so" in line
    assert f"./inv mirror.add {IMAGES[1]}" in line


def test_with_all_images_there_is_nothing_to_say(lab: LabSettings, tmp_path: Path) -> None:
    add(*IMAGES)
    network_requirements.check(lab, flannel(tmp_path, lab.registry))


def test_a_registry_that_is_not_the_labs_is_not_judged_by_its_cache(lab: LabSettings, tmp_path: Path) -> None:
    network_requirements.check(lab, flannel(tmp_path, "r.example:5000"))


def test_a_manifest_that_is_not_the_one_meant_is_refused(lab: LabSettings, tmp_path: Path) -> None:
    wanted = replace(flannel(tmp_path, lab.registry), cni_manifest_sha256="0" * 64)
    with pytest.raises(UserError, match=r"has SHA-256 .*, expected 0000"):
        network_requirements.check(lab, wanted)


def test_podnet_needs_nothing(lab: LabSettings) -> None:
    network_requirements.check(lab, cluster().settings)
