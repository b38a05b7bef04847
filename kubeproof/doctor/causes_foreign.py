"""Causes that somebody else has put into a node's kernel: filters, translations, routes, neighbours, queues. Pure."""

from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Unpack

from kubeproof.doctor.diagnosis import NOTHING, Case, Cause, Follows, Words, cause_on_node, rule_of
from kubeproof.doctor.evidence import Evidence
from kubeproof.networks import artifacts
from kubeproof.proof.probes import KUARD_PORT
from kubeproof.rules.context import BRIDGE, POD_DEVICE, Context, UndecidedError
from kubeproof.rules.host import FORWARDING
from kubeproof.rules.repair import deletion, route_deletion
from kubeproof.rules.result import Remedy
from kubeproof.state import foreign
from kubeproof.state.foreign import NO_WAY, Interest, IpRule
from kubeproof.state.model import UNICAST, Route

FIXED_PORTS = (53, 80, 443, 2379, 2380, 6443, 10250, KUARD_PORT)
"""Of DNS, the API, etcd, kubelet, and the demo."""
Strangers = Iterable[tuple[str, str]]
"""What was seen of each thing, and the command that takes it away."""
OF_LOST_PACKETS = Follows(
    here=("kubelet-reached", "kubelet-healthy", "control-plane-healthy", "node-ready"),
    everywhere=("api", "kubelet-reached"),
)
KNOWN_CHAINS = (
    *("KUBE-", "CNI-", "DOCKER-ISOLATION", "KUBE-ROUTER", "f2b-"),
    *artifacts.CHAINS,
    *artifacts.OTHERS_CHAINS,
)
"""Prefixes of chains whose rules are the cluster's, or of programs that are known to do it no harm."""


def interest(context: Context) -> Interest:
    """What of a node's traffic is the cluster's."""
    settings, objects = context.cluster.settings, context.objects
    nodes = [IPv4Network(node.address) for node in context.cluster.nodes]
    ports = {*FIXED_PORTS, settings.vxlan_port, settings.httpd_node_port}
    if not isinstance(objects, str):
        ports |= {port.port for service in objects.services for port in service.ports}
        ports |= {port.node_port for service in objects.services for port in service.ports if port.node_port}
        ports |= {backend.port for backends in objects.endpoints.values() for backend in backends}
    networks = (settings.pod_cidr, settings.service_cidr, *nodes)
    return Interest(networks, frozenset(ports), devices(context), KNOWN_CHAINS)


def devices(context: Context) -> tuple[str, ...]:
    links = context.state.network.links
    ports = [link.name for link in links if link.master == BRIDGE or artifacts.is_own_link(link.name)]
    try:
        own = [context.underlay.name]
    except UndecidedError:
        own = []
    return (*own, context.vxlan_device, BRIDGE, *ports)


def in_the_way(
    holds: str, *, follows: Follows = NOTHING, **words: Unpack[Words]
) -> Callable[[Callable[[Evidence, Context], Strangers]], Cause]:
    """Declare what finds things of somebody else on a node, each with the command that takes it away.

    They may be meant so, and are looked for only where the proof does not hold.
    """

    def declare(find: Callable[[Evidence, Context], Strangers]) -> Cause:
        @cause_on_node(rule_of(holds, find, words), follows=follows)
        def decide(evidence: Evidence, context: Context) -> Case | None:
            found = list(find(evidence, context)) if evidence.failing else []
            commands = " && ".join(command for _, command in found)
            seen = tuple(line for line, _ in found)
            return Case(context.node.name, seen, (Remedy(context.node.name, commands),)) if found else None

        return decide

    return declare


# Certain by themselves ------------------------------------------------------------------------------------------------


@in_the_way(
    "no rule of policy routing takes packets of the cluster out of the main table",
    symptom="pods or nodes reach some others and some not",
    meaning="a rule of policy routing takes packets of the cluster away from the main table, which has the pod "
    "network's routes, to one that leads nowhere",
    needs=("network",),
)
def ip_rule_in_the_way(evidence: Evidence, context: Context) -> Strangers:
    """About networks of the cluster, and into a table that refuses them, or has another way."""
    wanted = interest(context)
    rules = (rule for rule in context.state.ip_rules if _leads_astray(rule, context, wanted))
    return ((str(rule), rule.removal) for rule in rules)


