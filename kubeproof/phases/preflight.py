"""Everything that can be known to be wrong is said before anything is changed, on all hosts together."""

from collections.abc import Callable, Mapping
from typing import TypeVar

import gevent
from gevent.lock import Semaphore
from pyinfra import logger, state
from pyinfra.api import deploy
from pyinfra.api.exceptions import DeployError
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.context import ctx_host

from kubeproof import connections, image_registry, machines
from kubeproof.cni import source
from kubeproof.errors import UserError
from kubeproof.facts.hosts import Host
from kubeproof.facts.kubernetes import SettingsInUse
from kubeproof.facts.network import Traces
from kubeproof.node import changed_settings
from kubeproof.node.findings import HostFacts, changed_clusters, findings, foreign_clusters
from kubeproof.node.network_findings import network_findings, tunnel_mtu
from kubeproof.roles import cluster, remember_tunnel_mtu

T = TypeVar("T")

_one_at_a_time = Semaphore()
_checked: set[int] = set()


@deploy("Preflight")
def check() -> None:
    """Check settings, inventory, hosts and manifest. Raises DeployError with a line for each problem."""
    _once(_findings)


@deploy("Preflight")
def check_ownership() -> None:
    """Check settings, inventory, and that there is no cluster of somebody else's on a host. Raises DeployError."""
    cluster()
    _once(lambda hosts: foreign_clusters(hosts) + changed_clusters(cluster().settings, hosts))


def _findings(hosts: Mapping[str, HostFacts]) -> list[str]:
    wanted, traces = cluster(), _asked(Traces)
    mtu = tunnel_mtu(wanted, traces)
    network, problems = None, []
    try:
        network = source.pod_network(wanted.settings, mtu)
        problems += image_registry.missing(wanted.settings, network)
    except UserError as error:
        problems += error.problems
    problems += map(str, changed_settings.findings(wanted, _asked(SettingsInUse)))
    remember_tunnel_mtu(mtu)
    for note in network.notes if network else ():
        logger.info(note)
    return [*problems, *findings(wanted, hosts), *network_findings(wanted, network, traces)]


def _once(judge: Callable[[Mapping[str, HostFacts]], list[str]]) -> None:
    """pyinfra prepares all hosts at once; the first to come here asks all of them, the others find it done."""
    with _one_at_a_time:
        if id(state.inventory) in _checked:
            return
        for host in state.inventory.get_active_hosts():
            connections.guard(host)
        hosts = _asked(Host)
        problems = judge(hosts)
        if problems:
            raise DeployError("\n".join(problems))
        machines.remember(hosts)
        _checked.add(id(state.inventory))


def _asked(fact: type[FactBase[T]]) -> dict[str, T]:
    """A fact of all hosts at once, by name."""
    asked = {host.name: gevent.spawn(_ask, host, fact) for host in state.inventory.get_active_hosts()}
    gevent.joinall(list(asked.values()))
    # A host that could not be asked has been reported and is left out by pyinfra.
    failed = {host.name for host in state.failed_hosts}
    return {name: answer.get() for name, answer in asked.items() if name not in failed}


def _ask(host: PyinfraHost, fact: type[FactBase[T]]) -> T:
    with ctx_host.use(host):
        return host.get_fact(fact)
