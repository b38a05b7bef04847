"""Finds out of all hosts what preflight wants to know, each question to all of them at once."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import gevent
from pyinfra import state
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.context import ctx_host

from kubeproof.config.cluster import Cluster
from kubeproof.config.tables.systems import system_of
from kubeproof.deploy.facts.features import Features
from kubeproof.deploy.facts.files import Kinds
from kubeproof.deploy.facts.hosts import Host
from kubeproof.deploy.facts.kubernetes import SettingsInUse
from kubeproof.deploy.probing import clock, packets, sources
from kubeproof.networks.plan import NetworkPlan
from kubeproof.node import image_registry
from kubeproof.rules.before_deploy import kernels, udp_paths
from kubeproof.rules.before_deploy import sources as needed_sources
from kubeproof.rules.before_deploy.inspection import Arrivals, Asked, Inspection
from kubeproof.state.node import NodeState

T = TypeVar("T")


def hosts() -> dict[str, NodeState]:
    return _of_fact(Host)


def inspect(
    cluster: Cluster, known: Mapping[str, NodeState], network: NetworkPlan | None, images: Iterable[str] = ()
) -> Inspection:
    """Everything else. What a node has shown by being one is asked of the other hosts only; most of it needs root.

    ``images`` are those that nobody could be asked for from here.
    """
    untold = [url for image in images for url in image_registry.places(cluster.settings, image)[:1]]
    new = [name for name, facts in known.items() if not facts.kubelet_version and facts.uid == 0]
    wanted = list(kernels.wanted(cluster.settings))
    paths = [path for path, _ in network.host_paths] if network else []
    return Inspection(
        cluster,
        known,
        network,
        clocks=_asked(clock.read, known),
        features=_asked(lambda host: host.get_fact(Features, wanted=wanted), new),
        sources=_asked(lambda host: _sources(cluster, network, known[host.name], host, untold), new),
        host_paths=_asked(lambda host: host.get_fact(Kinds, candidates=paths), known if paths else ()),
        arrivals=_packets(cluster, known),
        in_use=_of_fact(SettingsInUse),
    )


def _sources(
    cluster: Cluster, network: NetworkPlan | None, facts: NodeState, host: PyinfraHost, untold: Iterable[str]
) -> tuple[Asked, ...]:
    system = system_of(facts.system)
    images = network.images if network else ()
    places = needed_sources.places(cluster, cluster.node(host.name), facts, images)
    places = (*places, *needed_sources.manifests(cluster, untold))
    return sources.ask(host, cluster, places, archives=system is not None and system.manager == "apt")


def _packets(cluster: Cluster, known: Mapping[str, NodeState]) -> dict[str, Arrivals]:
    modes = udp_paths.modes(cluster, known)
    addresses = {name: str(cluster.node(name).address) for name in modes}

    def exchange(host: PyinfraHost) -> Arrivals:
        others = {name: address for name, address in addresses.items() if name != host.name}
        return packets.exchange(host, modes[host.name], cluster.settings.vxlan_port, others)

    return _asked(exchange, modes)


def _of_fact(fact: type[FactBase[T]]) -> dict[str, T]:
    return _asked(lambda host: host.get_fact(fact), [host.name for host in state.inventory.get_active_hosts()])


def _asked(question: Callable[[PyinfraHost], T], names: Iterable[str]) -> dict[str, T]:
    wanted = set(names)
    active = [host for host in state.inventory.get_active_hosts() if host.name in wanted]
    asked = {host.name: gevent.spawn(_ask, host, question) for host in active}
    gevent.joinall(list(asked.values()))
    # A host that could not be asked has been reported and is left out by pyinfra.
    failed = {host.name for host in state.failed_hosts}
    return {name: answer.get() for name, answer in asked.items() if name not in failed}


def _ask(host: PyinfraHost, question: Callable[[PyinfraHost], T]) -> T:
    with ctx_host.use(host):
        return question(host)