def _leads_astray(rule: IpRule, context: Context, wanted: Interest) -> bool:
    if rule.networks and not all(wanted.has_network(network) for network in rule.networks):
        return False
    if rule.table in NO_WAY:
        return True
    routes = context.state.network.routes_in(rule.table.removeprefix("lookup "))
    return any(wanted.has_network(route.destination) for route in routes)


@in_the_way(
    "no route leads packets for nodes or Services elsewhere",
    symptom="a node does not reach another one, or Services",
    meaning="a route that is more specific than the interface's own leads packets for a node, or Services, elsewhere",
    needs=("network",),
)
def route_in_the_way(_: Evidence, context: Context) -> Strangers:
    """Routes into the pod CIDR are the proof's own affair."""
    routes = (route for route in context.state.network.routes if route.table == "main" and _is_astray(route, context))
    return ((f"route {route}", route_deletion(route)) for route in routes)


def _is_astray(route: Route, context: Context) -> bool:
    settings = context.cluster.settings
    if route.destination.overlaps(settings.pod_cidr) and route.destination.prefixlen:
        return False
    if route.type != UNICAST:
        inside = any(node.address in route.destination for node in context.others)
        return route.type in NO_WAY and (inside or route.destination.overlaps(settings.service_cidr))
    own = [address.interface.network for address in context.state.network.addresses_of(context.underlay.name)]
    for node in context.others:
        connected = next((network for network in own if node.address in network), None)
        if connected and node.address in route.destination and route.destination.prefixlen > connected.prefixlen:
            return True
    return False


@in_the_way(
    "permanent ARP entries have the MAC of the interface with that address",
    symptom="one node or pod does not answer from here, and answers others",
    meaning="a permanent ARP entry has a MAC that is not that of the address any more, and the kernel never asks again",
    needs=("network", "containers"),
)
def neighbour_wrong(_: Evidence, context: Context) -> Strangers:
    """Of other nodes, of the node's own pods, and of the gateway in these."""
    macs = dict(_node_macs(context))
    pauses = [item for item in context.state.containers if item.network is not None]
    for item in pauses:
        link = item.network.link(POD_DEVICE) if item.network else None
        macs |= (
            {address.ip: link.mac for address in item.network.addresses_of(POD_DEVICE)} if item.network and link else {}
        )
    for entry in context.state.network.neighbours:
        right = macs.get(entry.address)
        if entry.device != context.vxlan_device and entry.is_permanent and right and entry.mac != right:
            line = f"{entry.address} dev {entry.device} is permanently {entry.mac}, its interface has {right}"
            yield line, f"ip neigh del {entry.address} dev {entry.device}"
    bridge = context.state.network.link(BRIDGE)
    own = {address.ip for address in context.state.network.addresses_of(BRIDGE)}
    for item in pauses:
        for entry in item.network.neighbours if item.network and bridge else ():
            if entry.is_permanent and entry.address in own and bridge and entry.mac != bridge.mac:
                line = f"in {item.pod} {entry.address} is permanently {entry.mac}, {BRIDGE} has {bridge.mac}"
                yield line, f"nsenter -t {item.pid} -n ip neigh del {entry.address} dev {entry.device}"


def _node_macs(context: Context) -> Iterator[tuple[IPv4Address, str]]:
    for node in context.others:
        state = context.states.get(node.name)
        link = state.underlay(node.address) if state else None
        if link is not None:
            yield node.address, link.mac


@in_the_way(
    "no node has an address of another node, a pod or a Service",
    symptom="connections to one node, pod or Service end at another machine, or nowhere",
    meaning="this node has an address that is another node's, a pod's or a Service's, and keeps its packets for itself",
    needs=("network",),
)
def address_taken(_: Evidence, context: Context) -> Strangers:
    """On any link but that of its owner."""
    others = {node.address for node in context.others}
    if not isinstance(context.objects, str):
        others |= {pod.ip for pod in context.objects.pods if pod.ip and not pod.host_network}
    for address in context.state.network.addresses:
        if address.ip in others or address.ip in context.cluster.settings.service_cidr:
            yield f"{address.device} has {address}", f"ip addr del {address} dev {address.device}"


