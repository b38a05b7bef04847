"""Everything that can be known to be wrong is said before anything is changed, on all hosts together."""

import gevent  # type: ignore[import-untyped]
from gevent.lock import Semaphore  # type: ignore[import-untyped]
from pyinfra import state
from pyinfra.api import deploy
from pyinfra.api.exceptions import DeployError
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.context import ctx_host

from kubeproof.facts.hosts import Host
from kubeproof.node.findings import HostFacts, findings
from kubeproof.roles import cluster

_one_at_a_time = Semaphore()
_checked: set[int] = set()


@deploy("Preflight")
def check() -> None:
    """Check settings, inventory and hosts. Raises DeployError with a line for each problem.

    pyinfra prepares all hosts at once; the first to come here asks all of them, the others find it done.
    """
    with _one_at_a_time:
        if id(state.inventory) in _checked:
            return
        problems = _problems()
        if problems:
            raise DeployError("\n".join(problems))
        _checked.add(id(state.inventory))


@deploy("Settings")
def check_settings() -> None:
    """Check settings and inventory only. Raises DeployError with a line for each problem."""
    cluster()


def _problems() -> list[str]:
    wanted = cluster()
    hosts = list(state.inventory.get_active_hosts())
    asked = {host.name: gevent.spawn(_facts_of, host) for host in hosts}
    gevent.joinall(list(asked.values()))
    # A host that could not be asked has been reported and is left out by pyinfra.
    failed = {host.name for host in state.failed_hosts}
    return findings(wanted, {name: answer.get() for name, answer in asked.items() if name not in failed})


def _facts_of(host: PyinfraHost) -> HostFacts:
    with ctx_host.use(host):
        return host.get_fact(Host)
