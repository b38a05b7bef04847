"""Debian packages that nodes can install: chosen and fetched here once, so that all nodes find the same, at any time.

A proxy in front of Debian's archive would do too, but not while the archive is away, nor at its best when seven nodes
ask for lists that have just become stale.
"""

import os
import re
import shutil
import time
from pathlib import Path

from rich.markup import escape

from kubeproof.terminal.console import say, step
from kubeproof.terminal.errors import CommandError
from lab import archive, shell
from lab.mirror import cache, control, source
from lab.systems import NodeSystem

KIND = "node-packages"
FOR_PEOPLE = ("apparmor", "bind9-dnsutils", "ethtool", "ipset", "ipvsadm", "netcat-openbsd", "strace", "vim-tiny")
"""What networks and people want on a node beside what the deploy installs."""
REFRESH_SECONDS = 24 * 3600
"""Packages of this age are held against the archive again by the next `up`."""
_WITHOUT_RECOMMENDS = "--option=APT::Install-Recommends=false"
_ASKED = "asked"
"""A file whose time is when the archive was asked last."""
_RECIPE = 1


def wanted(system: NodeSystem) -> tuple[str, ...]:
    """What nodes install for either runtime, by name, sorted; what that depends on comes along."""
    own = {package.name for package in control.PACKAGES}
    depends = {relation.split()[0] for package in control.PACKAGES for relation in package.depends}
    runtimes = {system.packages.docker_package, system.packages.containerd_package}
    return tuple(sorted({*runtimes, *system.packages.tools, *FOR_PEOPLE, *(depends - own)}))


def ensure(system: NodeSystem, root: Path, name: str, *, refresh: bool) -> tuple[tuple[Path, ...], int]:
    """The .deb files that the root filesystem ``root``, of the key ``name``, needs for them; and what changed (0 or 1).

    With ``refresh`` those that are a day old are held against the archive again; where that fails, they stay. Raises
    CommandError if there are none yet and the archive does not give them.
    """
    entry = cache.key(_RECIPE, name, wanted(system), [item.line() for item in archive.sources_of(system.release)])
    folder = cache.entry(system.kind(KIND), entry)
    changed = 0
    if not folder.is_dir():
        with step(f"packages of {system.name} for the nodes"):
            _fetch(system, root, folder)
        cache.prune(system.kind(KIND), keep=entry)
        changed = 1
    elif refresh and time.time() - (folder / _ASKED).stat().st_mtime > REFRESH_SECONDS:
        changed = _refresh(system, root, folder)
    return tuple(sorted(folder.glob("*.deb"))), changed


def file_names(uris: str) -> tuple[str, ...]:
    """Names of the .deb files in what ``apt-get --print-uris`` prints (``'URI' NAME SIZE HASH``), sorted. Pure."""
    return tuple(sorted(re.findall(r"^'[^']+' (\S+\.deb) \d+ ", uris, re.MULTILINE)))


def _refresh(system: NodeSystem, root: Path, folder: Path) -> int:
    try:
        with step(f"packages of {system.name} for the nodes: what is new in the archive"):
            return _fetch(system, root, folder)
    except CommandError as error:
        say(f"[yellow]nodes install the packages that are there: {escape(str(error).splitlines()[0])}[/yellow]")
        return 0


def _fetch(system: NodeSystem, root: Path, folder: Path) -> int:
    """Have apt choose as it would in ``root`` by the archive's present state, and fetch; 0 if that is there already."""
    with cache.creating(folder) as partial:
        work, archives = partial / "apt", partial / "apt" / "archives"
        options = [*source.updated(work, "deb", system.release), _WITHOUT_RECOMMENDS, *_places(work, root)]
        install = ["apt-get", *options, "--yes", "--quiet", "install", *wanted(system)]
        # Nothing is there yet, so it names everything.
        names = file_names(shell.run([*install, "--print-uris"]))
        there = {deb.name for deb in folder.glob("*.deb")}
        for name in there.intersection(names):
            os.link(folder / name, archives / name)
        shell.run([*install, "--download-only"], timeout=shell.BUILD_SECONDS)
        for name in names:
            (archives / name).rename(partial / name)
        cache.remove(work)
        (partial / _ASKED).touch()
    return int(there != set(names))


def _places(work: Path, root: Path) -> list[str]:
    """Options that have apt install into ``root``, as far as it knows, and load to a folder of its own."""
    (work / "archives" / "partial").mkdir(parents=True)
    # A copy: apt locks the folder that it lies in.
    (work / "dpkg").mkdir()
    shutil.copy(root / "var/lib/dpkg/status", work / "dpkg" / "status")
    return [
        f"--option=Dir::State::status={work / 'dpkg' / 'status'}",
        f"--option=Dir::State::extended_states={work / 'extended_states'}",
        f"--option=Dir::Cache::archives={work / 'archives'}",
    ]
