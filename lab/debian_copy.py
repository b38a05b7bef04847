"""A part of Debian's archive as a folder: the packages that are asked for with all that they depend on, and indexes.

The indexes are Debian's, with its signatures, so that apt trusts the copy no more than the archive itself. They name
packages that the copy does not have.
"""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from lab import archive, shell
from lab.mirror import cache, source

_TARGETS = "$(IDENTIFIER)|$(FILENAME)|$(REPO_URI)|$(RELEASE)|$(METAKEY)"


@dataclass
class _Copy:
    folder: Path
    folders: dict[str, str] = field(default_factory=dict)
    """URI of an archive, as apt prints it, and the folder's name."""
    suites: list[str] = field(default_factory=list)

    def place(self, uri: str) -> Path:
        """Where what apt fetches from a URI lies in the copy."""
        base = next(base for base in self.folders if uri.startswith(base))
        return self.folder / self.folders[base] / unquote(uri.removeprefix(base)).lstrip("/")


def make(folder: Path, wanted: Mapping[str, Sequence[Sequence[str]]]) -> None:
    """Copy to a folder what each list of names needs that is installed on nothing; ``wanted`` has them by release.

    Raises CommandError where the archive does not have them.
    """
    copy = _Copy(folder)
    for release, lists in wanted.items():
        work = folder / "apt"
        options = [*source.updated(work, "deb", release), *from_nothing(work)]
        _add_indexes(copy, release, options)
        _add_packages(copy, work / "archives", options, lists)
        cache.remove(work)
    (folder / archive.INDEX).write_text("".join(f"{line}\n" for line in copy.suites))


def parse_uris(printed: str) -> dict[str, str]:
    """File name -> URI, from what ``apt-get --print-uris`` prints (``'URI' NAME SIZE HASH``). Pure."""
    return {name: uri for uri, name in re.findall(r"^'([^']+)' (\S+\.deb) \d+ ", printed, re.MULTILINE)}


def from_nothing(work: Path) -> list[str]:
    """Options that have apt choose for a system without any package."""
    (work / "archives" / "partial").mkdir(parents=True)
    (work / "status").touch()
    settings = {
        "Dir::State::status": work / "status",
        "Dir::State::extended_states": work / "extended_states",
        "Dir::Cache::archives": work / "archives",
        "APT::Install-Recommends": "false",
    }
    return [f"--option={name}={value}" for name, value in settings.items()]


def _add_indexes(copy: _Copy, release: str, options: Sequence[str]) -> None:
    for line in shell.run(["apt-get", *options, "indextargets", "--format", _TARGETS], log_output=False).splitlines():
        kind, file, uri, suite, key = line.split("|")
        if kind != "Packages":
            continue
        name = copy.folders.setdefault(uri, str(len(copy.folders)))
        signed = file.removesuffix(f"_{key.replace('/', '_')}") + "_InRelease"
        index = copy.folder / name / "dists" / suite / key
        index.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, index)
        shutil.copyfile(signed, copy.folder / name / "dists" / suite / "InRelease")
        copy.suites.append(f"{release} {name} {suite}")


def _add_packages(copy: _Copy, archives: Path, options: Sequence[str], lists: Sequence[Sequence[str]]) -> None:
    uris: dict[str, str] = {}
    for names in lists:
        install = ["apt-get", *options, "--yes", "--quiet", "install", *sorted(set(names))]
        # It names what an earlier list has not brought.
        uris |= parse_uris(shell.run([*install, "--print-uris"], log_output=False))
        shell.run([*install, "--download-only"], timeout=shell.BUILD_SECONDS)
    for name, uri in uris.items():
        place = copy.place(uri)
        place.parent.mkdir(parents=True, exist_ok=True)
        (archives / name).replace(place)
