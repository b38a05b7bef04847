"""Rules of kube-proxy in its mode ipvs: addresses, virtual servers, ipsets, and what iptables adds. Pure.

They are what its sources say (pkg/proxy/ipvs), and hold on a state made from public captures. They were not run.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

from kubeproof.networks.artifacts import IPVS_LINK
from kubeproof.rules.context import Context
from kubeproof.rules.repair import restart_of
from kubeproof.rules.result import Outcome, all_of, same_sequence, same_set
from kubeproof.rules.rule import rule
from kubeproof.rules.services import (
    ENTRANCES,
    MARK_MASQUERADE,
    MASQUERADE_MARK,
    POSTROUTING,
    SERVICES,
    Served,
    entrance,
    served_ports,
)
from kubeproof.state.iptables import Mark, Match, Rule
from kubeproof.state.ipvs import VirtualServer

SCHEDULER = "rr"
"""kube-proxy's own choice: round robin."""
NODE_PORTS = "KUBE-NODE-PORT"
CLUSTER_IPS = "KUBE-CLUSTER-IP"
LOOP_BACK = "KUBE-LOOP-BACK"
NODE_PORT_SETS = (("tcp", True), ("tcp", False), ("udp", True), ("udp", False))
"""Protocols, and whether a set is of externalTrafficPolicy Local, in the order of kube-proxy's rules."""
NO_SERVICE = "no Service (API)"


_again = restart_of("kube-proxy")
"""It sets all of it when it starts, and takes away what is no Service's any more."""


@rule(
    "kube-ipvs0 has the cluster IP of each Service, and no other address of the service CIDR",
    meaning="packets to the Service leave the node, and nobody takes them",
    needs=("network",),
    look=f"ip -4 addr show dev {IPVS_LINK}",
    remedies=_again,
)
def ipvs_addresses(context: Context) -> Outcome:
    """Without its address a Service's packets are not the node's own, and do not come to INPUT, where IPVS is."""
    services = context.cluster.settings.service_cidr
    found = (item.ip for item in context.state.network.addresses_of(IPVS_LINK) if item.ip in services)
    return same_set({item.cluster_ip for item in served_ports(context)}, found, nothing=f"no address on {IPVS_LINK}")


@rule(
    "each Service's cluster IP and port, and each NodePort at the node's address, is a virtual server of IPVS (rr), "
    "whose real servers (Masq) are the ready endpoints; the cluster has no others",
    meaning="the Service is not reached, or requests to it end at pods that are gone",
    needs=("virtual_servers",),
    look="ipvsadm --save --numeric",
    remedies=_again,
)
def ipvs_servers(context: Context) -> Outcome:
    """A real server of weight 0 is one that is about to go, and gets no new connection."""
    found = {str(server): server for server in context.state.virtual_servers}
    wanted: dict[str, tuple[str, Outcome]] = {}
    for item in served_ports(context):
        for address, port, ends in _places(context, item):
            at = f"{item.port.protocol} {address}:{port}"
            lines = [
                _line(at, SCHEDULER, persistent=item.service.session_affinity),
                *(f"-> {end} Masq" for end in ends),
            ]
            wanted[at] = item.name, same_set(lines, _lines(found.get(at)), nothing="no virtual server")
    stale = [name for name, server in found.items() if name not in wanted and _is_the_clusters(context, server)]
    outcomes = [*wanted.values(), ("other virtual servers", same_set([], stale))]
    return all_of(outcomes, expected="a virtual server for each, with its endpoints", nothing=NO_SERVICE)


def _places(context: Context, item: Served) -> Iterator[tuple[IPv4Address, int, list[str]]]:
    """Where a port of a Service is served, by whom: with externalTrafficPolicy Local a NodePort by own pods only."""
    yield item.cluster_ip, item.port.port, sorted(map(str, item.backends))
    if item.port.node_port:
        own = _own_addresses(context)
        ends = (end for end in item.backends if not item.service.local_traffic_only or end.address in own)
        yield context.node.address, item.port.node_port, sorted(map(str, ends))


def _own_addresses(context: Context) -> set[IPv4Address | None]:
    return {pod.ip for pod in context.api.pods if pod.node == context.node.name}


def _line(at: str, scheduler: str, *, persistent: bool) -> str:
    return f"{at} {scheduler}{' persistent' if persistent else ''}"


def _lines(server: VirtualServer | None) -> list[str]:
    if server is None:
        return []
    own = _line(str(server), server.scheduler, persistent=server.persistent)
    return [own, *(f"-> {each} {each.method}" for each in server.in_use)]


def _is_the_clusters(context: Context, server: VirtualServer) -> bool:
    settings = context.cluster.settings
    at_node = server.address == context.node.address and server.port in settings.node_ports
    return at_node or server.address in settings.service_cidr


