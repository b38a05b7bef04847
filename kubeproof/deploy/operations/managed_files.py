"""Files and services of the deploy, by pyinfra's own operations, with the reason for a plan."""

from collections.abc import Generator, Iterator
from io import StringIO

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.facts.files import File
from pyinfra.facts.systemd import SystemdStatus
from pyinfra.operations import files, systemd

from kubeproof.deploy.facts.files import Text
from kubeproof.deploy.run_events import explained
from kubeproof.node.differences import difference

PRIVATE = ("600",)


@operation()
def put(path: str, text: str, mode: str = "644") -> Generator[PyinfraCommand, None, None]:
    """Have a file of this text. A plan shows how it differs, but not of one that only its owner may read."""
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
    commands = files.put._inner(src=source, dest=path, mode="755")
    yield from explained(commands, lambda: [f"{path} is not there, or another one"])


@operation()
def remove(path: str, why: str) -> Generator[PyinfraCommand, None, None]:
    yield from explained(files.file._inner(path=path, present=False), lambda: [f"{path} is there: {why}"])


@operation()
def run_service(service: str) -> Generator[PyinfraCommand, None, None]:
    commands = systemd.service._inner(service=service, running=True, enabled=True)
    yield from explained(commands, lambda: why_run(service))


def why_run(service: str) -> Iterator[str]:
    if host.get_fact(SystemdStatus, services=[service]).get(service):
        yield f"{service} runs, but would not be started at boot"
    else:
        yield f"{service} does not run"
