"""Checks of how packets for pods leave a node: routes, ARP, FDB."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Network

from kubeproof.proof.checks_devices import NO_BRIDGE_YET, bridge_expected
from kubeproof.proof.context import BRIDGE, VXLAN_DEVICE, Context, Finding, check, same_set
from kubeproof.state.model import FdbEntry, Neighbour, Route


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
    "each other node's flannel.1 has a permanent ARP entry; no other has, but what flannel left and no route leads to",
    needs=("network",),
    look=f"ip -4 neigh show dev {VXLAN_DEVICE}",
)
def arp_entries(context: Context) -> Finding:
    """a.b.M.0 -> the MAC of M's flannel.1, PERMANENT."""
    wanted = {context.subnet_of(node.name)[0]: context.vtep_mac(node.name) for node in context.others}
    entries = [
        entry
        for entry in context.state.network.neighbours
        if entry.device == context.vxlan_device and entry.is_permanent
    ]
    gateways = {route.via for route in context.state.network.routes if route.device == context.vxlan_device}
    old = [
        entry
        for entry in entries
        if context.cluster.settings.network.leaves_neighbours and entry.address not in {*wanted, *gateways}
    ]
    expected = [f"{address} lladdr {mac}" for address, mac in wanted.items()]
    return _but_for(map(_arp, old), same_set(expected, [_arp(entry) for entry in entries if entry not in old]))


def _arp(entry: Neighbour) -> str:
    return f"{entry.address} lladdr {entry.mac}"


@check(
    "the MAC of each other node's flannel.1 leads to that node's address; no other MAC anywhere, but what flannel left "
    "of earlier MACs to nodes of the cluster",
    needs=("fdb", "network"),
    look=f"bridge fdb show dev {VXLAN_DEVICE}",
)
def fdb_entries(context: Context) -> Finding:
    """MAC -> M's node address, self permanent."""
    macs = {node.name: context.vtep_mac(node.name) for node in context.others}
    addresses = {node.name: context.underlay_address_of(node) for node in context.others}
    own = context.state.network.link(context.vxlan_device)
    live = {*macs.values(), own.mac if own else "", FLOOD}
    entries = [entry for entry in context.state.fdb if entry.device == context.vxlan_device and not _is_kernels(entry)]
    old = [
        entry
        for entry in entries
        if context.cluster.settings.network.leaves_neighbours
        and entry.mac not in live
        and entry.destination in addresses.values()
    ]
    expected = [f"{mac} dst {addresses[name]} self permanent" for name, mac in macs.items()]
    return _but_for(map(_fdb, old), same_set(expected, [_fdb(entry) for entry in entries if entry not in old]))


FLOOD = "00:00:00:00:00:00"
"""The entry that frames to any unknown MAC take (bridge(8)): never a node's own, and never harmless."""


def _is_kernels(entry: FdbEntry) -> bool:
    """Multicast groups that the link listens to, which some kernels list here (flannel#260)."""
    return entry.destination is None and int(entry.mac[:2], 16) % 2 == 1


def _fdb(entry: FdbEntry) -> str:
    return " ".join([entry.mac, f"dst {entry.destination}", *sorted(entry.flags), entry.state]).strip()


def _but_for(old: Iterable[str], finding: Finding) -> Finding:
    """A finding that also names the entries that do no harm."""
    return replace(
        finding, found="\n".join([finding.found, *(f"left by flanneld, without effect: {line}" for line in old)])
    )
