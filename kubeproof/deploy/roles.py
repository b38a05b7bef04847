"""Who is who, for deploy code: the only reader of groups there."""

from weakref import WeakKeyDictionary

from pyinfra import host
from pyinfra.api.exceptions import DeployError
from pyinfra.api.host import Host
from pyinfra.api.inventory import Inventory
from pyinfra.context import ctx_inventory

from kubeproof.config.cluster import Cluster, Node, cluster_of
from kubeproof.networks import source
from kubeproof.networks.plan import NetworkPlan
from kubeproof.terminal.errors import UserError

_tunnel_mtus: "WeakKeyDictionary[Inventory, int | None]" = WeakKeyDictionary()


def cluster() -> Cluster:
    """The cluster of the current pyinfra run. Raises DeployError, which pyinfra prints without a traceback."""
    try:
        return cluster_of(ctx_inventory.get())
    except UserError as error:
        raise DeployError("\n".join(error.problems)) from error


def remember_tunnel_mtu(mtu: int | None) -> None:
    """What preflight has found the hosts to leave for a packet in a tunnel, in bytes."""
    _tunnel_mtus[ctx_inventory.get()] = mtu


def network_plan() -> NetworkPlan:
    """What the pod network of the current pyinfra run needs. Raises DeployError; preflight has said it before."""
    try:
        return source.plan_network(cluster().settings, _tunnel_mtus.get(ctx_inventory.get()))
    except UserError as error:
        raise DeployError("\n".join(error.problems)) from error


def node() -> Node:
    """The node that deploy code is being prepared for."""
    return cluster().node(host.name)


def is_leader() -> bool:
    """Whether that node is the control plane host on which `kubeadm init` runs."""
    return bool(host.name == cluster().leader.name)


def leader_host() -> Host:
    """The leader as pyinfra's Host; under --limit it is not connected before ``connect()``."""
    found: Host = ctx_inventory.get().get_host(cluster().leader.name)
    return found
