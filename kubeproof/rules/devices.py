"""Rules of the pod network's devices on a node, and of Docker's bridge beside them. Pure."""

from collections.abc import Iterator

from kubeproof.networks.calico import IPIP_DEVICE
from kubeproof.networks.calico import VXLAN_DEVICE as CALICO_DEVICE
from kubeproof.networks.flannel import UDP_DEVICE, UDP_PORT
from kubeproof.rules.context import BRIDGE, DOCKER_BRIDGE, POD_DEVICE, VXLAN_DEVICE, Context, UndecidedError
from kubeproof.rules.repair import agent_restart, pods_anew, restart_agent
from kubeproof.rules.result import Outcome, same
from kubeproof.rules.rule import rule
from kubeproof.state.model import Link

NO_BRIDGE_YET = f"no {BRIDGE}: no pod of the pod network runs here (API), and the bridge comes with the first"


@rule(
    f"{VXLAN_DEVICE} (Calico: {CALICO_DEVICE}) is a VXLAN device with the cluster's VNI and port, over the node's own "
    "interface",
    meaning="packets between pods of different nodes travel by this device, and the other nodes take none that are "
    "made in another way",
    needs=("network",),
    look=lambda context: f"ip -d link show dev {context.vxlan_device}",
    remedies=restart_agent,
)
def flannel_device(context: Context) -> Outcome:
    """VXLAN, VNI and UDP port of the settings, no learning, outer source the node's address."""
    link = _link(context, context.vxlan_device)
    settings, underlay = context.cluster.settings, context.underlay.name
    expected = f"vxlan id {settings.vxlan_vni} local {context.underlay_address} dev {underlay} "
    expected += f"dstport {settings.vxlan_port} nolearning, up"
    if link.vxlan is None:
        return Outcome(False, expected, f"a link of kind {link.kind}")
    data = link.vxlan
    found = f"vxlan id {data.vni} local {data.local} dev {data.underlay} dstport {data.port} "
    found += f"{'learning' if data.learning else 'nolearning'}, {'up' if link.is_up else 'down'}"
    return same(expected, found)


def _surplus(context: Context, device: str, wanted: str) -> Iterator[str]:
    present = [str(address) for address in context.state.network.addresses_of(device)]
    yield from (f"ip addr del {address} dev {device}" for address in present if address != wanted)


def _tunnel_address(context: Context, outcome: Outcome) -> Iterator[str]:
    yield from _surplus(context, context.vxlan_device, outcome.expected)
    if outcome.expected not in outcome.found:
        yield agent_restart(context)


@rule(
    f"{VXLAN_DEVICE} has the network address of S, /32, and no other; Calico's tunnel has the one that the node object "
    "names",
    meaning="what the node itself sends to pods of other nodes has this address as its source, which they answer to",
    needs=("network",),
    look=lambda context: f"ip -4 addr show dev {context.vxlan_device}",
    remedies=_tunnel_address,
)
def flannel_address(context: Context) -> Outcome:
    """a.b.N.0/32."""
    return same(f"{context.tunnel_address_of(context.node.name)}/32", _addresses(context, context.vxlan_device))


def _bridge_address(context: Context, _: Outcome) -> Iterator[str]:
    link = context.state.network.link(BRIDGE)
    if link is None:
        yield from pods_anew(pod.full_name for pod in context.pods)
        return
    if not link.is_up:
        yield f"ip link set dev {BRIDGE} up"
    present = [str(address) for address in context.state.network.addresses_of(BRIDGE)]
    wanted = f"{context.gateway}/{context.subnet.prefixlen}"
    if wanted not in present:
        yield f"ip addr add {wanted} dev {BRIDGE}"
    yield from _surplus(context, BRIDGE, wanted)


