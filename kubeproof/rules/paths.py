"""Rules of how packets for pods leave a node: routes, ARP, FDB. Pure."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv4Network

from kubeproof.config.cluster import Node
from kubeproof.networks.calico import FELIX
from kubeproof.rules.context import BRIDGE, Context
from kubeproof.rules.devices import NO_BRIDGE_YET, bridge_expected
from kubeproof.rules.pods import IS_CALICO_LINK, pod_links
from kubeproof.rules.repair import agent_restart, restart_of, route_deletion
from kubeproof.rules.result import Outcome, same_set
from kubeproof.rules.rule import KUBECTL, rule
from kubeproof.state.model import FdbEntry, Neighbour, Route

ROUTES = "ip -4 route show table all"
route_rule = partial(rule, needs=("network",), look=ROUTES)


def pod_routes(context: Context) -> list[Route]:
    """Routes into the pod CIDR, of any table but the kernel's own (`local`)."""
    pods = context.cluster.settings.pod_cidr
    return [
        route for route in context.state.network.routes if route.table != "local" and route.destination.subnet_of(pods)
    ]


def _surplus(context: Context, outcome: Outcome) -> Iterator[str]:
    surplus = outcome.lines("not expected: ")
    yield from (route_deletion(route) for route in pod_routes(context) if str(route) in surplus)


def _own_route(context: Context, outcome: Outcome) -> Iterator[str]:
    yield from _surplus(context, outcome)
    if outcome.lines("missing: "):
        yield f"ip route replace {context.subnet} dev {BRIDGE} proto kernel scope link src {context.gateway}"


@route_rule(
    "the only route to S leads to cni0",
    meaning="nothing on the node, and nothing that comes from other nodes, reaches the pods here",
    remedies=_own_route,
)
def route_to_own_pods(context: Context) -> Outcome:
    """S dev cni0; none where cni0 may be absent and is."""
    subnet = context.subnet
    found = [route for route in pod_routes(context) if route.destination.subnet_of(subnet)]
    if not bridge_expected(context) and not found:
        return Outcome(True, f"{subnet} dev {BRIDGE}, or none where no pod runs", NO_BRIDGE_YET)
    return same_set([Route(subnet, BRIDGE)], found)


def _others_routes(context: Context, outcome: Outcome) -> Iterator[str]:
    yield from _surplus(context, outcome)
    if outcome.lines("missing: "):
        yield agent_restart(context)


@route_rule(
    "each other node's subnet has one route, onlink over flannel.1; there is no other route into the pod CIDR",
    meaning="packets for pods of another node leave by the wrong device, or are refused",
    remedies=_others_routes,
)
def routes_to_other_nodes(context: Context) -> Outcome:
    """a.b.M.0/24 via a.b.M.0 dev flannel.1 onlink for each other node M, and none that is stale."""
    own = context.subnet
    expected = [_route_to(context, context.subnet_of(node.name)) for node in context.others]
    found = [route for route in pod_routes(context) if not route.destination.subnet_of(own)]
    return same_set(expected, found)


def _route_to(context: Context, subnet: IPv4Network) -> Route:
    return Route(subnet, context.vxlan_device, via=subnet[0], flags=frozenset({"onlink"}))


@route_rule(
    "each other node's subnet has one route, by that node's address; there is no other route into the pod CIDR",
    meaning="packets for pods of another node are sent to the wrong node, or nowhere",
    remedies=_others_routes,
)
def routes_by_nodes(context: Context) -> Outcome:
    """a.b.M.0/24 via NODE dev eth0 for each other node M, and none that is stale."""
    device = context.underlay.name
    expected = [
        Route(context.subnet_of(node.name), device, via=context.underlay_address_of(node)) for node in context.others
    ]
    found = [route for route in pod_routes(context) if not route.destination.subnet_of(context.subnet)]
    return same_set(expected, found)


@route_rule(
    "the pod CIDR has one route, by flannel0; there is no other route into it but to the pods here",
    meaning="packets for pods of other nodes do not come to flanneld, which wraps them",
    remedies=_others_routes,
)
def route_to_flanneld(context: Context) -> Outcome:
    """a.b.0.0/16 dev flannel0: whose a part is, flanneld knows."""
    found = [route for route in pod_routes(context) if not route.destination.subnet_of(context.subnet)]
    return same_set([Route(context.cluster.settings.pod_cidr, context.vxlan_device)], found)


def _neighbours(context: Context, outcome: Outcome) -> Iterator[str]:
    missing = outcome.lines("missing: ")
    kept = {line.split()[0] for line in missing}
    surplus = [line.split()[0] for line in outcome.lines("not expected: ")]
    yield from (f"ip neigh del {address} dev {context.vxlan_device}" for address in surplus if address not in kept)
    if missing:
        yield agent_restart(context)