@rule(
    "the ipsets that kube-proxy masquerades by are right: KUBE-CLUSTER-IP has each cluster IP and port, "
    "KUBE-NODE-PORT-* each NodePort, KUBE-LOOP-BACK each endpoint of the node",
    meaning="answers to a Service's clients come back by another way, and are not taken for answers",
    needs=("ipsets",),
    look="ipset list",
    remedies=_again,
)
def ipvs_sets(context: Context) -> Outcome:
    """Those of SCTP's NodePorts, which have addresses in them, are not looked at."""
    wanted = _sets(context)
    sets = {name: context.state.ipsets.get(name, ("",))[1:] for name in wanted}
    outcomes = [(name, same_set(entries, sets[name])) for name, entries in wanted.items()]
    return all_of(outcomes, expected="each set holds what the API says", nothing=NO_SERVICE)


def _name(protocol: str, *, local: bool) -> str:
    return f"{NODE_PORTS}-{'LOCAL-' if local else ''}{protocol.upper()}"


def _sets(context: Context) -> dict[str, set[str]]:
    served = list(served_ports(context))
    pods = {pod.ip for pod in context.pods}
    ends = {(end, item.port.protocol) for item in served for end in item.backends if end.address in pods}
    found = {
        CLUSTER_IPS: {f"{item.cluster_ip},{item.port.protocol}:{item.port.port}" for item in served},
        LOOP_BACK: {f"{end.address},{protocol}:{end.port},{end.address}" for end, protocol in ends},
    }
    for protocol, local in NODE_PORT_SETS:
        of_set = (item for item in served if item.port.protocol == protocol and item.port.node_port)
        ports = {str(item.port.node_port) for item in of_set if not local or item.service.local_traffic_only}
        found[_name(protocol, local=local)] = ports
    return found


@rule(
    "iptables marks what comes to a Service from outside of the pods, and to a NodePort, and masquerades what is "
    "marked, and a pod that reaches itself by a Service",
    meaning="answers to a Service's clients come back by another way, and are not taken for answers",
    needs=("iptables",),
    look="iptables-save -t nat | grep KUBE-",
    remedies=_again,
)
def ipvs_masquerade(context: Context) -> Outcome:
    """Rules for sets that are empty are left out by kube-proxy; those for load balancers are not asked for."""
    ruleset, sets = context.state.iptables, _sets(context)
    outcomes = [(chain, entrance(ruleset, chain)) for chain in ENTRANCES]
    for chain, wanted in (
        (SERVICES, _marking(context)),
        (NODE_PORTS, list(_of_node_ports(sets))),
        (MARK_MASQUERADE, [Rule(MARK_MASQUERADE, "MARK", set_mark=MASQUERADE_MARK)]),
        (POSTROUTING, list(_masquerading(sets))),
    ):
        lines = list(map(str, wanted))
        found = (str(replace(each, random_fully=False)) for each in ruleset.rules("nat", chain))
        outcomes.append((chain, same_sequence(lines, [line for line in found if line in lines])))
    return all_of(outcomes, expected="jumps, marks and masquerading as kube-proxy writes them", nothing=NO_SERVICE)


def _matching(chain: str, target: str, name: str, sides: str, **more: Match[str] | Match[IPv4Network]) -> Rule:
    made = Rule(chain, target, other=("--match-set", name, sides))
    return replace(made, **more)  # type: ignore[arg-type]  # fields of Rule


def _marking(context: Context) -> Iterable[Rule]:
    outside = Match(context.cluster.settings.pod_cidr, negated=True)
    return (
        _matching(SERVICES, MARK_MASQUERADE, CLUSTER_IPS, "dst,dst", source=outside),
        Rule(SERVICES, NODE_PORTS, destination_type=Match("LOCAL")),
        _matching(SERVICES, "ACCEPT", CLUSTER_IPS, "dst,dst"),
    )


def _of_node_ports(sets: dict[str, set[str]]) -> Iterator[Rule]:
    """What came for a pod of the node itself keeps its source: those of "Local" come first."""
    for protocol, local in NODE_PORT_SETS:
        name = _name(protocol, local=local)
        if sets[name]:
            target = "RETURN" if local else MARK_MASQUERADE
            yield _matching(NODE_PORTS, target, name, "dst", protocol=Match(protocol))


def _masquerading(sets: dict[str, set[str]]) -> Iterator[Rule]:
    if sets[LOOP_BACK]:
        yield _matching(POSTROUTING, "MASQUERADE", LOOP_BACK, "dst,dst,src")
    yield Rule(POSTROUTING, "RETURN", mark=Match(MASQUERADE_MARK, negated=True))
    yield Rule(POSTROUTING, "MARK", set_mark=Mark(MASQUERADE_MARK.value, 0))
    yield Rule(POSTROUTING, "MASQUERADE")
