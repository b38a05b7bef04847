"""Checks of flannel's backend host-gw: plain routes by the other nodes' addresses, and no tunnel."""

from kubeproof.proof.checks_paths import pod_routes
from kubeproof.proof.context import VXLAN_DEVICE, Context, Finding, check, same_set
from kubeproof.state.model import Route


@check(f"there is no {VXLAN_DEVICE}: host-gw needs no tunnel", needs=("network",), look="ip -d link show type vxlan")
def no_tunnel(context: Context) -> Finding:
    """One that is there is of an earlier backend, and its routes may be in the way."""
    found = [
        link.name for link in context.state.network.links if link.kind == "vxlan" and link.name.startswith("flannel.")
    ]
    return Finding(not found, "no VXLAN link of flannel", ", ".join(found) or "none")


@check(
    "each other node's subnet has one route, by that node's address; there is no other route into the pod CIDR",
    needs=("network",),
    look="ip -4 route show table all",
)
def routes_by_nodes(context: Context) -> Finding:
    """a.b.M.0/24 via NODE dev eth0 for each other node M, and none that is stale."""
    device = context.underlay.name
    expected = [
        Route(context.subnet_of(node.name), device, via=context.underlay_address_of(node)) for node in context.others
    ]
    found = [route for route in pod_routes(context) if not route.destination.subnet_of(context.subnet)]
    return same_set(expected, found)
