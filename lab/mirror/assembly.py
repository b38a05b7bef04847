"""Images put together from layers with umoci, in one OCI layout where equal layers are kept once."""

import json
import tarfile
import tempfile
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from kubeproof.terminal.console import step
from lab import paths, shell
from lab.mirror import cache
from lab.mirror.images import AGENT_IMAGES, Image, is_executable
from lab.mirror.registry import layout_digests

CREATED = "2021-01-13T00:00:00Z"
"""Date in every image's history (Kubernetes 1.20.2's day): the time of building would make equal images differ."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PARTIAL = "partial-"
_CREATED_SECONDS = int(datetime.fromisoformat(CREATED).timestamp())
_HISTORY = ("--history.created", CREATED, "--history.created_by", "kubeproof")
_RECIPE = 1


def layout() -> Path:
    return paths.CACHE / "images"


def tag_of(image: Image) -> str:
    """Its name in the layout: the content decides it."""
    base = image.base.parent.name if image.base else ""
    shape = (image.entrypoint, dict(image.env), image.user)
    return f"{image.name}-{cache.key(_RECIPE, image.content, base, shape)}"


def ensure(images: Iterable[Image]) -> int:
    """Make the images that the layout lacks and forget those that nobody wants; returns how many were made."""
    wanted = {tag_of(image): image for image in images}
    present = _present()
    missing = [image for tag, image in wanted.items() if tag not in present]
    if missing:
        with step(f"images {', '.join(image.name for image in missing)}"):
            for image in missing:
                _make(image)
            bases = {_base_tag(image.base) for image in wanted.values() if image.base}
            _forget(_present().keys() - wanted.keys() - bases)
    return len(missing)


def files_layer(files: Iterable[tuple[str, Path]]) -> Iterable[tuple[tarfile.TarInfo, Path | None]]:
    """Members of a layer with these files and their folders, owned by root, with equal dates whoever makes it."""
    folders: set[str] = set()
    for target, source in sorted(files):
        relative = target.lstrip("/")
        for parent in reversed(Path(relative).parents[:-1]):
            if parent.as_posix() not in folders:
                folders.add(parent.as_posix())
                yield _folder(parent.as_posix()), None
        yield _file(relative, source), source


def config_options(image: Image) -> list[str]:
    environment = {"PATH": PATH, **image.env}
    options = [f"--config.env={name}={text}" for name, text in environment.items()]
    options += [f"--config.entrypoint={word}" for word in image.entrypoint]
    options += [f"--config.user={image.user}"] if image.user else []
    return [*options, f"--created={CREATED}", "--author=Kubeproof"]


def remove_partials() -> None:
    for tag in _present():
        if tag.startswith(PARTIAL):
            _remove_tag(tag)


def ensure_base(layer: Path) -> int:
    """Bring the base layer into the layout, compressed; returns 1 if it was not there, else 0."""
    tag = _base_tag(layer)
    if tag in _present():
        return 0
    with step("base layer of the images: compression"):
        partial = _new(tag)
        _add_layer(partial, layer)
        _rename(partial, tag)
    return 1


def _make(image: Image) -> None:
    partial = _copy_of_base(image) if image.base else _new(tag_of(image))
    if image.files:
        with tempfile.NamedTemporaryFile(dir=paths.CACHE, suffix=".tar") as layer:
            with tarfile.open(layer.name, "w", format=tarfile.PAX_FORMAT) as tar:
                _fill(tar, image.files)
            _add_layer(partial, Path(layer.name))
    _umoci("config", partial, *config_options(image), *_HISTORY)
    _rename(partial, tag_of(image))


def _fill(tar: tarfile.TarFile, files: Iterable[tuple[str, Path]]) -> None:
    for member, source in files_layer(files):
        if source is None:
            tar.addfile(member)
        else:
            with source.open("rb") as content:
                tar.addfile(member, content)


def _folder(path: str) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.type, member.mode, member.mtime = tarfile.DIRTYPE, 0o755, _CREATED_SECONDS
    return member


def _file(path: str, source: Path) -> tarfile.TarInfo:
    member = tarfile.TarInfo(path)
    member.size, member.mtime = source.stat().st_size, _CREATED_SECONDS
    member.mode = 0o755 if is_executable(source) else 0o644
    return member


def _new(tag: str) -> str:
    """An empty image under a name that says it is not finished."""
    if not (layout() / "index.json").is_file():
        cache.remove(layout())
        layout().parent.mkdir(parents=True, exist_ok=True)
        shell.run(["umoci", "init", "--layout", layout()])
    partial = f"{PARTIAL}{tag}"
    _umoci("new", partial)
    return partial


def _copy_of_base(image: Image) -> str:
    assert image.base is not None  # noqa: S101
    partial = f"{PARTIAL}{tag_of(image)}"
    _umoci("tag", _base_tag(image.base), partial)
    return partial


def _add_layer(tag: str, layer: Path) -> None:
    shell.run(["umoci", "raw", "add-layer", "--image", f"{layout()}:{tag}", *_HISTORY, layer])


def _rename(partial: str, tag: str) -> None:
    # Only this gives the image its name, so an interrupted build is made again.
    _umoci("tag", partial, tag)
    _remove_tag(partial)


def _remove_tag(tag: str) -> None:
    _umoci("rm", tag)


def _umoci(verb: str, tag: str, *words: str) -> None:
    shell.run(["umoci", verb, "--image", f"{layout()}:{tag}", *words])


def _base_tag(layer: Path) -> str:
    return f"base-{layer.parent.name}"


def _present() -> dict[str, str]:
    index = layout() / "index.json"
    return layout_digests(json.loads(index.read_text())) if index.is_file() else {}


def _forget(tags: Iterable[str]) -> None:
    stale = list(tags)
    for tag in stale:
        _remove_tag(tag)
    # Collecting reads every blob, which takes seconds; an agent's layer is too small for that.
    if any(not tag.startswith(tuple(AGENT_IMAGES)) for tag in stale):
        shell.run(["umoci", "gc", "--layout", layout()])
