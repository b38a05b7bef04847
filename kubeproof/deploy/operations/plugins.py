"""CNI plugins on a host."""

from collections.abc import Generator, Sequence

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host

from kubeproof.deploy.facts.network import Plugins
from kubeproof.deploy.operations.remote import NodeError, read_only, run, shell
from kubeproof.networks.plugins import FOLDER

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
