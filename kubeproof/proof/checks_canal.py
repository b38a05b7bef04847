"""Checks of Canal's way to pods: no bridge, a route to each pod's own link, and 169.254.1.1 as everybody's gateway.

Sources: Calico documentation, "Component architecture" and the FAQ ("Why does my container have a route to
169.254.1.1?").
"""

import re
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from kubeproof.networks.canal import POD_LINK
from kubeproof.proof.api import Pod
from kubeproof.proof.checks_filters import pod_links
from kubeproof.proof.checks_paths import pod_routes
from kubeproof.proof.checks_pods import NEEDS, NO_PODS, each_pod, look_at_pods
from kubeproof.proof.context import BRIDGE, POD_DEVICE, Context, Finding, all_of, check, same, same_set
from kubeproof.state.iproute import DEFAULT_ROUTE
from kubeproof.state.model import Namespace, Route

GATEWAY = IPv4Address("169.254.1.1")
"""Link-local address that the node answers ARP for on every pod's link (proxy_arp)."""
_IS_CALICO_LINK = re.compile(POD_LINK)


@check(f"there is no {BRIDGE}: Canal's pods have links of their own", needs=("network",), look="ip link show")
def no_bridge(context: Context) -> Finding:
    """One that is there is of an earlier pod network."""
    found = context.state.network.link(BRIDGE)
    return Finding(found is None, f"no {BRIDGE}", f"no {BRIDGE}" if found is None else f"{BRIDGE} of kind {found.kind}")


@check(
    "the only routes into S are one to each pod, by its own link",
    needs=NEEDS,
    look="ip -4 route show table all",
)
def routes_to_pods(context: Context) -> Finding:
    """a.b.N.x dev caliXXX scope link, for each pod that runs here."""
    links = dict(pod_links(context))
    expected = [
        Route(IPv4Network(f"{pod.ip}/32"), links.get(pod.full_name, "(its link was not found)")) for pod in context.pods
    ]
    found = [route for route in pod_routes(context) if route.destination.subnet_of(context.subnet)]
    return same_set(expected, found)


@check("each pod's eth0 has its address of the API, as /32 in S", needs=NEEDS, look=look_at_pods)
def pod_single_addresses(context: Context) -> Finding:
    """As /32: a pod has no neighbours, all goes by the node."""

    def decide(pod: Pod, network: Namespace) -> Finding:
        inside = pod.ip is not None and pod.ip in context.subnet
        found = ", ".join(map(str, network.addresses_of(POD_DEVICE))) or f"no address on {POD_DEVICE}"
        expected = str(IPv4Interface((pod.ip, 32))) if pod.ip else "an address"
        return Finding(inside and found == expected, f"{expected} in {context.subnet}", found)

    return all_of(each_pod(context, decide), expected=f"for each pod its address, in {context.subnet}", nothing=NO_PODS)


@check(f"each pod's only default route leads to {GATEWAY}", needs=NEEDS, look=look_at_pods)
def pod_link_local_gateways(context: Context) -> Finding:
    """default via 169.254.1.1 dev eth0, and that address on the link."""
    expected = [Route(DEFAULT_ROUTE, POD_DEVICE, via=GATEWAY), Route(IPv4Network(f"{GATEWAY}/32"), POD_DEVICE)]

    def decide(pod: Pod, network: Namespace) -> Finding:
        return same_set(expected, network.routes_in())

    return all_of(each_pod(context, decide), expected=f"for each pod {expected[0]} and {expected[1]}", nothing=NO_PODS)


@check(
    "the other end of each pod's eth0 is a link caliXXX of its own, up and in no bridge", needs=NEEDS, look="ip -d link"
)
def calico_links(context: Context) -> Finding:
    """Felix knows pods by these names; any other link is not policed."""

    def decide(pod: Pod, network: Namespace) -> Finding:
        return same("veth caliXXXXXXXXXXX, up, in no bridge", _link(context, network))

    return all_of(
        each_pod(context, decide), expected="for each pod a veth caliXXXXXXXXXXX, up, in no bridge", nothing=NO_PODS
    )


def _link(context: Context, network: Namespace) -> str:
    inner = network.link(POD_DEVICE)
    outer = context.state.network.link_by_index(inner.peer_index) if inner and inner.peer_index is not None else None
    if outer is None:
        return f"no {POD_DEVICE} with an end on the node"
    name = "caliXXXXXXXXXXX" if _IS_CALICO_LINK.fullmatch(outer.name) else outer.name
    return f"{outer.kind} {name}, {'up' if outer.is_up else 'down'}, in {outer.master or 'no bridge'}"


@check(
    "no packet of a pod is too large for the tunnel: its eth0 has the underlay's MTU less 50, or less",
    needs=NEEDS,
    look="ip link show; cat /var/lib/calico/mtu",
)
def pod_mtus(context: Context) -> Finding:
    """Calico takes the host's MTU and knows nothing of flannel's tunnel: cni_mtu tells it (kubeproof sets veth_mtu)."""

    def decide(pod: Pod, network: Namespace) -> Finding:
        inner = network.link(POD_DEVICE)
        mtu = inner.mtu if inner else 0
        return Finding(0 < mtu <= context.overlay_mtu, f"at most {context.overlay_mtu}", str(mtu))

    return all_of(
        each_pod(context, decide), expected=f"for each pod at most {context.overlay_mtu} bytes", nothing=NO_PODS
    )
