"""Which images the lab's registry offers, their contents and their tags; reads agents/, writes nothing."""

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kubeproof.terminal.errors import UserError
from lab.mirror import cache, versions
from lab.paths import REPOSITORY

if TYPE_CHECKING:
    from lab.settings import LabSettings

AGENTS = REPOSITORY / "agents"
IMAGES_FILE = "images.toml"
PACKAGES_FILE = "packages.txt"
PAUSE_SOURCE = "pause/pause.go"

AGENT_IMAGES = ("podnet", "cluster-dns", "httpd", "kuard", "probe")
"""Images whose contents agents/images.toml lists; their tag is a hash of these contents."""
STATIC_BINARIES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
"""Images that hold one static binary and nothing else."""
BASE_PACKAGES = ("ca-certificates", "conntrack", "etcd-server", "ipset", "iptables", "kmod", "netbase", "nftables")
"""What kube-proxy and etcd need of Debian in their images; agents/packages.txt adds what the agents need."""

TAG_DIGITS = 12
IGNORED_PARTS = frozenset({"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"})
KEYS = frozenset({"files", "entrypoint", "cmd", "env", "user", "workdir"})


@dataclass(frozen=True)
class ImageSpec:
    """Contents of one image as agents/images.toml gives them.

    ``files`` maps absolute paths in the image to paths below agents/ (files or whole directories).
    """

    name: str
    files: Mapping[str, Path] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    workdir: str = ""


def references(lab: "LabSettings") -> dict[str, str]:
    """Name of every image of the lab -> its full reference, ``gateway:port/name:tag``.

    Raises UserError with every problem of agents/images.toml.
    """
    return {name: f"{lab.registry}/{name}:{tag}" for name, tag in tags().items()}


def tags(agents: Path = AGENTS) -> dict[str, str]:
    """Name of every image -> its tag: the version of what is inside, or a hash over an agent's content."""
    kubernetes = dict.fromkeys((*STATIC_BINARIES, "kube-proxy"), f"v{versions.KUBERNETES}")
    packages = base_packages(agents)
    agent_tags = {spec.name: content_tag(spec, packages) for spec in agent_images(agents)}
    return {**kubernetes, "etcd": versions.ETCD, "pause": versions.PAUSE, **agent_tags}


def base_packages(agents: Path = AGENTS) -> tuple[str, ...]:
    """Debian packages of the base layer that all images but the static ones share, sorted, each once."""
    return tuple(sorted({*BASE_PACKAGES, *_package_names(agents / PACKAGES_FILE)}))


def agent_images(agents: Path = AGENTS) -> tuple[ImageSpec, ...]:
    """Read and check agents/images.toml; raises UserError with one line for each problem."""
    path = agents / IMAGES_FILE
    try:
        document = tomllib.loads(path.read_text())
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); the images of the lab are listed there") from error
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path}: not valid TOML: {error}") from error
    problems = problems_of(document, agents)
    if problems:
        raise UserError(f"{path}: {problem}" for problem in problems)
    return tuple(_spec(name, document[name], agents) for name in AGENT_IMAGES)


def problems_of(document: Mapping[str, Any], agents: Path) -> list[str]:
    """Every reason why a document cannot be images.toml, one line each."""
    problems = [
        f"no table [{name}]: add one with its files and entrypoint" for name in AGENT_IMAGES if name not in document
    ]
    for name, table in document.items():
        if name not in AGENT_IMAGES:
            problems.append(f"[{name}] is no image of the lab; known are {', '.join(AGENT_IMAGES)}")
        elif not isinstance(table, dict):
            problems.append(f"{name} must be a table")
        else:
            problems.extend(f"[{name}] {problem}" for problem in _table_problems(table, agents))
    return problems


def content_tag(spec: ImageSpec, packages: Iterable[str]) -> str:
    """First 12 hexadecimal digits of a hash over the files, the configuration and the base packages."""
    files = {
        target: hashlib.sha256(source.read_bytes()).hexdigest() + ("x" if is_executable(source) else "")
        for target, source in image_files(spec)
    }
    configuration = (spec.entrypoint, spec.cmd, dict(spec.env), spec.user, spec.workdir)
    return cache.key(files, configuration, sorted(packages))[:TAG_DIGITS]


def image_files(spec: ImageSpec) -> list[tuple[str, Path]]:
    """Every file of an image, directories walked: (absolute path in the image, file on this machine), sorted."""
    found: list[tuple[str, Path]] = []
    for target, source in spec.files.items():
        if source.is_dir():
            found.extend((f"{target.rstrip('/')}/{path.relative_to(source)}", path) for path in _walk(source))
        else:
            found.append((target, source))
    return sorted(found)


def is_executable(path: Path) -> bool:
    """Whether the owner may execute it: the only permission that a checkout keeps, so the only one that counts."""
    return bool(path.stat().st_mode & 0o100)


def _walk(directory: Path) -> Iterable[Path]:
    for path in directory.rglob("*"):
        if path.is_file() and not IGNORED_PARTS.intersection(path.parts) and path.suffix != ".pyc":
            yield path


def _package_names(path: Path) -> list[str]:
    try:
        lines = path.read_text().splitlines()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); it lists Debian packages, one a line") from error
    return [name for line in lines if (name := line.partition("#")[0].strip())]


def _spec(name: str, table: Mapping[str, Any], agents: Path) -> ImageSpec:
    return ImageSpec(
        name=name,
        files={target: agents / source for target, source in table.get("files", {}).items()},
        entrypoint=tuple(table.get("entrypoint", ())),
        cmd=tuple(table.get("cmd", ())),
        env=dict(table.get("env", {})),
        user=table.get("user", ""),
        workdir=table.get("workdir", ""),
    )


def _table_problems(table: Mapping[str, Any], agents: Path) -> Iterable[str]:
    for key in sorted(table.keys() - KEYS):
        yield f"unknown key {key}; known are {', '.join(sorted(KEYS))}"
    yield from _file_problems(table.get("files", {}), agents)
    for key in ("entrypoint", "cmd"):
        if not _is_words(table.get(key, [])):
            yield f"{key} must be a list of words"
    if not (table.get("entrypoint") or table.get("cmd")):
        yield "has neither entrypoint nor cmd: nothing would run"
    if not _is_text_table(table.get("env", {})):
        yield "env must be a table of text values"
    for key in ("user", "workdir"):
        if not isinstance(table.get(key, ""), str):
            yield f"{key} must be text"


def _file_problems(files: object, agents: Path) -> Iterable[str]:
    if not isinstance(files, dict) or not _is_text_table(files):
        yield 'files must be a table of "/path/in/image" = "path/below/agents"'
        return
    for target, source in files.items():
        if not target.startswith("/") or ".." in Path(target).parts:
            yield f"files: {target} must be an absolute path without '..'"
        path = (agents / source).resolve()
        if not path.is_relative_to(agents.resolve()):
            yield f"files: {source} lies outside agents/"
        elif not path.exists():
            yield f"files: agents/{source} does not exist"


def _is_words(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(word, str) and word for word in value)


def _is_text_table(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