@rule(
    "each other node's flannel.1 has a permanent ARP entry; no other has, but what flannel left and no route leads to",
    meaning="the kernel does not know which frame to make for pods of another node, and drops their packets",
    needs=("network",),
    look=lambda context: f"ip -4 neigh show dev {context.vxlan_device}",
    remedies=_neighbours,
)
def arp_entries(context: Context) -> Outcome:
    """a.b.M.0 -> the MAC of M's flannel.1, PERMANENT."""
    wanted = {context.tunnel_address_of(node.name): context.vtep_mac(node.name) for node in context.others}
    entries = [
        entry
        for entry in context.state.network.neighbours
        if entry.device == context.vxlan_device and entry.is_permanent
    ]
    gateways = {route.via for route in context.state.network.routes if route.device == context.vxlan_device}
    leaves_old = context.cluster.settings.network.leaves_neighbours
    old = [entry for entry in entries if leaves_old and entry.address not in {*wanted, *gateways}]
    expected = [f"{address} lladdr {mac}" for address, mac in wanted.items()]
    return _but_for(map(_arp, old), same_set(expected, [_arp(entry) for entry in entries if entry not in old]))


def _arp(entry: Neighbour) -> str:
    return f"{entry.address} lladdr {entry.mac}"


def _forwarding_entries(context: Context, outcome: Outcome) -> Iterator[str]:
    for line in outcome.lines("not expected: "):
        words = line.split()
        yield f"bridge fdb del {words[0]} dev {context.vxlan_device}" + (f" dst {words[2]}" if "dst" in words else "")
    if outcome.lines("missing: "):
        yield agent_restart(context)


@rule(
    "the MAC of each other node's flannel.1 leads to that node's address; no other MAC anywhere, but what flannel left "
    "of earlier MACs to nodes of the cluster",
    meaning="frames for pods of another node go to a node that is not theirs, or to none",
    needs=("fdb", "network"),
    look=lambda context: f"bridge fdb show dev {context.vxlan_device}",
    remedies=_forwarding_entries,
)
def fdb_entries(context: Context) -> Outcome:
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


def _but_for(old: Iterable[str], outcome: Outcome) -> Outcome:
    """With the entries that do no harm named as well."""
    return replace(
        outcome, found="\n".join([outcome.found, *(f"left by flanneld, without effect: {line}" for line in old)])
    )


@rule(
    "the only routes into S, or by links of pods, are one to each pod, by its own link",
    meaning="a pod without its route is not reached, from this node or any other",
    needs=("network", "containers"),
    look=ROUTES,
    remedies=restart_of(FELIX),
)
def routes_to_pods(context: Context) -> Outcome:
    """a.b.N.x dev caliXXX scope link, for each pod that runs here."""
    links = dict(pod_links(context))
    expected = [
        Route(IPv4Network(f"{pod.ip}/32"), links.get(pod.full_name, "(its link was not found)")) for pod in context.pods
    ]
    return same_set(expected, [route for route in pod_routes(context) if _is_to_pod(context, route)])


def _is_to_pod(context: Context, route: Route) -> bool:
    """Whether a route is about pods of this node. Within its blocks there is a route for all that no pod has."""
    if context.cluster.settings.network.agent.blocks:
        return IS_CALICO_LINK.fullmatch(route.device or "") is not None
    return route.destination.subnet_of(context.subnet)


@rule(
    "each block of each other node has one route: by the tunnel, or without one by that node's address; each own block "
    "leads nowhere but to pods; there is no other route into the pod CIDR",
    meaning="packets for pods of another node are sent to the wrong node, or nowhere",
    needs=("network",),
    look=f"{ROUTES}; {KUBECTL} get blockaffinities.crd.projectcalico.org",
    remedies=_others_routes,
)
def routes_to_blocks(context: Context) -> Outcome:
    """Of BIRD (proto bird), or with VXLAN of felix (proto 80): whose they are does not count, nor onlink."""
    expected = [Route(block, None, type="blackhole") for block in context.subnets_of(context.node.name)]
    for node in context.others:
        device, via = _way_to(context, node)
        expected += [Route(block, device, via=via) for block in context.subnets_of(node.name)]
    found = [route for route in pod_routes(context) if not _is_to_pod(context, route)]
    return same_set(expected, [replace(route, flags=frozenset()) for route in found])


def _way_to(context: Context, node: Node) -> tuple[str, IPv4Address]:
    """Device and gateway of routes to another node's blocks."""
    settings, address = context.cluster.settings, context.underlay_address_of(node)
    here = context.state.network.addresses_of(context.underlay.name)
    near = settings.cni_cross_subnet and any(address in item.interface.network for item in here)
    if near or not settings.backend.overhead:
        return context.underlay.name, address
    by_address = settings.cni_backend == "ipip"
    return context.vxlan_device, address if by_address else context.tunnel_address_of(node.name)
