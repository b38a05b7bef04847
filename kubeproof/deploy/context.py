"""What deploy code knows: the cluster and who is who in it, and what preflight has found out about the hosts.

There is one context for each run of pyinfra; it belongs to the run's inventory.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from gevent.lock import Semaphore
from pyinfra import host
from pyinfra.api.exceptions import DeployError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.context import ctx_inventory, ctx_state

from kubeproof.config.cluster import Cluster, Node, cluster_from, contents_of
from kubeproof.config.tables.systems import System, system_of
from kubeproof.deploy import manifest_source
from kubeproof.networks.plan import NetworkPlan
from kubeproof.state.node import NodeState
from kubeproof.terminal.errors import UserError

_ATTRIBUTE = "kubeproof_context"


@dataclass
class Context:
    """The cluster, and what preflight fills in for the phases that follow."""

    cluster: Cluster
    hosts: Mapping[str, NodeState] = field(default_factory=dict)
    tunnel_mtu: int | None = None
    """What the hosts leave for a packet in a tunnel, in bytes."""
    refusal: list[str] | None = None
    """Lines that say why nothing is deployed, none if it is; None until that is known."""
    lock: Semaphore = field(default_factory=Semaphore)


def context() -> Context:
    """The context of the current pyinfra run. Raises DeployError, which pyinfra prints without a traceback."""
    inventory = ctx_inventory.get()
    if not hasattr(inventory, _ATTRIBUTE):
        # What is wrong is remembered as well: each of a thousand hosts asks.
        setattr(inventory, _ATTRIBUTE, _made_of(inventory))
    found: Context | UserError = getattr(inventory, _ATTRIBUTE)
    if isinstance(found, UserError):
        raise DeployError("\n".join(found.problems)) from found
    return found


def _made_of(inventory: Inventory) -> Context | UserError:
    try:
        return Context(cluster_from(contents_of(inventory)))
    except UserError as error:
        return error


def cluster() -> Cluster:
    """The cluster of the current pyinfra run. Raises DeployError."""
    return context().cluster


def network_plan() -> NetworkPlan:
    """The pod network of the current pyinfra run. Raises DeployError; preflight has said it before."""
    try:
        return manifest_source.plan_network(cluster().settings, context().tunnel_mtu)
    except UserError as error:
        raise DeployError("\n".join(error.problems)) from error


def node() -> Node:
    return cluster().node(host.name)


def is_leader() -> bool:
    """Whether that node is the control plane host on which `kubeadm init` runs."""
    return bool(host.name == cluster().leader.name)


def left_out() -> frozenset[str]:
    """Names of hosts that --limit leaves out. Preflight asks them as well; nothing else is prepared for them."""
    return frozenset(each.name for each in left_out_hosts())


def left_out_hosts() -> list[Host]:
    """The same, as pyinfra's hosts."""
    state = ctx_state.get()
    return [each for each in state.inventory if not state.is_host_in_limit(each)]


def leader_host() -> Host:
    """The leader as pyinfra's Host; one that --limit leaves out may not be connected."""
    found: Host = ctx_inventory.get().get_host(cluster().leader.name)
    return found


def machine() -> NodeState:
    """What is known of the host that deploy code is being prepared for. Raises DeployError before preflight."""
    try:
        return context().hosts[host.name]
    except KeyError:
        raise DeployError(f"{host.name}: was not asked what it is; preflight has to come first") from None


def system() -> System:
    """The operating system of that host. Raises DeployError if it is not supported."""
    written = machine().system
    found = system_of(written)
    if found is None:
        raise DeployError(f"{host.name}: runs {written or 'an unknown system'}, which is not supported")
    return found


def enforcing() -> bool:
    """Whether SELinux is to hold on that host for containers too."""
    return system().selinux and cluster().settings.selinux == "enforcing"
