"""The deploy's block in files that are not its own, such as /etc/hosts, and the configuration of services."""

from collections.abc import Generator

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
    now = host.get_fact(Text, path=path)
    wanted = with_block(now, text)
    if wanted == now:
        host.noop(f"{path} has these lines")
        return
    because(f"{path} differs:", *difference(now, wanted))
    yield on_host(_write, wanted, path)


@operation()
def configure_service(path: str, text: str, service: str) -> Generator[PyinfraCommand, None, None]:
    """Have a file of these lines, and have the running service that reads it read it anew."""
    now = host.get_fact(Text, path=path)
    if now == text:
        host.noop(f"{service} is configured")
        return
    because(f"{path} differs:", *difference(now, text))
    yield on_host(_configure, path, text, service)


def _configure(host: Host, path: str, text: str, service: str) -> None:
    run(
        host,
        ["sh", "-ec", 'mkdir -p "${0%/*}"; cat > "$0"; systemctl try-reload-or-restart "$1"', path, service],
        stdin=text,
    )


@operation()
def remove_block(path: str) -> Generator[PyinfraCommand, None, None]:
    """Remove the block from a file and leave all other lines as they are."""
    now = host.get_fact(Text, path=path)
    wanted = without_block(now)
    if wanted == now:
        host.noop("there is no block")
        return
    because(f"{path} has lines that are not wanted any more:", *difference(now, wanted))
    yield on_host(_write, wanted, path)


def _write(host: Host, text: str, path: str) -> None:
    # In place: /etc/hosts may be a mount of its own, as in a container.
    run(host, ["sh", "-ec", 'cat > "$0"', path], stdin=text)
