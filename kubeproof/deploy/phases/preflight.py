"""Everything that can be known to be wrong is said before anything is changed, on all hosts together."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

from gevent import GreenletExit
from pyinfra import host, logger, state
from pyinfra.api import deploy
from pyinfra.api.exceptions import DeployError

from kubeproof.config.cluster import Cluster
from kubeproof.config.tables.systems import OTHER_ARCHITECTURES
from kubeproof.deploy import manifest_source
from kubeproof.deploy.context import cluster, context, left_out
from kubeproof.deploy.phases import inspecting
from kubeproof.networks.plan import NetworkPlan
from kubeproof.node import image_registry, images
from kubeproof.node.between_hosts import tunnel_mtu
from kubeproof.node.finding import Finding
from kubeproof.rules.before_deploy import left_out as left_out_rules
from kubeproof.rules.before_deploy import networks, ownership
from kubeproof.rules.before_deploy.evaluate import evaluate, verdict
from kubeproof.rules.before_deploy.inspection import Inspection
from kubeproof.rules.before_deploy.network_obstacles import cni_manifest
from kubeproof.state.node import NodeState
from kubeproof.terminal.errors import UserError


@deploy("Preflight")
def check() -> None:
    """Check settings, inventory, hosts and manifest. Raises DeployError with a line for each problem.

    Hosts that --limit leaves out are asked too; of what is wrong with them only that counts which concerns the others.
    """
    _once(_findings, is_deploy=True)


@deploy("Preflight")
def check_ownership() -> None:
    """Check settings, inventory, and that there is no cluster of somebody else's on a host. Raises DeployError.

    What a deploy was to ignore is no leave to take it away.
    """
    wanted = cluster()
    _once(lambda hosts: ownership.findings(Inspection(wanted, hosts)), is_deploy=False)


def _findings(hosts: Mapping[str, NodeState]) -> Iterator[Finding]:
    wanted = cluster()
    context().tunnel_mtu = mtu = tunnel_mtu(wanted, hosts)
    network, problems = _network_plan(mtu)
    yield from problems
    lacking, untold = _images(wanted, hosts, network)
    yield from image_registry.absent(lacking)
    if others := _of_other_architectures(wanted, hosts, network, {*lacking, *untold}):
        yield from image_registry.unbuilt(wanted.settings, others)
    inspection = inspecting.inspect(wanted, hosts, network, untold)
    for note in (*(network.notes if network else ()), *networks.notes(inspection)):
        logger.info(note)
    yield from evaluate(inspection)


def _of_other_architectures(
    wanted: Cluster, hosts: Mapping[str, NodeState], network: NetworkPlan | None, but: Collection[str]
) -> dict[str, list[str]]:
    """Images that hosts which are no nodes yet will pull, by architecture, of all that are not amd64: everything has
    images for that."""
    found: dict[str, list[str]] = {}
    for node in wanted.nodes:
        facts = hosts.get(node.name)
        if facts and not facts.kubelet_version and facts.architecture in OTHER_ARCHITECTURES:
            needed = images.images_for(node.role, wanted.settings, network.images if network else ())
            found.setdefault(facts.architecture, []).extend(image for image in needed if image not in but)
    return found


def _images(
    wanted: Cluster, hosts: Mapping[str, NodeState], network: NetworkPlan | None
) -> tuple[list[str], list[str]]:
    """Of the images that hosts which are no nodes yet will pull: those that their registries lack, and those that could
    not be asked for from here. The pod network's from a repository of its own have been asked for."""
    of_network = network.images if network and not wanted.settings.cni_image_repository else ()
    without = left_out()
    new = {name for name, facts in hosts.items() if name not in without and not facts.kubelet_version}
    roles = {node.role for node in wanted.nodes if node.name in new}
    needed = [image for role in sorted(roles) for image in images.images_for(role, wanted.settings, of_network)]
    return image_registry.lacking(wanted.settings, needed)


def _network_plan(mtu: int | None) -> tuple[NetworkPlan | None, list[Finding]]:
    """The network and what is wrong with its images, or what is wrong with its manifest."""
    settings = cluster().settings
    try:
        network = manifest_source.plan_network(settings, mtu)
    except UserError as error:
        remedy = "nothing can be applied before that is so"
        return None, [cni_manifest.finding(problem, remedy) for problem in error.problems]
    return network, image_registry.missing(settings, network)


def _once(find: Callable[[Mapping[str, NodeState]], Iterable[Finding]], *, is_deploy: bool) -> None:
    """pyinfra prepares all hosts at once; the first to come here asks all of them, the others find it done."""
    known = context()
    with known.lock:
        if known.refusal is None:
            known.refusal = _evaluated(find, is_deploy=is_deploy)
        if known.refusal:
            # pyinfra writes the place in the code before it, on the same line.
            raise DeployError("\n".join(["", *known.refusal]))
    if host in state.failed_hosts:
        # It did not answer what it is: nothing can be prepared for it, and the other hosts go on.
        raise GreenletExit


def _evaluated(find: Callable[[Mapping[str, NodeState]], Iterable[Finding]], *, is_deploy: bool) -> list[str]:
    wanted, names = cluster(), [node.name for node in cluster().nodes]
    if is_deploy:
        inspecting.connect_left_out()
    try:
        inspecting.enter()
    except UserError as error:
        return list(error.problems)
    context().hosts = hosts = inspecting.hosts()
    found = left_out_rules.heeded(find(hosts), wanted, left_out())
    reached = verdict(found, wanted.settings.ignore_findings if is_deploy else (), names)
    inspecting.forget_failures()
    for line in reached.shown():
        logger.warning(line)
    return reached.refusal(ignorable=is_deploy)