@rule(
    f"{BRIDGE} has the first address of S, and no other",
    symptom='new pods do not start: "cni0 already has an IP address different from …"',
    meaning="the bridge has its address from an earlier cluster or podCIDR, or lost it, and the bridge plugin does not "
    "change it; pods that are on it have lost their gateway",
    references="kubernetes#39557",
    needs=("network",),
    look=f"ip -4 addr show dev {BRIDGE}",
    remedies=_bridge_address,
)
def cni0_address(context: Context) -> Outcome:
    """a.b.N.1/24."""
    expected = f"{context.gateway}/{context.subnet.prefixlen}"
    if not bridge_expected(context):
        return Outcome(True, f"{expected}, or no {BRIDGE} where no pod runs", NO_BRIDGE_YET)
    link = _link(context, BRIDGE)
    up = "" if link.is_up else ", down"
    return same(expected, _addresses(context, BRIDGE) + up)


def _set_mtus(context: Context, _: Outcome) -> Iterator[str]:
    for name, wanted, found in _mtus(context):
        if found != wanted:
            yield f"ip link set dev {name} mtu {wanted}"
    for container in context.state.containers:
        inner = container.network.link(POD_DEVICE) if container.network else None
        if inner is not None and inner.mtu > context.network_mtu:
            yield f"nsenter -t {container.pid} -n ip link set dev {POD_DEVICE} mtu {context.network_mtu}"


@rule(
    "no device of the pod network, and no cni_mtu, takes packets that the interface between the nodes has no room for",
    symptom="large packets hang, small ones pass",
    meaning="a packet that fills its device does not fit into the tunnel any more: VXLAN adds 50 bytes, and what is "
    "larger than the interface between the nodes is cut into pieces or lost",
    references="flannel#841 kubeadm#240",
    needs=("network", "containers"),
    before_deploy="error",
    look="ip link show",
    remedies=_set_mtus,
)
def cni_mtu(context: Context) -> Outcome:
    """The tunnel's device and the bridge have the pod network's MTU; pods have no larger one.

    Calico takes the host's MTU for pods and knows nothing of flannel's tunnel: cni_mtu tells it (veth_mtu).
    """
    mtus, most = list(_mtus(context)), context.network_mtu
    inner = [(item.pod, item.network.link(POD_DEVICE)) for item in context.state.containers if item.network]
    pods = [f"{POD_DEVICE} of {pod} takes {link.mtu}" for pod, link in inner if link and link.mtu > most]
    expected = [*(f"{name} takes {wanted}" for name, wanted, _ in mtus), f"{POD_DEVICE} of each pod at most {most}"]
    wrong = [*(f"{name} takes {found}" for name, wanted, found in mtus if found != wanted), *pods]
    why = f"{context.underlay.name} takes {context.underlay.mtu}, which leaves {most}"
    return Outcome(not wrong, "\n".join(expected), "\n".join([*wrong, why]) if wrong else why)


def _mtus(context: Context) -> Iterator[tuple[str, int, int]]:
    """Each device with the MTU that it is to have, and the one that it has."""
    if context.cluster.settings.backend.overhead:
        found, most = _link(context, context.vxlan_device).mtu, context.network_mtu
        # Calico gives its tunnel what pods have, the same on all nodes.
        yield context.vxlan_device, min(found, most) if context.cluster.settings.network.agent.blocks else most, found
    # The kernel gives a bridge the smallest MTU of its ports, and Ethernet's without any (br_mtu_auto_adjust).
    if context.cluster.settings.network.bridge and any(link.master == BRIDGE for link in context.state.network.links):
        yield BRIDGE, context.pod_mtu, _link(context, BRIDGE).mtu


def _leave_bridge(context: Context, _: Outcome) -> Iterator[str]:
    links = context.state.network.links
    strangers = [link.name for link in links if link.master == DOCKER_BRIDGE and not link.name.startswith("veth")]
    yield from (f"ip link set dev {name} nomaster" for name in strangers)
    yield "for id in $(docker ps -q --filter network=bridge); do docker network disconnect bridge $id; done"


