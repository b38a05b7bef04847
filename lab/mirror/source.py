"""Debian's source package ``kubernetes``: fetched and verified by apt, with the machine's own apt set-up untouched."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

from kubeproof.terminal.errors import CommandError
from lab import archive, shell
from lab.mirror import cache, versions

SOURCE_PACKAGE = "kubernetes"
VERSION_SCRIPT = "hack/lib/version.sh"
_FACTS = "source.json"


@dataclass(frozen=True)
class Source:
    """A source package in the cache: its Debian version, and the .dsc file beside the archives that it names."""

    version: str
    dsc: Path


@dataclass(frozen=True)
class Upstream:
    """What the source tree says of itself in hack/lib/version.sh."""

    version: str
    commit: str
    tree_state: str

    @property
    def number(self) -> str:
        """The version without its leading v, ``1.20.2``."""
        return self.version.removeprefix("v")


def fetch() -> Source:
    """Return the newest ``kubernetes`` source of this machine's Debian archive, downloading it unless it is cached.

    What is cached stays until the cache is deleted, so that a build can be repeated and `up` needs no network.
    Signatures are checked on the whole way: Debian's keyring signs the release file, which names the index of sources,
    which names the checksums of the .dsc and of each archive.
    """
    key = cache.key(SOURCE_PACKAGE, archive.RELEASE, versions.KUBERNETES)
    folder, _ = cache.ensure("source", key, f"download of Debian's source package {SOURCE_PACKAGE}", _download)
    facts = json.loads((folder / _FACTS).read_text())
    return Source(facts["version"], folder / facts["dsc"])


def unpack(source: Source, target: Path) -> Upstream:
    """Extract the source package, Debian's patches applied, to a directory that does not exist yet."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shell.run(["dpkg-source", "--extract", source.dsc, target])
    return upstream(target)


def upstream(tree: Path) -> Upstream:
    """Version of an extracted tree; raises CommandError unless it is the one that the lab's image tags name."""
    found = parse_version_script((tree / VERSION_SCRIPT).read_text())
    if found.number != versions.KUBERNETES:
        raise CommandError(
            f"Debian's source package {SOURCE_PACKAGE} holds {found.version}, the lab expects v{versions.KUBERNETES}: "
            "set KUBERNETES in lab/mirror/versions.py and kubernetes_version in inventory/group_data/lab.py"
        )
    return found


def parse_version_script(text: str) -> Upstream:
    """Read what `git archive` wrote into hack/lib/version.sh; raises CommandError where it is not there."""
    commit = re.search(r"KUBE_GIT_COMMIT='([0-9a-f]{40})'", text)
    state = re.search(r'KUBE_GIT_TREE_STATE="(\w+)"', text)
    tag = re.search(r"'[^']*\btag: (v[0-9][^ ,']*)[^']*' =~", text)
    if not (commit and state and tag):
        raise CommandError(f"{VERSION_SCRIPT}: no commit and tag as `git archive` writes them; is this a release?")
    return Upstream(tag[1], commit[1], state[1])


def apt_options(folder: Path) -> list[str]:
    """Options that give apt its own sources and lists below ``folder``; the machine's other settings stay in force.

    No sandbox user: it could not write below the lab's cache.
    """
    settings = {
        "Dir::Etc::sourcelist": folder / "sources.list",
        "Dir::Etc::sourceparts": "-",
        "Dir::State::lists": folder / "lists",
        "Dir::Cache::pkgcache": "",
        "Dir::Cache::srcpkgcache": "",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::GzipIndexes": "false",
        "Acquire::Retries": "3",
    }
    return [f"--option={name}={value}" for name, value in settings.items()]


def updated(folder: Path, kind: str, release: str = archive.RELEASE) -> list[str]:
    """Those options, once the lists of this machine's archive are there; ``kind`` is deb or deb-src."""
    (folder / "lists" / "partial").mkdir(parents=True)
    lines = [source.line(kind) for source in archive.sources_of(release)]
    (folder / "sources.list").write_text("\n".join(lines) + "\n")
    options = apt_options(folder)
    shell.run(["apt-get", *options, "--error-on=any", "update"])
    return options


def _download(folder: Path) -> None:
    apt = folder / "apt"
    options = updated(apt, "deb-src")
    download = ["apt-get", *options, "--only-source", "--download-only", "source", SOURCE_PACKAGE]
    shell.run(download, cwd=folder, timeout=shell.BUILD_SECONDS)
    cache.remove(apt)
    dsc = next(folder.glob("*.dsc"))
    (folder / _FACTS).write_text(json.dumps({"version": _dsc_version(dsc.read_text()), "dsc": dsc.name}))


def _dsc_version(text: str) -> str:
    found = re.search(r"^Version: (\S+)$", text, re.MULTILINE)
    if not found:
        raise CommandError("the .dsc file names no version")
    return found[1]
