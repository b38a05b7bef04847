"""Finds out of all hosts what preflight wants to know, each question to all of them at once."""

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import gevent
from gevent.pool import Pool
from pyinfra import state
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host as PyinfraHost
from pyinfra.context import ctx_host

from kubeproof.access import connections, deadlines
from kubeproof.config.cluster import Cluster
from kubeproof.config.tables.systems import system_of
from kubeproof.deploy import sudo_passwords
from kubeproof.deploy.context import left_out, left_out_hosts
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


def connect_left_out() -> None:
    """Connect to the hosts that --limit leaves out: what they are decides about the others too, as MTU and names do.

    Those that do not answer are left at that.
    """
    # A pool of its own: that of pyinfra is full of hosts that wait for this.
    Pool(state.config.PARALLEL).map(lambda host: host.connect(show_errors=False), left_out_hosts())


def forget_failures() -> None:
    """Nothing was to be done on hosts that --limit leaves out, so none of them has failed at it."""
    state.failed_hosts.difference_update(left_out_hosts())


def enter() -> None:
    """Have connections and commands end in time, and sudo given what it asks for. Raises UserError if it is not."""
    for each in _reached():
        connections.guard(each)
        sudo_passwords.hold(each)
        deadlines.hold(each)
    sudo_passwords.settle(_reached())


def hosts() -> dict[str, NodeState]:
    return _of_fact(Host)


def inspect(
    cluster: Cluster, known: Mapping[str, NodeState], network: NetworkPlan | None, images: Iterable[str] = ()
) -> Inspection:
    """Everything else. What a node has shown by being one is asked of the other hosts only; most of it needs root.

    ``images`` are those that nobody could be asked for from here. Hosts that are left out are asked what decides about
    others; packets are sent with those of them that are nodes.
    """
    without = left_out()
    changed = {name: facts for name, facts in known.items() if name not in without}
    untold = [url for image in images for url in image_registry.places(cluster.settings, image)[:1]]
    new = [name for name, facts in changed.items() if not facts.kubelet_version and facts.uid == 0]
    wanted = list(kernels.wanted(cluster.settings))
    paths = [path for path, _ in network.host_paths] if network else []
    return Inspection(
        cluster,
        known,
        network,
        clocks=_asked(clock.read, known),
        features=_asked(lambda host: host.get_fact(Features, wanted=wanted), new),
        sources=_asked(lambda host: _sources(cluster, network, known[host.name], host, untold), new),
        host_paths=_asked(lambda host: host.get_fact(Kinds, candidates=paths), changed if paths else ()),
        arrivals=_packets(
            cluster, {name: facts for name, facts in known.items() if name in changed or facts.kubelet_version}
        ),
        in_use=_of_fact(SettingsInUse),
        left_out=without,
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
    return _asked(lambda host: host.get_fact(fact), [host.name for host in _reached()])


def _reached() -> list[PyinfraHost]:
    """Active hosts, and those that are left out and connected all the same."""
    others = [host for host in left_out_hosts() if host.connected and host not in state.failed_hosts]
    wanted = {*state.inventory.get_active_hosts(), *others}
    return [host for host in state.inventory if host in wanted]


def _asked(question: Callable[[PyinfraHost], T], names: Iterable[str]) -> dict[str, T]:
    wanted = set(names)
    asked = {host.name: gevent.spawn(_ask, host, question) for host in _reached() if host.name in wanted}
    gevent.joinall(list(asked.values()))
    # A host that could not be asked has been reported and is left out by pyinfra.
    failed = {host.name for host in state.failed_hosts}
    return {name: answer.get() for name, answer in asked.items() if name not in failed}


def _ask(host: PyinfraHost, question: Callable[[PyinfraHost], T]) -> T:
    with ctx_host.use(host):
        return question(host)
