"""Which images the lab's registry offers, their contents and their tags; reads agents/, writes nothing."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from lab.mirror import cache, versions
from lab.paths import REPOSITORY

if TYPE_CHECKING:
    from lab.settings import LabSettings

AGENTS = REPOSITORY / "agents"
STATIC_BINARIES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
"""Images that hold one static binary and nothing else."""
BASE_PACKAGES = (
    # kube-proxy and etcd
    *("ca-certificates", "conntrack", "etcd-server", "ipset", "iptables", "kmod", "netbase", "nftables"),
    # podnet and the other agents in Python, cluster DNS, httpd
    *("python3", "python3-pyroute2", "dnsmasq-base", "apache2-bin"),
    # probes that run inside the demo's pods
    *("curl", "iputils-ping", "bind9-dnsutils"),
)
"""Debian packages of the base layer that all images but the static ones share."""

TAG_DIGITS = 12
IGNORED_PARTS = frozenset({"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"})
ROOT, NOBODY = "0:0", "65534:65534"
"""Root only where a capability has to be held, which the cluster's object then limits."""


@dataclass(frozen=True)
class Image:
    """One image to be: files on top of a base layer, or on nothing.

    ``files`` are pairs (absolute path in the image, file on this machine); ``content`` is what they are, by key or
    hash, so that they need not be read to know whether the image is there already.
    """

    name: str
    content: object
    files: tuple[tuple[str, Path], ...] = ()
    base: Path | None = None
    entrypoint: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    user: str = ""


@dataclass(frozen=True)
class Agent:
    """An image of this project's own. ``files`` maps paths in the image to files or folders below agents/."""

    files: Mapping[str, str]
    entrypoint: tuple[str, ...]
    user: str = ROOT
    env: Mapping[str, str] = field(default_factory=dict)


def _python(package: str, *more: str, user: str = ROOT) -> Agent:
    return Agent(
        {f"/opt/kubeproof/agents/{source}": source for source in ("__init__.py", *more, package)},
        ("/usr/bin/python3", "-m", f"agents.{package}"),
        user,
        {"PYTHONPATH": "/opt/kubeproof", "PYTHONDONTWRITEBYTECODE": "1"},
    )


AGENT_IMAGES = {
    "podnet": _python("podnet", "kubeapi.py"),
    "cluster-dns": _python("dns", "kubeapi.py"),
    "httpd": Agent(
        {"/etc/kubeproof/httpd.conf": "httpd/httpd.conf", "/srv/httpd/index.shtml": "httpd/index.shtml"},
        ("/usr/sbin/apache2", "-f", "/etc/kubeproof/httpd.conf", "-DFOREGROUND"),
    ),
    "kuard": _python("kuard", user=NOBODY),
    # Clients and servers of ./inv matrix. Root, for raw sockets: the pods drop all other capabilities.
    "probe": _python("probe"),
}
"""By name; their tag is a hash over their contents."""


def references(lab: "LabSettings") -> dict[str, str]:
    """Name of every image of the lab -> its full reference, ``gateway:port/name:tag``."""
    return {name: f"{lab.registry}/{name}:{tag}" for name, tag in tags().items()}


def tags(agents: Path = AGENTS) -> dict[str, str]:
    """Name of every image -> its tag: the version of what is inside, or a hash over an agent's content."""
    kubernetes = dict.fromkeys((*STATIC_BINARIES, "kube-proxy"), f"v{versions.KUBERNETES}")
    agent_tags = {image.name: str(image.content) for image in agent_images(agents)}
    return {**kubernetes, "etcd": versions.ETCD, "pause": versions.PAUSE, **agent_tags}


def agent_images(agents: Path = AGENTS, base: Path | None = None) -> tuple[Image, ...]:
    """The images of agents on top of a base layer. Their content is their tag."""
    return tuple(_image(name, agent, agents, base) for name, agent in AGENT_IMAGES.items())


def _image(name: str, agent: Agent, agents: Path, base: Path | None) -> Image:
    files = tuple(_files(agent, agents))
    contents = {
        target: hashlib.sha256(source.read_bytes()).hexdigest() + ("x" if is_executable(source) else "")
        for target, source in files
    }
    configuration = (agent.entrypoint, agent.env, agent.user)
    tag = cache.key(contents, configuration, sorted(BASE_PACKAGES))[:TAG_DIGITS]
    return Image(name, tag, files, base, agent.entrypoint, agent.env, agent.user)


def _files(agent: Agent, agents: Path) -> Iterable[tuple[str, Path]]:
    """Every file of an image, directories walked, sorted."""
    found: list[tuple[str, Path]] = []
    for target, name in agent.files.items():
        source = agents / name
        paths = [source] if source.is_file() else filter(_is_content, source.rglob("*"))
        found += ((f"{target}/{path.relative_to(source)}".removesuffix("/."), path) for path in paths)
    return sorted(found)


def _is_content(path: Path) -> bool:
    return path.is_file() and not IGNORED_PARTS.intersection(path.parts) and path.suffix != ".pyc"


def is_executable(path: Path) -> bool:
    """Whether the owner may execute it: the only permission that a checkout keeps, so the only one that counts."""
    return bool(path.stat().st_mode & 0o100)
