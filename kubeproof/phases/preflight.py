"""Everything that can be known to be wrong is said before anything is changed, on all hosts together."""

from collections.abc import Iterable

import gevent
from gevent.lock import Semaphore
from pyinfra import state
from pyinfra.api import deploy
from pyinfra.api.exceptions import DeployError
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.context import ctx_host

from kubeproof.errors import UserError
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
            raise DeployError(_report(problems))
        _checked.add(id(state.inventory))


@deploy("Settings")
def check_settings() -> None:
    """Check settings and inventory only. Raises DeployError with a line for each problem."""
    try:
        cluster()
    except UserError as error:
        raise DeployError(_report(error.problems)) from None


def _report(problems: Iterable[str]) -> str:
    return "\n    ".join(["nothing was changed, because:", *problems])


def _problems() -> list[str]:
    try:
        wanted = cluster()
    except UserError as error:
        return list(error.problems)
    hosts = list(state.inventory.get_active_hosts())
    asked = {host.name: gevent.spawn(_facts_of, host) for host in hosts}
    gevent.joinall(list(asked.values()))
    # A host that could not be asked has been reported and is left out by pyinfra.
    failed = {host.name for host in state.failed_hosts}
    return findings(wanted, {name: answer.get() for name, answer in asked.items() if name not in failed})


def _facts_of(host: PyinfraHost) -> HostFacts:
    with ctx_host.use(host):
        return host.get_fact(Host)
