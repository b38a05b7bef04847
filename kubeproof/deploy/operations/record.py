"""Remembers what a host was like before the first deploy."""

from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host

from kubeproof.config.tables import paths
from kubeproof.deploy.facts.hosts import Before, Remembered
from kubeproof.deploy.operations.remote import on_host, run, write_private
from kubeproof.deploy.run_events import because
from kubeproof.node.record import Record


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
    keep = (
        'umask 077; mkdir -p "$1"; shift; for file in "$@"; do [ ! -e "$file" ] || cp -a --parents "$file" "$0"; done'
    )
    run(host, ["sh", "-ec", keep, paths.ORIGINALS, paths.ORIGINALS, *replaced_files])
    # Last, so that an interruption before it starts over: nothing has been changed yet.
    write_private(host, paths.RECORD, record.json())