@in_the_way(
    "each device that packets of the cluster go by forwards them",
    symptom="pods on one node reach nothing beyond it, and nothing reaches them",
    meaning="the kernel forwards between two devices only if both are set to; the setting for all is no more than "
    "what is written into each at that moment",
    references=("flannel#2068",),
)
def forwarding_off_on_a_device(evidence: Evidence, context: Context) -> Strangers:
    """net.ipv4.conf.DEVICE.forwarding; with ip_forward off it is that."""
    if context.state.sysctls.get(FORWARDING) != "0":
        for name in context.state.not_forwarding:
            if name in devices(context):
                yield f"{name}: forwarding is 0", f"sysctl -w net/ipv4/conf/{name}/forwarding=1"


# Only where packets are lost, and nothing else says why ---------------------------------------------------------------


@in_the_way(
    "no rule of somebody else refuses packets of the cluster",
    symptom="some packets of pods, nodes or Services are lost",
    meaning="a rule that is neither Kubernetes' nor the pod network's refuses packets that may be the cluster's",
    references=("kubernetes#40182",),
    needs=("iptables",),
    follows=OF_LOST_PACKETS,
)
def packets_refused_by_a_rule(evidence: Evidence, context: Context) -> Strangers:
    """Of iptables in any table, and of nftables; else a policy that drops what no rule accepts."""
    found = list(_interfering(evidence, context, translating=False))
    return found or _closed(context)


def _interfering(evidence: Evidence, context: Context, *, translating: bool) -> Strangers:
    wanted = interest(context)
    for item in foreign.interfering(context.state.iptables, wanted):
        if (item.table == "nat") is translating:
            yield str(item), deletion(item.table, item.rule)
    for rule in context.state.nft_rules:
        if rule.concerns(wanted) and (rule.what in ("redirect", "dnat")) is translating:
            yield str(rule), rule.removal


def _closed(context: Context) -> Strangers:
    """A policy that drops what no rule accepts: the cluster is let in, the rest stays out."""
    settings = context.cluster.settings
    for name, device, side in (("INPUT", "-i", "-s"), ("OUTPUT", "-o", "-d")):
        if not context.state.iptables.is_closed(name):
            continue
        nodes = [f"{node.address}" for node in context.cluster.nodes]
        accepted = [f"{device} lo", *(f"{side} {network}" for network in (*nodes, str(settings.pod_cidr)))]
        accepted.append("-m conntrack --ctstate RELATED,ESTABLISHED")
        if name == "INPUT" and settings.httpd_node_port:
            accepted.append(f"-p tcp --dport {settings.httpd_node_port}")
        opened = " && ".join(f"iptables -I {name} {match} -j ACCEPT" for match in accepted)
        yield f"iptables -S {name}: policy DROP", opened


@in_the_way(
    "no rule takes packets before those of Services see them",
    symptom="a Service or NodePort does not answer, or something else does",
    meaning="a rule takes packets before kube-proxy's rules for Services see them",
    needs=("iptables",),
    follows=Follows(everywhere=("api",)),
)
def translated_before_services(evidence: Evidence, context: Context) -> Strangers:
    """In PREROUTING and OUTPUT of iptables' nat table, before KUBE-SERVICES, and in nftables."""
    return _interfering(evidence, context, translating=True)


@in_the_way(
    "no queueing discipline (tc) may lose packets of the cluster",
    symptom="packets are lost at random, or all of one direction",
    meaning="traffic control (tc) on a device of the pod network delays, limits or drops packets",
    follows=OF_LOST_PACKETS,
)
def traffic_control(evidence: Evidence, context: Context) -> Strangers:
    """Queueing disciplines that can lose packets, of the node's devices."""
    for device, kind in context.state.shaped:
        if device in devices(context):
            parent = kind if kind in ("ingress", "clsact") else "root"
            yield f"{device} has the queueing discipline {kind}", f"tc qdisc del dev {device} {parent}"
