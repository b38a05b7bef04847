"""Everything that can be known to be wrong is said before anything is changed, on all hosts together."""

from collections.abc import Callable, Mapping

import gevent
from gevent.lock import Semaphore
from pyinfra import state
from pyinfra.api import deploy
from pyinfra.api.exceptions import DeployError
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.context import ctx_host

from kubeproof import machines
from kubeproof.facts.hosts import Host
from kubeproof.node.findings import HostFacts, changed_clusters, findings, foreign_clusters
from kubeproof.roles import cluster

_one_at_a_time = Semaphore()
_checked: set[int] = set()


@deploy("Preflight")
def check() -> None:
    """Check settings, inventory and hosts. Raises DeployError with a line for each problem."""
    _once(lambda hosts: findings(cluster(), hosts))


@deploy("Preflight")
def check_ownership() -> None:
    """Check settings, inventory, and that there is no cluster of somebody else's on a host. Raises DeployError."""
    cluster()
    _once(lambda hosts: foreign_clusters(hosts) + changed_clusters(cluster().settings, hosts))


def _once(judge: Callable[[Mapping[str, HostFacts]], list[str]]) -> None:
    """pyinfra prepares all hosts at once; the first to come here asks all of them, the others find it done."""
    with _one_at_a_time:
        if id(state.inventory) in _checked:
            return
        hosts = _facts()
        problems = judge(hosts)
        if problems:
            raise DeployError("\n".join(problems))
        machines.remember(hosts)
        _checked.add(id(state.inventory))


def _facts() -> dict[str, HostFacts]:
    asked = {host.name: gevent.spawn(_facts_of, host) for host in state.inventory.get_active_hosts()}
    gevent.joinall(list(asked.values()))
    # A host that could not be asked has been reported and is left out by pyinfra.
    failed = {host.name for host in state.failed_hosts}
    return {name: answer.get() for name, answer in asked.items() if name not in failed}


def _facts_of(host: PyinfraHost) -> HostFacts:
    with ctx_host.use(host):
        return host.get_fact(Host)
