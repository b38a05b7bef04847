"""The whole nftables table of this node, from everything that policies depend on. Pure.

A connection is judged, not a packet: every packet is looked up by what conntrack holds of its connection. The client
is ``ct original ip saddr``; ``ct reply ip saddr`` and ``ct reply proto-src`` are the endpoint that answers, after DNAT.
In the forward hook these are what the packets show, too, since SNAT comes later. So replies of an allowed connection
pass, and an open one that a new policy forbids is cut in both directions.

Two chains at the forward hook: ``egress`` looks for pods of this node that are clients, ``ingress`` for those that are
endpoints. Accepting ends one of them only; dropping is final, so a pod of this node needs both to reach another.

What is open is open by being named, so that a look-up that fails drops the packet. Each pod of the node is in both
maps, isolated or not, even while there is no policy: while rules are replaced it finds its old or its new entry.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

from agents.podnet.plan import BRIDGE, gateway_of
from agents.podnet.policy import spans
from agents.podnet.policy.expand import Expansion, Target, by_policies, isolating
from agents.podnet.policy.objects import DIRECTIONS, Direction, Pod, Policy, PortMatch, World
from agents.podnet.policy.spans import ALL_ADDRESSES, ALL_PORTS, Spans
from agents.podnet.policy.table import Table, chain_name, comment, digest

PRIORITIES: Mapping[Direction, int] = {"egress": -20, "ingress": -10}
"""Places at the forward hook: after conntrack and DNAT (prerouting), before iptables' filter, which is at 0."""
HOOK = "type filter hook forward priority {}; policy accept;"
"""Accepting by default: until a transaction ends, a new hook stands there without its rules and must stop nothing."""
OWN: Mapping[Direction, str] = {"egress": "ct original ip saddr", "ingress": "ct reply ip saddr"}
"""The end of a connection that a direction isolates."""
PEER: Mapping[Direction, str] = {"egress": OWN["ingress"], "ingress": OWN["egress"]}
PACKET: Mapping[Direction, str] = {"egress": "ip saddr", "ingress": "ip daddr"}
"""Where the pod stands in a packet that belongs to no connection."""
PORT = "ct reply proto-src"
TO_ALL = "224.0.0.0-255.255.255.255"
"""Multicast and broadcast: a bridge brings these to all pods, and none of them has the address."""


@dataclass(frozen=True)
class Here:
    """The node that a ruleset is for, with its podCIDR."""

    name: str
    subnet: IPv4Network


@dataclass(frozen=True)
class Ruleset:
    """A node's table, and ``remarks``: what whoever runs the cluster should know."""

    table: Table
    remarks: tuple[str, ...]


def make_ruleset(world: World, here: Here) -> Ruleset:
    """Everything that policies demand of this node."""
    expansion, table = Expansion(world), Table()
    local = sorted((pod for pod in expansion.pods if pod.node == here.name), key=_number)
    policies = {direction: isolating(world.policies.values(), direction) for direction in DIRECTIONS}
    isolated = {
        direction: _isolate(table, expansion, direction, policies[direction], local) for direction in DIRECTIONS
    }
    free = [str(here.subnet.network_address), str(gateway_of(here.subnet).ip)] + [str(pod.address) for pod in local]
    isolated_somehow = {str(address) for chains in isolated.values() for address in chains}
    table.add_set("itself", "ipv4_addr . ipv4_addr", (f"{address} . {address}" for address in free))
    table.add_set("free", "ipv4_addr", (address for address in free if address not in isolated_somehow))
    home = _home(world, here)
    for direction in DIRECTIONS:
        verdicts = dict.fromkeys(free, "accept")
        verdicts.update({str(address): f"jump {chain}" for address, chain in isolated[direction].items()})
        elements = (f"{address} : {verdict}" for address, verdict in verdicts.items())
        table.add_set(f"{direction}_pods", "ipv4_addr : verdict", elements)
        rules = list(_beginning(direction))
        if any(policies.values()):
            rules += _unjudged(direction, table, home)
        if policies[direction]:
            rules += _judgement(direction, home)
        table.add_chain(direction, rules, hook=HOOK.format(PRIORITIES[direction]))
    return Ruleset(table, tuple(_remarks(expansion)))


def _isolate(
    table: Table, expansion: Expansion, direction: Direction, policies: list[Policy], local: list[Pod]
) -> dict[IPv4Address, str]:
    """Makes the chains for the isolated pods of this node; address -> chain."""
    by_name = {policy.full_name: policy for policy in policies}
    groups = by_policies(local, policies, expansion.selected)
    members: dict[str, list[Pod]] = defaultdict(list)
    for names, pods in groups.items():
        for name in names:
            members[name] += pods
    chains = {
        name: table.add_chain(chain_name(direction, name), rules)
        for name, pods in members.items()
        if (rules := list(_rules(table, expansion, direction, by_name[name], pods)))
    }
    found: dict[IPv4Address, str] = {}
    for names, pods in groups.items():
        jumps = [f"jump {chains[name]}" for name in names if name in chains]
        chain = table.add_chain(f"{direction}_pods_{digest(names)}", [*jumps, "drop"])
        found.update({pod.address: chain for pod in pods if pod.address is not None})
    return found


