"""A host's addresses, routes and ports: what the cluster needs of them, and what is in its way. Pure."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Literal

from kubeproof.config.cluster import Cluster, Node
from kubeproof.config.settings import DOCKER_BRIDGE, Settings
from kubeproof.config.tables import paths
from kubeproof.networks import artifacts
from kubeproof.networks.network import NODE_ADDRESS
from kubeproof.node import between_hosts, runtime_config
from kubeproof.node.finding import Finding
from kubeproof.rules.before_deploy.inspection import Inspection, of_each_host
from kubeproof.rules.host import node_address
from kubeproof.rules.rule import either_rule, error_rule, warning_rule
from kubeproof.state.model import NOWHERE, UNICAST
from kubeproof.state.node import NodeState

DOCKERS_LINK = "docker0"
OWN_LINKS = (DOCKERS_LINK, "lo", artifacts.KERNELS_LINK)
"""Links whose networks are the cluster's own, beside those that pod networks make, which are findings of their own."""
PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")))
"""RFC 1918: where another network is looked for."""
LOCAL_PORTS = ("10248/tcp", "10249/tcp")
"""kubelet's health and kube-proxy's metrics, for the host itself (Kubernetes documentation, "Ports and Protocols")."""
SHOWN = 5

cidr_conflict = either_rule(
    "cidr-conflict",
    "pod, Service and Docker networks share nothing with the host's routes, addresses and name servers",
    "what has such an address cannot be reached any more, or packets of the cluster go there",
)
interface = either_rule(
    "interface",
    "the pod network's interface exists and is the one with the node's address",
    "packets of pods take another way than the nodes', or none",
)
port_in_use = error_rule(
    "port-in-use", "ports of the node's role are free on a host that no deploy has been on", "which Kubernetes needs"
)
node_port_in_use = warning_rule(
    "node-port-in-use",
    "nothing listens within node_port_range there",
    "and a Service that gets such a port takes it over",
)


def findings(inspection: Inspection) -> Iterator[Finding]:
    """Of each host its address and interface, networks that overlap the cluster's, and its ports."""
    cluster, settings = inspection.cluster, inspection.cluster.settings
    free = _free(inspection)

    @of_each_host
    def of_host(_: Inspection, node: Node, facts: NodeState) -> Iterator[Finding]:
        yield from _address(node, facts)
        yield from _interface(settings, node, facts)
        yield from _networks(settings, facts, free)
        yield from _unreachable(settings, facts)
        if settings.runtime.name == "docker":
            yield from _docker_bridge(settings, facts)
        yield from _resolvers(settings, facts)
        if not (facts.remembered or facts.foreign):
            yield from _ports(cluster, node, facts)

    return of_host(inspection)


def notes(inspection: Inspection) -> Iterator[str]:
    """Which interface has a node's address, where a host has several and no deploy has been."""
    for node, known in inspection.answered():
        links = list(dict.fromkeys(item.device for item in known.network.addresses if not _own(item.device)))
        if len(links) > 1 and not known.remembered and (link := _link_of(node, known)):
            yield f"{node.name}: {node.address} is on {link}, of {', '.join(links)}"


def _own(link: str) -> bool:
    return link in OWN_LINKS or link.startswith("veth") or artifacts.is_link(link)


def _link_of(node: Node, known: NodeState) -> str:
    return next((item.device for item in known.network.addresses if item.ip == node.address), "")


def _address(node: Node, facts: NodeState) -> Iterator[Finding]:
    if _link_of(node, facts):
        return
    with_links = [f"{item.ip} on {item.device}" for item in facts.network.addresses]
    yield node_address.finding(
        f"does not have the address {node.address} but {', '.join(with_links) or 'none'}",
        "correct `address` in the inventory",
        breaks="at which the other nodes look for it",
    )


def _interface(settings: Settings, node: Node, known: NodeState) -> Iterator[Finding]:
    wanted, has = settings.cni_interface, _link_of(node, known)
    names = [link.name for link in known.network.links]
    if wanted not in ("", NODE_ADDRESS) and names and wanted not in names:
        yield interface.finding(
            f"has no interface {wanted} but {', '.join(names)}",
            f"correct cni_interface, or use {NODE_ADDRESS!r}",
            breaks="so the pod network does not start there",
        )
        return
    used = known.network.default_link if wanted == "" else wanted
    if has and used and used not in (has, NODE_ADDRESS):
        yield interface.finding(
            f"has its address {node.address} on {has}, and the pod network would use {used}",
            f"set cni_interface = {NODE_ADDRESS!r}",
            breaks="so packets of pods take another way than the nodes' (flannel#535)",
            severity="warning",
        )


def _free(inspection: Inspection) -> IPv4Network | None:
    """A network that no host has a route into; None where their routes leave none, as a VPN's own default ones do."""
    settings = inspection.cluster.settings
    taken = {settings.node_network, settings.pod_cidr, settings.service_cidr, DOCKER_BRIDGE}
    taken |= {to for _, known in inspection.answered() for to, _ in _destinations(known)}
    others = [network for network in taken if network.prefixlen]
    candidates = (network for private in PRIVATE for network in private.subnets(new_prefix=16))
    return next((network for network in candidates if not any(network.overlaps(other) for other in others)), None)


def _destinations(known: NodeState) -> Iterator[tuple[IPv4Network, str]]:
    """Destination and link, each once: of routes but the default ones, and of addresses that have none."""
    routes = (route for route in known.network.routes if route.type == UNICAST and route.destination.prefixlen)
    on_links = ((IPv4Network(item.ip), item.device) for item in known.network.addresses)
    return iter(dict.fromkeys((*((route.destination, route.device or "") for route in routes), *on_links)))


