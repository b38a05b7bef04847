"""Images of others that a user has put into the lab's registry, such as flannel's and Calico's: kept over rebuilds.

What comes from another registry is fetched by its digest, which is pinned when that is done first.
"""

import hashlib
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kubeproof.config import reading
from kubeproof.config.reading import RefusedError
from kubeproof.networks.references import without_registry
from kubeproof.terminal import atomic_files
from kubeproof.terminal.console import step
from kubeproof.terminal.errors import UserError
from lab import paths, shell
from lab.mirror import pins
from lab.mirror.registry import Shelf

if TYPE_CHECKING:
    from lab.settings import LabSettings

NAMES = "names.json"
"""Beside the layout's own files: its tags, each with the image's path and tag, such as calico/cni:v3.24.5."""
REGISTRY = "docker://"
"""Transport of containers-transports(5) for what a registry has."""
HOW = (
    "write it as REGISTRY/PATH:TAG, as FILE (docker save), or as REGISTRY/PATH:TAG=FILE (docker-archive, OCI archive "
    "or OCI folder)"
)


@dataclass(frozen=True)
class Addition:
    """An image and where skopeo finds it (containers-transports(5))."""

    name: str
    source: str


def layout() -> Path:
    return paths.CACHE / "added"


def shelf(lab: "LabSettings") -> Shelf:
    """What was added, with its references in the lab's registry, named as the deploy names them there."""
    return Shelf(layout(), {tag: f"{lab.registry}/{name}" for tag, name in _names().items()})


def add(words: Sequence[str], folder: Path) -> int:
    """Copy images into the layout; returns how many. Raises UserError with all that is wrong with the words.

    Paths in them are relative to ``folder``.
    """
    additions = parse(words, folder)
    pinned = pins.read(pins.FILE)
    layout().mkdir(parents=True, exist_ok=True)
    for addition in additions:
        with step(f"image {addition.name}"):
            if addition.source.startswith(REGISTRY):
                _fetch(addition, pinned.get(addition.name, ""))
            else:
                _copy(addition.source, addition.name)
            _remember(addition.name)
    return len(additions)


def _fetch(addition: Addition, digest: str) -> None:
    """Copy an image from its registry by its digest, so that the content is held against that; pin it if it is not."""
    asking = ["skopeo", "inspect", "--no-tags", "--format", "{{.Digest}}", addition.source]
    wanted = digest or shell.run(asking).strip()
    _copy(f"{addition.source.rpartition(':')[0]}@{wanted}", addition.name)
    if not digest:
        pins.add(pins.FILE, addition.name, wanted)


def _copy(source: str, name: str) -> None:
    # A proxy of the environment is used. Of an image for several machines it takes the one for this one.
    words = ["skopeo", "copy", "--quiet", source, f"oci:{layout()}:{tag_of(name)}"]
    shell.run(words, timeout=shell.BUILD_SECONDS)


def parse(words: Sequence[str], folder: Path) -> list[Addition]:
    """What the words of a command line name. Raises UserError with a line for each that names nothing."""
    found: list[Addition] = []
    problems: list[str] = [] if words else [f"IMAGE: none is named, {HOW}"]
    for word in words:
        try:
            found += _additions(word, folder)
        except RefusedError as refused:
            problems.append(refused.line("IMAGE", word))
    if problems:
        raise UserError(problems)
    return found


def tag_of(name: str) -> str:
    """Its tag in the layout, where not every name could be one."""
    return f"added-{hashlib.sha256(without_registry(name).encode()).hexdigest()[:12]}"


def _additions(word: str, folder: Path) -> Iterator[Addition]:
    name, equals, file = word.partition("=")
    if equals:
        yield Addition(_checked(name), _transport(folder / Path(file).expanduser()))
    elif _looks_like_file(word, folder):
        path = folder / Path(word).expanduser()
        source = _transport(path)
        names = list(_tags_in(path)) if source.startswith("docker-archive:") else []
        if not names:
            raise RefusedError("does not say what its image is called", "write it as REGISTRY/PATH:TAG=FILE")
        yield from (Addition(_checked(item), f"{source}:{item}") for item in names)
    else:
        yield Addition(_checked(word), f"{REGISTRY}{word}")


def _looks_like_file(word: str, folder: Path) -> bool:
    return (
        word.startswith(("/", "./", "../", "~/"))
        or word.endswith((".tar", ".tar.gz", ".tgz"))
        or (folder / word).exists()
    )


def _checked(name: str) -> str:
    reading.image(name)
    if "@" in name:
        raise RefusedError("is named by a digest, which a copy in another form has not", "name it by its tag")
    if ":" not in name.rpartition("/")[2]:
        raise RefusedError("has no tag", HOW)
    return name


def _transport(path: Path) -> str:
    if path.is_dir():
        if (path / "oci-layout").is_file():
            return f"oci:{path}"
        raise RefusedError("is a folder without oci-layout", HOW)
    try:
        with tarfile.open(path) as archive:
            members = {member.name.removeprefix("./") for member in archive}
    except (OSError, tarfile.TarError) as error:
        reason = "not a tar file" if isinstance(error, tarfile.TarError) else error.strerror
        raise RefusedError(f"cannot be read as an archive of an image: {reason}", HOW) from None
    # What docker save writes since version 25 is both.
    for member, transport in (("manifest.json", "docker-archive"), ("oci-layout", "oci-archive")):
        if member in members:
            return f"{transport}:{path}"
    raise RefusedError("is no archive of an image", HOW)


def _tags_in(path: Path) -> Iterable[str]:
    """Names of the images of a docker-archive (RepoTags of its manifest.json)."""
    with tarfile.open(path) as archive:
        member = next(item for item in archive if item.name.removeprefix("./") == "manifest.json")
        text = archive.extractfile(member)
        manifests = json.loads(text.read()) if text else []
    return [tag for manifest in manifests for tag in manifest.get("RepoTags") or ()]


def names() -> set[str]:
    """Path and tag of each image that was added."""
    return set(_names().values())


def _names() -> dict[str, str]:
    file = layout() / NAMES
    if not file.is_file():
        return {}
    found: dict[str, str] = json.loads(file.read_text())
    return found


def _remember(name: str) -> None:
    """After the copy: what is named here is there."""
    names = {**_names(), tag_of(name): without_registry(name)}
    atomic_files.write(layout() / NAMES, json.dumps(names, indent=2, sort_keys=True) + "\n", mode=0o644)