def _rules(table: Table, expansion: Expansion, direction: Direction, policy: Policy, pods: list[Pod]) -> Iterator[str]:
    """nftables rules for a policy that selects these pods of this node."""
    for rule in policy.rules(direction):
        peers = expansion.sources(rule.peers)
        if not peers:
            continue
        from_peers = "" if peers == ALL_ADDRESSES else f"{PEER[direction]} {table.addresses(peers)} "
        accept = f"accept {comment(f'{policy.full_name} {direction} {rule.index}')}"
        if rule.ports is None:
            yield f"{from_peers}{accept}"
            continue
        for protocol, ports in _by_protocol(rule.ports):
            layer = f"meta l4proto {protocol.lower()} "
            if (match := _numbers(table, ports)) is not None:
                yield f"{layer}{match}{from_peers}{accept}"
            # A name is the destination pod's: of the pods here for ingress, of the peers for egress.
            where = (pods, ALL_ADDRESSES) if direction == "ingress" else (None, peers)
            if targets := _named(expansion, ports, *where):
                sources = from_peers if direction == "ingress" else ""
                yield f"{layer}{OWN['ingress']} . {PORT} {table.endpoints(targets)} {sources}{accept}"


def _by_protocol(ports: Iterable[PortMatch]) -> list[tuple[str, list[PortMatch]]]:
    found: dict[str, list[PortMatch]] = defaultdict(list)
    for port in ports:
        found[port.protocol].append(port)
    return sorted(found.items())


def _numbers(table: Table, ports: Iterable[PortMatch]) -> str | None:
    """What matches the ports that are given by number: "" for all of them, None without any."""
    numbers = spans.merge((port.first, port.last) for port in ports if port.name is None)
    if numbers == ALL_PORTS:
        return ""
    return f"{PORT} {table.ports(numbers)} " if numbers else None


def _named(expansion: Expansion, ports: Iterable[PortMatch], pods: list[Pod] | None, peers: Spans) -> list[Target]:
    return sorted({target for port in ports if port.name for target in expansion.targets(port, pods, peers)})


def _home(world: World, here: Here) -> list[str]:
    """The node's podCIDR, and addresses beyond it that pods of this node claim (from when it had another one)."""
    addresses = {
        pod.address for pod in world.pods.values() if pod.node == here.name and not pod.host_network and pod.address
    }
    return [str(here.subnet), *(str(address) for address in sorted(addresses) if address not in here.subnet)]


def _beginning(direction: Direction) -> Iterator[str]:
    """Rules that are there without any policy, too: conntrack then knows every connection before its first policy."""
    if direction == "egress":
        # Pods have link-local addresses on the bridge without anybody's doing, and policies know IPv4 here only.
        yield f'meta nfproto ipv6 iifname "{BRIDGE}" drop'
        yield f'meta nfproto ipv6 oifname "{BRIDGE}" drop'
    yield "ct state related meta l4proto icmp accept"


def _unjudged(direction: Direction, table: Table, home: list[str]) -> Iterator[str]:
    """Packets that conntrack makes nothing of are nobody's reply: only pods that are free both ways get them."""
    end = PACKET[direction]
    chain = table.add_chain(
        f"{direction}_unjudged", [f"{end} @free accept", *(f"{end} {address} drop" for address in home)]
    )
    yield f"ct state invalid,untracked goto {chain}"


def _judgement(direction: Direction, home: list[str]) -> Iterator[str]:
    """Isolated pods by their policies' chains, free ones pass; what else is at home is a pod not known yet."""
    if direction == "ingress":
        yield f'oifname "{BRIDGE}" ip daddr {TO_ALL} drop'
    yield f"{OWN['egress']} . {OWN['ingress']} @itself accept"
    yield f"{OWN[direction]} vmap @{direction}_pods"
    for address in home:
        yield f"{OWN[direction]} {address} drop"


def _remarks(expansion: Expansion) -> Iterator[str]:
    for address, pods in sorted(expansion.duplicates.items()):
        names = ", ".join(sorted(f"{pod.namespace}/{pod.name}" for pod in pods))
        yield f"{address} is claimed by {names}: policies treat it as nobody's until only one of them has it"


def _number(pod: Pod) -> int:
    return int(pod.address or 0)
