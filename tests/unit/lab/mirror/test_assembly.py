"""Layers and configuration of images."""

import dataclasses
from pathlib import Path

import pytest

from lab.mirror import assembly, catalogue, images
from lab.mirror.images import Image
from lab.mirror.kubernetes import Build

IMAGE = Image(name="x", content="1", base=Path("/cache/base-layer/abc/layer.tar"), entrypoint=("/x",))


@pytest.mark.parametrize("change", [{"content": "2"}, {"base": None}, {"user": "1:1"}, {"env": {"A": "b"}}])
def test_the_tag_follows_everything(change: dict[str, object]) -> None:
    assert assembly.tag_of(dataclasses.replace(IMAGE, **change)) != assembly.tag_of(IMAGE)  # type: ignore[arg-type]


def test_a_layer_has_each_folder_once_and_is_the_same_whenever_made(tmp_path: Path) -> None:
    program, text = tmp_path / "program", tmp_path / "text"
    program.write_text("x")
    program.chmod(0o700)
    text.write_text("yy")
    members = [member for member, _ in assembly.files_layer([("/opt/b/text", text), ("/opt/a", program)])]
    assert [member.name for member in members] == ["opt", "opt/a", "opt/b", "opt/b/text"]
    assert [member.mode for member in members] == [0o755, 0o755, 0o755, 0o644]
    assert {(member.uid, member.gid, member.mtime) for member in members} == {(0, 0, 1610496000)}


def test_words_of_the_entrypoint_stay_apart() -> None:
    options = assembly.config_options(dataclasses.replace(IMAGE, entrypoint=("/x", "-a b"), env={"PATH": "/only"}))
    assert "--config.entrypoint=/x" in options
    assert "--config.entrypoint=-a b" in options
    assert [option for option in options if "PATH" in option] == ["--config.env=PATH=/only"]


def test_the_catalogue_has_every_image_that_is_referred_to() -> None:
    build = Build(Path("/cache/kubernetes/k"), "k", "1.20.2-1", "1.20.2")
    content = catalogue.catalogue(build, Path("/cache/pause/p/pause"), Path("/cache/base-layer/b/layer.tar"))
    assert {image.name for image in content} == set(images.tags())
    without_base = {image.name for image in content if image.base is None}
    assert without_base == {*images.STATIC_BINARIES, "pause"}
