"""Causes that somebody else has put into a node's kernel: filters, translations, routes, neighbours, queues. Pure."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network

from kubeproof.doctor.diagnosis import Case, Follows, Mend, cause_on_node, command_for
from kubeproof.doctor.evidence import Evidence
from kubeproof.networks import artifacts
from kubeproof.proof.context import BRIDGE, POD_DEVICE, Context, UndecidedError
from kubeproof.proof.probes import KUARD_PORT
from kubeproof.state import foreign
from kubeproof.state.foreign import NO_WAY, Interest, IpRule
from kubeproof.state.iptables import Rule
from kubeproof.state.model import UNICAST, Route

FIXED_PORTS = (53, 80, 443, 2379, 2380, 6443, 10250, KUARD_PORT)
"""Of DNS, the API, etcd, kubelet, and the demo."""
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
    """Links that packets of the cluster go by."""
    links = context.state.network.links
    ports = [link.name for link in links if link.master == BRIDGE or artifacts.is_own_link(link.name)]
    try:
        own = [context.underlay.name]
    except UndecidedError:
        own = []
    return (*own, context.vxlan_device, BRIDGE, *ports)


def deletion(table: str, rule: Rule) -> str:
    """Shell text that deletes a rule."""
    return command_for(rule, "-D", table)


# Certain by themselves ------------------------------------------------------------------------------------------------


@cause_on_node(
    needs=("network",),
    symptom="pods or nodes reach some others and some not",
    meaning="a rule of policy routing takes packets of the cluster away from the main table, which has the pod "
    "network's routes, to one that leads nowhere",
)
def ip_rule_in_the_way(evidence: Evidence, context: Context) -> Case | None:
    """About networks of the cluster, and into a table that refuses them, or has another way."""
    if not evidence.failing:
        return None
    wanted = interest(context)
    found = [rule for rule in context.state.ip_rules if _leads_astray(rule, context, wanted)]
    if not found:
        return None
    mends = " && ".join(rule.removal for rule in found)
    return Case(context.node.name, tuple(map(str, found)), (Mend(context.node.name, mends),))


def _leads_astray(rule: IpRule, context: Context, wanted: Interest) -> bool:
    if rule.networks and not all(wanted.has_network(network) for network in rule.networks):
        return False
    if rule.table in NO_WAY:
        return True
    routes = context.state.network.routes_in(rule.table.removeprefix("lookup "))
    return any(wanted.has_network(route.destination) for route in routes)


@cause_on_node(
    needs=("network",),
    symptom="a node does not reach another one, or Services",
    meaning="a route that is more specific than the interface's own leads packets for a node, or Services, elsewhere",
)
def route_in_the_way(evidence: Evidence, context: Context) -> Case | None:
    """Routes into the pod CIDR are the proof's own affair."""
    if not evidence.failing:
        return None
    found = [route for route in context.state.network.routes if route.table == "main" and _is_astray(route, context)]
    if not found:
        return None
    return Case(
        context.node.name,
        tuple(f"route {route}" for route in found),
        (Mend(context.node.name, " && ".join(route_deletion(route) for route in found)),),
    )


def route_deletion(route: Route) -> str:
    table = "" if route.table == "main" else f" table {route.table}"
    return f"ip route del {str(route).replace(' onlink', '')}{table}"


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


@cause_on_node(
    needs=("network", "containers"),
    symptom="one node or pod does not answer from here, and answers others",
    meaning="a permanent ARP entry has a MAC that is not that of the address any more, and the kernel never asks again",
)
def neighbour_wrong(evidence: Evidence, context: Context) -> Case | None:
    """Of other nodes, of the node's own pods, and of the gateway in these."""
    if not evidence.failing:
        return None
    found = list(_wrong_neighbours(context))
    if not found:
        return None
    seen = tuple(line for line, _ in found)
    return Case(context.node.name, seen, (Mend(context.node.name, " && ".join(mend for _, mend in found)),))


def _wrong_neighbours(context: Context) -> Iterator[tuple[str, str]]:
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


@cause_on_node(
    needs=("network",),
    symptom="connections to one node, pod or Service end at another machine, or nowhere",
    meaning="this node has an address that is another node's, a pod's or a Service's, and keeps its packets for itself",
)
def address_taken(evidence: Evidence, context: Context) -> Case | None:
    """On any link but that of its owner."""
    if not evidence.failing:
        return None
    settings = context.cluster.settings
    others = {node.address for node in context.others}
    pods = (
        {pod.ip for pod in context.objects.pods if not pod.host_network}
        if not isinstance(context.objects, str)
        else set()
    )
    found = [
        address
        for address in context.state.network.addresses
        if address.ip in others or address.ip in pods or address.ip in settings.service_cidr
    ]
    if not found:
        return None
    seen = tuple(f"{address.device} has {address}" for address in found)
    mend = " && ".join(f"ip addr del {address} dev {address.device}" for address in found)
    return Case(context.node.name, seen, (Mend(context.node.name, mend),))