@rule(
    f"{DOCKER_BRIDGE} has no carrier: no container uses Docker's own network",
    meaning="containers on Docker's own bridge are out of the pod network's sight: no Service, no policy, and "
    "addresses that the other nodes do not know",
    needs=("network",),
    look=f"ip link show dev {DOCKER_BRIDGE}; ip link show master {DOCKER_BRIDGE}",
    remedies=_leave_bridge,
)
def docker0_down(context: Context) -> Outcome:
    """No port and no carrier, if it is there at all."""
    expected = f"{DOCKER_BRIDGE} without carrier and ports, or no {DOCKER_BRIDGE}"
    link = context.state.network.link(DOCKER_BRIDGE)
    if link is None:
        return Outcome(True, expected, f"no {DOCKER_BRIDGE}")
    ports = [port.name for port in context.state.network.links if port.master == DOCKER_BRIDGE]
    found = f"{'carrier' if link.has_carrier else 'no carrier'}, ports: {', '.join(ports) or 'none'}"
    return Outcome(not link.has_carrier and not ports, expected, found)


@rule(
    f"{UDP_DEVICE} is a TUN device, and up",
    meaning="packets between pods of different nodes travel by this device, out of which flanneld reads them, to wrap "
    "them in UDP: it is there while flanneld runs",
    needs=("network",),
    look=f"ip -d link show dev {UDP_DEVICE}; ss -lunp 'sport = :{UDP_PORT}'",
    remedies=restart_agent,
)
def tun_device(context: Context) -> Outcome:
    """Without ARP and FDB: flanneld itself knows which node a packet is for."""
    return _of_kind(context, UDP_DEVICE, "tun")


@rule(
    f"{IPIP_DEVICE} is up",
    meaning="packets between pods of different nodes travel by this device, IP in IP; the kernel makes it with its "
    "module, and Calico's agent sets it up",
    needs=("network",),
    look=f"ip -d link show dev {IPIP_DEVICE}",
    remedies=restart_agent,
)
def ipip_device(context: Context) -> Outcome:
    """It has no ends of its own: routes name the nodes."""
    return _of_kind(context, IPIP_DEVICE, "ipip")


@rule(
    f"there is no {BRIDGE}: pods of Canal and Calico have links of their own",
    meaning="a bridge that is there is of an earlier pod network, and its route takes packets of pods away",
    needs=("network",),
    look="ip link show",
)
def no_bridge(context: Context) -> Outcome:
    found = context.state.network.link(BRIDGE)
    return Outcome(found is None, f"no {BRIDGE}", f"no {BRIDGE}" if found is None else f"{BRIDGE} of kind {found.kind}")


@rule(
    f"there is no {VXLAN_DEVICE}: host-gw needs no tunnel",
    meaning="a tunnel that is there is of an earlier backend, and its routes may be in the way",
    needs=("network",),
    look="ip -d link show type vxlan",
)
def no_tunnel(context: Context) -> Outcome:
    links = context.state.network.links
    found = [link.name for link in links if link.kind == "vxlan" and link.name.startswith("flannel.")]
    return Outcome(not found, "no VXLAN link of flannel", ", ".join(found) or "none")


def bridge_expected(context: Context) -> bool:
    """Whether cni0 must be right: it is there, or pods run here. Only the API can say that none does."""
    return context.state.network.link(BRIDGE) is not None or bool(context.pods)


def _of_kind(context: Context, name: str, kind: str) -> Outcome:
    """Whether a device is of a kind, and up."""
    link = _link(context, name)
    return same(f"{kind}, up", f"{link.kind}, {'up' if link.is_up else 'down'}")


def _link(context: Context, name: str) -> Link:
    link = context.state.network.link(name)
    if link is None:
        raise UndecidedError(f"there is no link {name}")
    return link


def _addresses(context: Context, device: str) -> str:
    _link(context, device)
    return ", ".join(str(address) for address in context.state.network.addresses_of(device)) or "no IPv4 address"
