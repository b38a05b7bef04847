"""The deploy's block in files that are not its own, such as /etc/hosts, and the configuration of services."""

from collections.abc import Callable, Generator

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host

from kubeproof.deploy.facts.files import Text
from kubeproof.deploy.operations.remote import on_host, run
from kubeproof.deploy.run_events import because
from kubeproof.node.blocks import with_block, without_block
from kubeproof.node.differences import difference


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