@cause_on_node(
    symptom="pods on one node reach nothing beyond it, and nothing reaches them",
    meaning="the kernel forwards between two devices only if both are set to; the setting for all is no more than what "
    "is written into each at that moment",
    references="flannel#2068",
)
def forwarding_off_on_a_device(evidence: Evidence, context: Context) -> Case | None:
    """net.ipv4.conf.DEVICE.forwarding; with ip_forward off it is that."""
    found = [name for name in context.state.not_forwarding if name in devices(context)]
    if not found or not evidence.failing or context.state.sysctls.get("net.ipv4.ip_forward") == "0":
        return None
    mend = " && ".join(f"sysctl -w net/ipv4/conf/{name}/forwarding=1" for name in found)
    return Case(
        context.node.name, tuple(f"{name}: forwarding is 0" for name in found), (Mend(context.node.name, mend),)
    )


# Only where packets are lost, and nothing else says why ---------------------------------------------------------------


@cause_on_node(
    needs=("iptables",),
    symptom="some packets of pods, nodes or Services are lost",
    meaning="a rule that is neither Kubernetes' nor the pod network's refuses packets that may be the cluster's",
    references="kubernetes#40182",
    follows=Follows(here=("kubelet_reached", "node_ready"), everywhere=("api", "kubelet_reached")),
)
def packets_refused_by_a_rule(evidence: Evidence, context: Context) -> Case | None:
    """Of iptables in any table, and of nftables."""
    wanted = interest(context)
    tables = [item for item in foreign.interfering(context.state.iptables, wanted) if item.table != "nat"]
    rules = [rule for rule in context.state.nft_rules if rule.concerns(wanted)]
    refusing = [rule for rule in rules if rule.what not in ("redirect", "dnat")]
    seen = [*map(str, tables), *map(str, refusing)]
    mends = [deletion(item.table, item.rule) for item in tables] + [rule.removal for rule in refusing]
    if not seen:
        seen, mends = _closed(context)
    if not seen:
        return None
    return Case(context.node.name, tuple(seen), (Mend(context.node.name, " && ".join(mends)),))


def _closed(context: Context) -> tuple[list[str], list[str]]:
    """A policy that drops what no rule accepts: the cluster is let in, the rest stays out."""
    seen, mends = [], []
    settings = context.cluster.settings
    for name, device, side in (("INPUT", "-i", "-s"), ("OUTPUT", "-o", "-d")):
        chain = context.state.iptables.chain("filter", name)
        if chain is None or chain.policy != "DROP":
            continue
        nodes = [f"{node.address}" for node in context.cluster.nodes]
        seen.append(f"iptables -S {name}: policy DROP")
        mends += [f"iptables -I {name} {device} lo -j ACCEPT"]
        mends += [f"iptables -I {name} {side} {network} -j ACCEPT" for network in (*nodes, str(settings.pod_cidr))]
        mends.append(f"iptables -I {name} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT")
        if name == "INPUT" and settings.httpd_node_port:
            mends.append(f"iptables -I INPUT -p tcp --dport {settings.httpd_node_port} -j ACCEPT")
    return seen, mends


@cause_on_node(
    needs=("iptables",),
    symptom="a Service or NodePort does not answer, or something else does",
    meaning="a rule takes packets before kube-proxy's rules for Services see them",
    follows=Follows(everywhere=("api",)),
)
def translated_before_services(evidence: Evidence, context: Context) -> Case | None:
    """In PREROUTING and OUTPUT of iptables' nat table, before KUBE-SERVICES, and in nftables."""
    wanted = interest(context)
    tables = [item for item in foreign.interfering(context.state.iptables, wanted) if item.table == "nat"]
    rules = [rule for rule in context.state.nft_rules if rule.concerns(wanted)]
    rules = [rule for rule in rules if rule.what in ("redirect", "dnat")]
    if not tables and not rules:
        return None
    mends = [deletion(item.table, item.rule) for item in tables] + [rule.removal for rule in rules]
    return Case(
        context.node.name, (*map(str, tables), *map(str, rules)), (Mend(context.node.name, " && ".join(mends)),)
    )


@cause_on_node(
    symptom="packets are lost at random, or all of one direction",
    meaning="traffic control (tc) on a device of the pod network delays, limits or drops packets",
    follows=Follows(here=("kubelet_reached", "node_ready"), everywhere=("api", "kubelet_reached")),
)
def traffic_control(evidence: Evidence, context: Context) -> Case | None:
    """Queueing disciplines that can lose packets, of the node's devices."""
    found = [(device, kind) for device, kind in context.state.shaped if device in devices(context)]
    if not found:
        return None
    mends = [f"tc qdisc del dev {device} {kind if kind in ('ingress', 'clsact') else 'root'}" for device, kind in found]
    return Case(
        context.node.name,
        tuple(f"{device} has the queueing discipline {kind}" for device, kind in found),
        (Mend(context.node.name, " && ".join(mends)),),
    )
