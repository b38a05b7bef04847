"""Builds what the mirror serves, and starts, stops and shows its daemons."""

import fcntl
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from kubeproof.terminal.console import say
from kubeproof.terminal.errors import UserError
from lab import paths, rootfs, shell
from lab.mirror import (
    additions,
    apt,
    assembly,
    base_layer,
    daemons,
    images,
    kubernetes,
    node_packages,
    packages,
    pause,
    registry,
    server,
)
from lab.mirror.catalogue import catalogue
from lab.mirror.daemons import Daemon
from lab.mirror.images import Image
from lab.mirror.registry import Shelf
from lab.systems import NodeSystem
from lab.wait import wait_until

if TYPE_CHECKING:
    from lab.settings import LabSettings


def build(lab: "LabSettings") -> int:
    """Build whatever of the mirror's content is not in the cache, and serve it if the registry runs.

    Returns how many things were built or served anew.
    """
    content, built = _build(lab, refresh=False)
    serves = daemons.running_pid(registry.daemon(lab))
    return built + (_fill(lab, content) if serves else 0)


def up(lab: "LabSettings") -> int:
    """Build what is missing or old, start what does not run, fill the registry; returns how many changes that made."""
    content, built = _build(lab, refresh=True)
    started = sum(daemons.start(daemon) for daemon in _daemons(lab))
    return built + started + _fill(lab, content)


def _fill(lab: "LabSettings", content: tuple[Image, ...]) -> int:
    references = images.references(lab)
    wanted = {assembly.tag_of(image): references[image.name] for image in content}
    return registry.fill(registry.daemon(lab), Shelf(assembly.layout(), wanted), additions.shelf(lab))


def add(lab: "LabSettings", words: Sequence[str], folder: Path) -> int:
    """Keep images of others, and serve them if the registry runs; returns how many were added. Raises UserError."""
    added = additions.add(words, folder)
    server = registry.daemon(lab)
    if daemons.running_pid(server):
        registry.put(additions.shelf(lab))
    else:
        say("the registry does not run: it serves them from the next ./inv up on")
    return added


def down(lab: "LabSettings") -> int:
    """Stop the daemons; what was built stays in the cache. Returns how many ran."""
    return sum(daemons.stop(daemon) for daemon in _daemons(lab))


def status(lab: "LabSettings") -> list[tuple[str, str, str]]:
    return [(daemon.name, f"http://{daemon.address}:{daemon.port}", _state(daemon)) for daemon in _daemons(lab)]


def check(lab: "LabSettings") -> list[str]:
    """Reasons why the mirror could not serve on this machine, one line each; for the preflight."""
    problems: list[str] = []
    for daemon in _daemons(lab):
        try:
            daemon.config()
        except UserError as error:
            problems += error.problems
        problems += filter(None, [daemons.port_problem(daemon)])
    return problems


def _build(lab: "LabSettings", *, refresh: bool) -> tuple[tuple[Image, ...], int]:
    with alone():
        # mmdebstrap mostly waits for downloads and the disk while Go keeps the processors busy.
        with ThreadPoolExecutor(max_workers=1) as pool:
            base_future, pause_future = pool.submit(_base), pool.submit(pause.ensure)
            of_systems = [pool.submit(_for_nodes, system, refresh=refresh) for system in lab.systems]
            programs, built_programs = kubernetes.ensure()
            debs, built_debs = packages.ensure(programs)
            published = apt.ensure(debs, paths.APT_REPOSITORY)
            base, built_base = base_future.result()
            pause_program, built_pause = pause_future.result()
            fetched = 0
            for system, future in zip(lab.systems, of_systems, strict=True):
                node_debs, changed = future.result()
                fetched += changed
                published += apt.ensure(node_debs, paths.APT_ROOT / system.repository)
        content = catalogue(programs, pause_program, base)
        assembled = assembly.ensure(content)
        return content, built_programs + built_debs + fetched + published + built_base + built_pause + assembled


def _base() -> tuple[Path, int]:
    layer, built = base_layer.ensure(images.BASE_PACKAGES)
    assembly.remove_partials()
    return layer, built + assembly.ensure_base(layer)


def _for_nodes(system: NodeSystem, *, refresh: bool) -> tuple[tuple[Path, ...], int]:
    """The root filesystem of nodes, and the packages that can be installed on it."""
    made = int(not rootfs.is_cached(system))
    debs, fetched = node_packages.ensure(system, rootfs.ensure(system), rootfs.key(system), refresh=refresh)
    return debs, made + fetched


def _daemons(lab: "LabSettings") -> tuple[Daemon, ...]:
    return (server.daemon(lab), registry.daemon(lab))


def _state(daemon: Daemon) -> str:
    pid = daemons.running_pid(daemon)
    return f"running (pid {pid})" if pid else "stopped"


@contextmanager
def alone() -> Iterator[None]:
    """Two builds at once would remove each other's unfinished work; the second waits."""
    paths.RUN.mkdir(parents=True, exist_ok=True)
    with (paths.RUN / "mirror.lock").open("w") as lock:
        if not _locks(lock):
            say("another command builds the mirror; waiting for it")
            wait_until(lambda: _locks(lock), seconds=shell.BUILD_SECONDS, what="another command to build the mirror")
        yield


def _locks(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
