"""Checks of how packets for pods leave a node: routes, ARP, FDB."""

from ipaddress import IPv4Network

from kubeproof.network.model import Route
from kubeproof.proof.checks_devices import NO_BRIDGE_YET, bridge_expected
from kubeproof.proof.context import BRIDGE, VXLAN_DEVICE, Context, Finding, check, same_set


@check("the only route to S leads to cni0", needs=("network",), look="ip -4 route show table all")
def route_to_own_pods(context: Context) -> Finding:
    """S dev cni0; none where cni0 may be absent and is."""
    subnet = context.subnet
    found = [route for route in pod_routes(context) if route.destination.subnet_of(subnet)]
    if not bridge_expected(context) and not found:
        return Finding(True, f"{subnet} dev {BRIDGE}, or none where no pod runs", NO_BRIDGE_YET)
    return same_set([Route(subnet, BRIDGE)], found)


@check(
    "each other node's subnet has one route, onlink over flannel.1; there is no other route into the pod CIDR",
    needs=("network",),
    look="ip -4 route show table all",
)
def routes_to_other_nodes(context: Context) -> Finding:
    """a.b.M.0/24 via a.b.M.0 dev flannel.1 onlink for each other node M, and none that is stale."""
    own = context.subnet
    expected = [_route_to(context, context.subnet_of(node.name)) for node in context.others]
    found = [route for route in pod_routes(context) if not route.destination.subnet_of(own)]
    return same_set(expected, found)


def _route_to(context: Context, subnet: IPv4Network) -> Route:
    return Route(subnet, context.vxlan_device, via=subnet[0], flags=frozenset({"onlink"}))


def pod_routes(context: Context) -> list[Route]:
    """Routes into the pod CIDR, of any table but the kernel's own (`local`)."""
    pods = context.cluster.settings.pod_cidr
    return [
        route for route in context.state.network.routes if route.table != "local" and route.destination.subnet_of(pods)
    ]


@check(
    "each other node's flannel.1 has a permanent ARP entry, and no other has",
    needs=("network",),
    look=f"ip -4 neigh show dev {VXLAN_DEVICE}",
)
def arp_entries(context: Context) -> Finding:
    """a.b.M.0 -> the MAC of M's flannel.1, PERMANENT."""
    expected = [f"{context.subnet_of(node.name)[0]} lladdr {context.vtep_mac(node.name)}" for node in context.others]
    found = [
        f"{entry.address} lladdr {entry.mac}"
        for entry in context.state.network.neighbours
        if entry.device == context.vxlan_device and entry.is_permanent
    ]
    return same_set(expected, found)


@check(
    "the MAC of each other node's flannel.1 leads to that node's address, and no other MAC anywhere",
    needs=("fdb", "network"),
    look=f"bridge fdb show dev {VXLAN_DEVICE}",
)
def fdb_entries(context: Context) -> Finding:
    """MAC -> M's node address, self permanent."""
    expected = [
        f"{context.vtep_mac(node.name)} dst {context.underlay_address_of(node)} self permanent"
        for node in context.others
    ]
    found = [
        " ".join([entry.mac, f"dst {entry.destination}", *sorted(entry.flags), entry.state]).strip()
        for entry in context.state.fdb
        if entry.device == context.vxlan_device
    ]
    return same_set(expected, found)


PATH_CHECKS = (route_to_own_pods, routes_to_other_nodes, arp_entries, fdb_entries)
