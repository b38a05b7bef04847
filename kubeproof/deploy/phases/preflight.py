"""Everything that can be known to be wrong is said before anything is changed, on all hosts together."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from gevent import GreenletExit
from gevent.lock import Semaphore
from pyinfra import host, logger, state
from pyinfra.api import deploy
from pyinfra.api.exceptions import DeployError

from kubeproof.access import connections, deadlines
from kubeproof.config.cluster import Cluster
from kubeproof.deploy import machines, quiet_operations, silence
from kubeproof.deploy.phases import inspecting
from kubeproof.deploy.roles import cluster, remember_tunnel_mtu
from kubeproof.networks import source
from kubeproof.networks.plan import NetworkPlan
from kubeproof.node import image_registry, images
from kubeproof.node.finding import Finding
from kubeproof.node.preflight import networks, ownership
from kubeproof.node.preflight.inspection import Inspection
from kubeproof.node.preflight.judges import judged
from kubeproof.node.preflight.verdict import verdict
from kubeproof.node.tunnel import tunnel_mtu
from kubeproof.state.node import NodeState
from kubeproof.terminal.errors import UserError

_one_at_a_time = Semaphore()
_refusals: dict[int, list[str]] = {}
"""Of each inventory that has been judged: the lines of its refusal, none if it may be deployed to."""


@deploy("Preflight")
def check() -> None:
    """Check settings, inventory, hosts and manifest. Raises DeployError with a line for each problem."""
    _once(_findings, ignorable=True)


@deploy("Preflight")
def check_ownership() -> None:
    """Check settings, inventory, and that there is no cluster of somebody else's on a host. Raises DeployError.

    What a deploy was to ignore is no leave to take it away.
    """
    wanted = cluster()
    _once(lambda hosts: ownership.findings(Inspection(wanted, hosts)), ignorable=False)


def _findings(hosts: Mapping[str, NodeState]) -> Iterator[Finding]:
    wanted = cluster()
    mtu = tunnel_mtu(wanted, hosts)
    remember_tunnel_mtu(mtu)
    network, problems = _network_plan(mtu)
    yield from problems
    lacking, untold = _images(wanted, hosts, network)
    yield from image_registry.absent(lacking)
    inspection = inspecting.inspect(wanted, hosts, network, untold)
    for note in (*(network.notes if network else ()), *networks.notes(inspection)):
        logger.info(note)
    yield from judged(inspection)


def _images(
    wanted: Cluster, hosts: Mapping[str, NodeState], network: NetworkPlan | None
) -> tuple[list[str], list[str]]:
    """Of the images that hosts which are no nodes yet will pull: those that their registries lack, and those that could
    not be asked for from here. The pod network's from a repository of its own have been asked for."""
    of_network = network.images if network and not wanted.settings.cni_image_repository else ()
    roles = {node.role for node in wanted.nodes if node.name in hosts and not hosts[node.name].kubelet_version}
    needed = [image for role in sorted(roles) for image in images.images_for(role, wanted.settings, of_network)]
    return image_registry.lacking(wanted.settings, needed)


def _network_plan(mtu: int | None) -> tuple[NetworkPlan | None, list[Finding]]:
    """The network and what is wrong with its images, or what is wrong with its manifest."""
    settings = cluster().settings
    try:
        network = source.plan_network(settings, mtu)
    except UserError as error:
        breaks, mend = "so there would be no pod network", "nothing can be applied before that is so"
        return None, [Finding("cni-manifest", "", problem, breaks, mend) for problem in error.problems]
    return network, image_registry.missing(settings, network)


def _once(judge: Callable[[Mapping[str, NodeState]], Iterable[Finding]], *, ignorable: bool) -> None:
    """pyinfra prepares all hosts at once; the first to come here asks all of them, the others find it done."""
    with _one_at_a_time:
        if id(state.inventory) not in _refusals:
            _refusals[id(state.inventory)] = _judged(judge, ignorable=ignorable)
        if refusal := _refusals[id(state.inventory)]:
            # pyinfra writes the place in the code before it, on the same line.
            raise DeployError("\n".join(["", *refusal]))
    if host in state.failed_hosts:
        # It did not answer what it is: nothing can be prepared for it, and the other hosts go on.
        raise GreenletExit


def _judged(judge: Callable[[Mapping[str, NodeState]], Iterable[Finding]], *, ignorable: bool) -> list[str]:
    # First: wrong settings need no hosts, and right ones say how patient to be with these.
    ignored = cluster().settings.ignore_findings if ignorable else ()
    quiet_operations.install(state)
    silence.watch(state)
    for each in state.inventory.get_active_hosts():
        connections.guard(each)
        deadlines.hold(each)
    hosts = inspecting.hosts()
    reached = verdict(judge(hosts), ignored, [node.name for node in cluster().nodes])
    for line in reached.shown():
        logger.warning(line)
    machines.remember(hosts)
    return reached.refusal(ignorable=ignorable)
