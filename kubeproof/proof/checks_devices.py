"""Checks of flannel.1, cni0 and docker0."""

from kubeproof.proof.context import BRIDGE, DOCKER_BRIDGE, VXLAN_DEVICE, Context, Finding, UndecidedError, check, same
from kubeproof.state.model import Link

NO_BRIDGE_YET = f"no {BRIDGE}: no pod of the pod network runs here (API), and the bridge comes with the first"


@check(
    f"{VXLAN_DEVICE} is a VXLAN device with the cluster's VNI and port, over the node's own interface",
    needs=("network",),
    look=f"ip -d link show dev {VXLAN_DEVICE}",
)
def flannel_device(context: Context) -> Finding:
    """VXLAN, VNI and UDP port of the settings, no learning, outer source the node's address."""
    link = _link(context, context.vxlan_device)
    settings, underlay = context.cluster.settings, context.underlay.name
    expected = f"vxlan id {settings.vxlan_vni} local {context.underlay_address} dev {underlay} "
    expected += f"dstport {settings.vxlan_port} nolearning, up"
    if link.vxlan is None:
        return Finding(False, expected, f"a link of kind {link.kind}")
    data = link.vxlan
    found = f"vxlan id {data.vni} local {data.local} dev {data.underlay} dstport {data.port} "
    found += f"{'learning' if data.learning else 'nolearning'}, {'up' if link.is_up else 'down'}"
    return same(expected, found)


@check(
    f"{VXLAN_DEVICE} has the network address of S, /32, and no other",
    needs=("network",),
    look=f"ip -4 addr show dev {VXLAN_DEVICE}",
)
def flannel_address(context: Context) -> Finding:
    """a.b.N.0/32."""
    return same(f"{context.subnet[0]}/32", _addresses(context, context.vxlan_device))


@check(f"{VXLAN_DEVICE} has the underlay's MTU less 50", needs=("network",), look="ip link show")
def flannel_mtu(context: Context) -> Finding:
    """1450 over an Ethernet of 1500."""
    return same(context.overlay_mtu, _link(context, context.vxlan_device).mtu)


@check(
    f"{BRIDGE} has the first address of S, and no other",
    needs=("network",),
    look=f"ip -4 addr show dev {BRIDGE}",
)
def cni0_address(context: Context) -> Finding:
    """a.b.N.1/24; a stale one keeps every new pod from starting (kubernetes#39557)."""
    expected = f"{context.gateway}/{context.subnet.prefixlen}"
    if not bridge_expected(context):
        return Finding(True, f"{expected}, or no {BRIDGE} where no pod runs", NO_BRIDGE_YET)
    link = _link(context, BRIDGE)
    up = "" if link.is_up else ", down"
    return same(expected, _addresses(context, BRIDGE) + up)


@check(
    f"{BRIDGE} has the MTU of the pod network: that of {VXLAN_DEVICE} if there is one",
    needs=("network",),
    look="ip link show",
)
def cni0_mtu(context: Context) -> Finding:
    """As flannel.1: a packet that fits the bridge fits the tunnel (flannel#841)."""
    if not bridge_expected(context):
        return Finding(True, f"{context.pod_mtu}, or no {BRIDGE} where no pod runs", NO_BRIDGE_YET)
    bridge = _link(context, BRIDGE)
    if not any(link.master == BRIDGE for link in context.state.network.links):
        # The kernel gives a bridge the smallest MTU of its ports, and Ethernet's without any (br_mtu_auto_adjust).
        return Finding(True, f"{context.pod_mtu}, or any where no pod is attached", f"{bridge.mtu}, no pod attached")
    return same(context.pod_mtu, bridge.mtu)


@check(
    f"{DOCKER_BRIDGE} has no carrier: no container uses Docker's own network",
    needs=("network",),
    look=f"ip link show dev {DOCKER_BRIDGE}; ip link show master {DOCKER_BRIDGE}",
)
def docker0_down(context: Context) -> Finding:
    """Containers on docker0 would be out of the pod network's sight."""
    expected = f"{DOCKER_BRIDGE} without carrier and ports, or no {DOCKER_BRIDGE}"
    link = context.state.network.link(DOCKER_BRIDGE)
    if link is None:
        return Finding(True, expected, f"no {DOCKER_BRIDGE}")
    ports = [port.name for port in context.state.network.links if port.master == DOCKER_BRIDGE]
    found = f"{'carrier' if link.has_carrier else 'no carrier'}, ports: {', '.join(ports) or 'none'}"
    return Finding(not link.has_carrier and not ports, expected, found)


def bridge_expected(context: Context) -> bool:
    """Whether cni0 must be right: it is there, or pods run here. Only the API can say that none does."""
    return context.state.network.link(BRIDGE) is not None or bool(context.pods)


def _link(context: Context, name: str) -> Link:
    link = context.state.network.link(name)
    if link is None:
        raise UndecidedError(f"there is no link {name}")
    return link


def _addresses(context: Context, device: str) -> str:
    _link(context, device)
    return ", ".join(str(address) for address in context.state.network.addresses_of(device)) or "no IPv4 address"