def _networks(settings: Settings, facts: NodeState, free: IPv4Network | None) -> Iterator[Finding]:
    """Routes that are the cluster's own are no conflict: they are of its links, or go to pods by a node.

    The cluster's own routes go before wider ones: those take away what they share only, and where there is no other
    network to choose, as with a VPN's 0.0.0.0/1 and 128.0.0.0/1, they are a way to everywhere.
    """
    wanted = {"pod_cidr": settings.pod_cidr, "service_cidr": settings.service_cidr}
    if settings.runtime.name == "docker" and (bridge := runtime_config.bridge(facts.docker_config)):
        wanted["Docker's bridge"] = bridge
    for network, link in _destinations(facts):
        if _own(link) or (facts.remembered and network.subnet_of(settings.pod_cidr)):
            continue
        for name, own in wanted.items():
            if network.overlaps(own) and (free or network.subnet_of(own)):
                yield _conflict(name, own, (network, link), free)


def _conflict(name: str, own: IPv4Network, route: tuple[IPv4Network, str], free: IPv4Network | None) -> Finding:
    network, link = route
    inside = network.subnet_of(own)
    docker = name == "Docker's bridge"
    severity: Literal["error", "warning"] = "error" if inside and not docker else "warning"
    lost = "the cluster's packets would go there" if inside else "what it shares with them cannot be reached any more"
    remedy = f"choose another {name}, e.g. {free}, or " if free else ""
    if docker:
        remedy = "set default-address-pools in /etc/docker/daemon.json there, or "
    return cidr_conflict.finding(
        f"has {network} on {link or 'a route'}, which overlaps {name} {own}",
        f"{remedy}remove that route (`ip route show table all {network}` there)",
        breaks=lost,
        severity=severity,
    )


def _unreachable(settings: Settings, known: NodeState) -> Iterator[Finding]:
    """Services have no route of their own, so any wider one counts; pods have one for each node."""
    nowhere = (route.destination for route in known.network.routes if route.type in NOWHERE)
    for network in dict.fromkeys(destination for destination in nowhere if destination.prefixlen):
        name, own = "service_cidr", settings.service_cidr
        if not network.overlaps(own):
            name, own = "pod_cidr", settings.pod_cidr
            within = network.subnet_of(own) and network.prefixlen >= settings.pod_subnet_bits
            if known.remembered or not within:
                continue
        yield cidr_conflict.finding(
            f"sends nothing to {network}, which overlaps {name} {own}",
            f"run `ip route show table all {network}` there and remove that route, or choose another {name}",
            breaks="so what is there cannot be reached from it",
        )


def _docker_bridge(settings: Settings, facts: NodeState) -> Iterator[Finding]:
    """Whatever it is now, and will be by Docker's configuration."""
    bridge = runtime_config.bridge(facts.docker_config)
    now = [IPv4Network(item.ip) for item in facts.network.addresses_of(DOCKERS_LINK)]
    for name in ("node_network", "pod_cidr", "service_cidr"):
        own: IPv4Network = getattr(settings, name)
        wrong = [network for network in (*([bridge] if bridge else []), *now) if network.overlaps(own)]
        if wrong:
            yield cidr_conflict.finding(
                f"has {wrong[0]} for Docker's bridge {DOCKERS_LINK}, which overlaps {name} {own}",
                f"set another bip in {paths.DOCKER_CONFIG} there and restart Docker, or choose another {name}",
                breaks="so what is there cannot be reached from it",
            )


def _resolvers(settings: Settings, facts: NodeState) -> Iterator[Finding]:
    for written in facts.resolvers:
        try:
            address = IPv4Address(written)
        except ValueError:
            continue
        for name, network in (("pod_cidr", settings.pod_cidr), ("service_cidr", settings.service_cidr)):
            if address in network and address != settings.cluster_dns_address:
                yield cidr_conflict.finding(
                    f"asks the name server {address}, which is within {name} {network}",
                    f"choose another {name}, or correct /etc/resolv.conf there",
                    breaks="so it could resolve no names any more",
                )


def _ports(cluster: Cluster, node: Node, known: NodeState) -> Iterator[Finding]:
    node_ports = cluster.settings.node_ports
    single = [word for word in (*between_hosts.ports(cluster, node.role), *LOCAL_PORTS) if word.endswith("/tcp")]
    needed = {number for word in single for number in _numbers(word) if number not in node_ports}
    if taken := sorted(needed & set(known.tcp_ports)):
        yield port_in_use.finding(
            f"has TCP {_shown(taken)} in use", f"stop what listens (`ss -ltnp 'sport = :{taken[0]}'` there shows it)"
        )
    if taken := sorted({*known.tcp_ports, *known.udp_ports} & set(node_ports)):
        yield node_port_in_use.finding(
            f"has {_shown(taken)} in use, within node_port_range",
            f"stop what listens (`ss -ltunp 'sport = :{taken[0]}'` there shows it), or choose another node_port_range",
        )


def _numbers(written: str) -> range:
    first, _, last = written.partition("/")[0].partition("-")
    return range(int(first), int(last or first) + 1)


def _shown(numbers: list[int]) -> str:
    more = f" and {len(numbers) - SHOWN} more" if len(numbers) > SHOWN else ""
    return f"port{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers[:SHOWN]))}{more}"
