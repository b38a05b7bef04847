"""The deploy's block in /etc/hosts."""

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host

from kubeproof.facts.files import Text
from kubeproof.node import paths
from kubeproof.node.blocks import with_block, without_block
from kubeproof.operations.remote import on_host, run


@operation()
def name_nodes(text: str) -> Generator[PyinfraCommand, None, None]:
    """Have these lines in a marked block of /etc/hosts. Nodes find each other without a name server."""
    now = host.get_fact(Text, path=paths.HOSTS)
    wanted = with_block(now, text)
    if wanted == now:
        host.noop("the nodes have names")
        return
    yield on_host(_write, wanted)


@operation()
def forget_nodes() -> Generator[PyinfraCommand, None, None]:
    """Remove the block from /etc/hosts and leave all other lines as they are."""
    now = host.get_fact(Text, path=paths.HOSTS)
    wanted = without_block(now)
    if wanted == now:
        host.noop("there is no block")
        return
    yield on_host(_write, wanted)


def _write(host: Host, text: str) -> None:
    # In place: /etc/hosts may be a mount of its own, as in a container.
    run(host, ["sh", "-ec", 'cat > "$0"', paths.HOSTS], stdin=text)
