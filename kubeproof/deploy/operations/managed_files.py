"""Files and services of a host: the deploy's own, its blocks in those of others, and what has to be there."""

from collections.abc import Callable, Generator, Iterator, Sequence
from io import StringIO
from pathlib import Path

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.facts.files import File
from pyinfra.facts.systemd import SystemdStatus
from pyinfra.operations import files, systemd

from kubeproof.access.downloads import sha256
from kubeproof.config.tables import paths
from kubeproof.deploy.facts.files import ModeAndDigest, Text
from kubeproof.deploy.facts.hosts import Before, Remembered
from kubeproof.deploy.facts.network import Plugins
from kubeproof.deploy.facts.packages import UnitState
from kubeproof.deploy.operations.remote import NodeError, on_host, read_only, run, shell, write_private
from kubeproof.deploy.run_events import because, explained
from kubeproof.networks.plugins import FOLDER
from kubeproof.node.record import Record
from kubeproof.node.texts import difference, with_block, without_block

PRIVATE = ("600",)
KEEP = """umask 077
folder=$1; shift
mkdir -p "$folder"
# cp --parents of coreutils 9.1 (Debian 12) looks for the folders of a path below the present one.
cd /
for file in "$@"; do
    [ ! -e "$file" ] || cp -a --parents "$file" "$folder"
done
"""
"""Copies files below a folder, with their paths; what is not there is left out."""
RUNS_FROM_BOOT = {"ActiveState=active", "UnitFileState=enabled"}


@operation()
def put(path: str, text: str, mode: str = "644") -> Generator[PyinfraCommand, None, None]:
    """Have a file of this text. A plan shows how it differs, but not of one that only its owner may read."""
    if _is_there(path, mode, text):
        return
    commands = files.put._inner(src=StringIO(text), dest=path, mode=mode)
    yield from explained(commands, lambda: why_put(path, text, mode))


def why_put(path: str, text: str, mode: str) -> Iterator[str]:
    present = host.get_fact(File, path=path)
    if not present:
        yield f"there is no {path}"
        return
    if f"{present['mode']}" != mode:
        yield f"{path} has the mode {present['mode']}, not {mode}"
    now = host.get_fact(Text, path=path)
    if now != text:
        yield f"{path} differs{' (not shown: it is for root only)' if mode in PRIVATE else ':'}"
        yield from () if mode in PRIVATE else difference(now, text)


@operation()
def put_program(path: str, source: str) -> Generator[PyinfraCommand, None, None]:
    """Have a copy of a program that is on this machine."""
    if _is_there(path, "755", Path(source).read_bytes()):
        return
    commands = files.put._inner(src=source, dest=path, mode="755")
    yield from explained(commands, lambda: [f"{path} is not there, or another one"])


def _is_there(path: str, mode: str, content: str | bytes) -> bool:
    same: bool = host.get_fact(ModeAndDigest, path=path) == [mode, sha256(content)]
    if same:
        host.noop(f"{path} is as it should be")
    return same


@operation()
def remove(path: str, why: str) -> Generator[PyinfraCommand, None, None]:
    yield from explained(files.file._inner(path=path, present=False), lambda: [f"{path} is there: {why}"])


@operation()
def run_service(service: str) -> Generator[PyinfraCommand, None, None]:
    state: list[str] = host.get_fact(UnitState, unit=service)
    if set(state) == RUNS_FROM_BOOT:
        host.noop(f"{service} runs, and is started at boot")
        return
    commands = systemd.service._inner(service=service, running=True, enabled=True)
    yield from explained(commands, lambda: why_run(service))


def why_run(service: str) -> Iterator[str]:
    if host.get_fact(SystemdStatus, services=[service]).get(service):
        yield f"{service} runs, but would not be started at boot"
    else:
        yield f"{service} does not run"


@operation()
def have_block(path: str, text: str) -> Generator[PyinfraCommand, None, None]:
    """Have these lines in a marked block at the end of a file that is there."""
    done, why = f"{path} has these lines", f"{path} differs:"
    yield from _rewrite(path, lambda now: with_block(now, text), done, why, _write)


@operation()
def remove_block(path: str) -> Generator[PyinfraCommand, None, None]:
    """Remove the block from a file and leave all other lines as they are."""
    yield from _rewrite(
        path, without_block, "there is no block", f"{path} has lines that are not wanted any more:", _write
    )


@operation()
def configure_service(path: str, text: str, service: str) -> Generator[PyinfraCommand, None, None]:
    """Have a file of these lines, and have the running service that reads it read it anew."""
    done, why = f"{service} is configured", f"{path} differs:"
    yield from _rewrite(path, lambda _: text, done, why, _configure, service)


def _rewrite(
    path: str, make: Callable[[str], str], done: str, why: str, write: Callable[..., None], *more: str
) -> Generator[PyinfraCommand, None, None]:
    """Write what ``make`` makes of a file's text, if that is another, by ``write(host, path, text, *more)``."""
    now = host.get_fact(Text, path=path)
    wanted = make(now)
    if wanted == now:
        host.noop(done)
        return
    because(why, *difference(now, wanted))
    yield on_host(write, path, wanted, *more)


def _write(host: Host, path: str, text: str) -> None:
    # In place: /etc/hosts may be a mount of its own, as in a container.
    run(host, ["sh", "-ec", 'cat > "$0"', path], stdin=text)


def _configure(host: Host, path: str, text: str, service: str) -> None:
    command = 'mkdir -p "${0%/*}"; cat > "$0"; systemctl try-reload-or-restart "$1"'
    run(host, ["sh", "-ec", command, path, service], stdin=text)


PRESENT = f'cd {FOLDER} 2>/dev/null && for name; do if [ -x "$name" ]; then echo "$name"; fi; done; true'


@operation()
def require(plugins: Sequence[str]) -> Generator[PyinfraCommand, None, None]:
    """Fail this host unless it has the plugins; a package of the deploy brings them, so they may come only now."""
    present: list[str] = host.get_fact(Plugins)
    if set(plugins) <= set(present):
        host.noop("the plugins are there")
        return
    yield from read_only(host, _require, tuple(plugins))


def _require(host: Host, plugins: tuple[str, ...]) -> None:
    present = run(host, [*shell(PRESENT), "sh", *plugins]).split()
    missing = [name for name in plugins if name not in present]
    if missing:
        raise NodeError(
            f"{FOLDER} lacks {', '.join(missing)}, which the pod network calls for every pod: install the package "
            "kubernetes-cni (or put them there) and run this again"
        )


@operation()
def remember_host(replaced_files: Sequence[str]) -> Generator[PyinfraCommand, None, None]:
    """Write down what a reset has to put back, and copy the files that the deploy replaces. Once for a host."""
    if host.get_fact(Remembered) is not None:
        host.noop("the host before the first deploy is remembered")
        return
    because("no deploy has been on this host")
    yield on_host(_remember, tuple(replaced_files))


def _remember(host: Host, replaced_files: tuple[str, ...]) -> None:
    record = Record.of(host.get_fact(Before))
    run(host, ["sh", "-ec", KEEP, "keep", paths.ORIGINALS, *replaced_files])
    # Last, so that an interruption before it starts over: nothing has been changed yet.
    write_private(host, paths.RECORD, record.json())
