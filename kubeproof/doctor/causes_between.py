"""Causes that show only in packets from node to node: ports, sizes, checksums, a host that answers nobody. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address

from kubeproof.config.cluster import Node
from kubeproof.doctor.causes_foreign import interest
from kubeproof.doctor.diagnosis import Case, Follows, cause
from kubeproof.doctor.evidence import Evidence
from kubeproof.proof.checks import checks_of
from kubeproof.rules.before_deploy.udp_paths import udp_path
from kubeproof.rules.context import BRIDGE, Context, UndecidedError
from kubeproof.rules.filters import REFUSALS
from kubeproof.rules.repair import deletion
from kubeproof.rules.result import Remedy
from kubeproof.state import iptables
from kubeproof.state.foreign import interfering
from kubeproof.state.node import NodeState
from kubeproof.state.paths_between import NO_ROUTE, TIMED_OUT, CapturedEcho, Tunnel
from kubeproof.state.verdict import Packet, matches

TUNNEL_CHECKS = ("flannel-device", "routes-to-other-nodes", "routes-to-blocks", "arp-entries", "fdb-entries")
"""What has to hold on both ends before a lost packet says anything of the way between them."""
INPUT, OUTPUT, BETWEEN = "INPUT", "OUTPUT", "between the nodes"


@dataclass(frozen=True)
class Pair:
    """Two nodes that both could be asked, and what became of packets by the tunnel from the first to the second."""

    here: Context
    there: Context
    tunnel: Tunnel


def _pairs(evidence: Evidence) -> Iterator[Pair | UndecidedError]:
    """Of nodes that reach each other in plain and whose tunnels are set up as they should be."""
    states = evidence.snapshot.states
    for name, host in evidence.snapshot.states.items():
        if "path_probes" in host.unreadable:
            yield UndecidedError(f"{name}: packets could not be sent ({host.unreadable['path_probes']})")
            continue
        here = evidence.snapshot.context(name)
        for gateway, tunnel in host.path_probes.tunnels.items():
            node = _owner(evidence, here, gateway)
            way = host.path_probes.paths.get(node.address) if node else None
            if node is None or node.name not in states or way is None or not way.ping:
                continue
            yield Pair(here, evidence.snapshot.context(node.name), tunnel)


def _owner(evidence: Evidence, context: Context, gateway: IPv4Address) -> Node | None:
    """The node that frames for an address of a VXLAN device are sent to: by its ARP and FDB entries."""
    macs = {entry.mac for entry in context.state.network.neighbours if entry.address == gateway}
    ends = [entry.destination for entry in context.state.fdb if entry.mac in macs and entry.destination]
    return evidence.node_with(ends[0]) if ends else None


def _set_up(pair: Pair) -> bool:
    asked = [rule for rule in checks_of(pair.here.cluster.settings) if rule.id in TUNNEL_CHECKS]
    return all(rule.check(context).ok for rule in asked for context in (pair.here, pair.there))


@cause(udp_path)
def vxlan_port_blocked(evidence: Evidence) -> Iterator[Case | UndecidedError]:
    """By real packets: where the last trace of them is seen."""
    port = evidence.snapshot.loaded.cluster.settings.vxlan_port
    places: dict[tuple[str, str], list[str]] = {}
    for pair in _pairs(evidence):
        if isinstance(pair, UndecidedError):
            yield pair
        elif not pair.tunnel.passes:
            if not _set_up(pair):
                yield UndecidedError(f"the tunnel between {_names(pair)} is not set up as it should be")
                continue
            name, place = _last_trace(evidence, pair)
            places.setdefault((name, place), []).append(_words(pair, place, port))
    for (name, place), seen in places.items():
        context = evidence.snapshot.context(name)
        found = _blocked(context, evidence.snapshot.states[name], place, port, tuple(dict.fromkeys(seen)))
        yield from [found] if found else []


def _names(pair: Pair) -> str:
    return f"{pair.here.node.name} and {pair.there.node.name}"


def _words(pair: Pair, place: str, port: int) -> str:
    here, there = pair.here.node, pair.there.node
    where = {
        INPUT: "arrives at the interface and is not answered",
        OUTPUT: "does not leave the node",
        BETWEEN: "leaves one node and does not arrive at the other",
    }[place]
    return (
        f"{here.name} to {there.name}: a plain packet is answered, one in UDP {port} {where}"
        if place != INPUT
        else f"between {' and '.join(sorted((here.name, there.name)))}: plain packets are answered, UDP {port} {where}"
    )


def _last_trace(evidence: Evidence, pair: Pair) -> tuple[str, str]:
    """The node that loses the packet, and where."""
    here, there = pair.here.node, pair.there.node
    at_here, at_there = (evidence.snapshot.states[node.name].path_probes.captured for node in (here, there))
    source, destination = pair.here.underlay_address, pair.there.underlay_address
    request, reply = CapturedEcho(source, destination, True), CapturedEcho(destination, source, False)
    if request not in at_here:
        return here.name, OUTPUT
    if request not in at_there:
        return here.name, BETWEEN
    if reply not in at_there:
        own = CapturedEcho(destination, source, True)
        return there.name, INPUT if own in at_there else OUTPUT
    return (here.name, INPUT) if reply in at_here else (there.name, BETWEEN)


def _blocked(context: Context, host: NodeState, place: str, port: int, seen: tuple[str, ...]) -> Case | None:
    node, settings = context.node.name, context.cluster.settings
    if place == BETWEEN:
        # Nothing on the nodes refuses it, and what does only its owner can tell.
        allow_all = f"allow UDP {port} from {settings.node_network} to {settings.node_network}"
        return Case(node, seen, (Remedy(node, allow_all, "firewall"),))
    ruleset = context.state.iptables
    taking = ruleset.walk("filter", ruleset.rules("filter", place), lambda rule: _matches(rule, place, context, port))
    refusing = [rule for rule in taking if rule.target in REFUSALS]
    rules = [deletion("filter", rule) for rule in refusing]
    shown = [str(rule.text or rule) for rule in refusing]
    more = replace(interest(context), ports=frozenset({port}))
    # Other tables and nftables decide as well, whatever the table filter accepts.
    others = [item for item in interfering(ruleset, more) if item.table in ("raw", "mangle")]
    strangers = [rule for rule in host.nft_rules if rule.concerns(more)]
    rules += [deletion(item.table, item.rule) for item in others] + [rule.removal for rule in strangers]
    shown += [*map(str, others), *map(str, strangers)]
    if rules:
        seen = (*seen, *(f"refused by {line}" for line in shown))
        return Case(node, seen, (Remedy(node, " && ".join(rules)),))
    if host.firewalld and place == INPUT:
        opened = f"firewall-cmd --permanent --add-port={port}/udp && firewall-cmd --reload"
        return Case(node, (*seen, "firewalld is running"), (Remedy(node, opened),))
    return None  # Something else loses it, such as a route, and to open a port would not repair that.


def _matches(rule: iptables.Rule, chain: str, context: Context, port: int) -> bool:
    """Whether VXLAN packets of another node, or to one, meet a rule in or below a chain of the filter table."""
    ports = rule.destination_port
    if ports is not None and (ports.value.first <= port <= ports.value.last) == ports.negated:
        return False
    own, interface = context.underlay_address, context.underlay.name
    bare = replace(rule, destination_port=None)
    # -A INPUT … --ctstate is evaluated for a new connection, which the tunnel's packets are.
    for other in context.others:
        there = context.underlay_address_of(other)
        inward = Packet(there, own, in_interface=interface, protocol="udp")
        outward = Packet(own, there, out_interface=interface, protocol="udp")
        if matches(bare, outward if chain == OUTPUT else inward):
            return True
    return False


@cause(
    "what is between the nodes carries packets as large as their interfaces say",
    symptom="large packets hang, small ones pass",
    meaning="something between the nodes, such as a tunnel or a cloud's network, carries smaller packets than the "
    "interfaces say, and does not tell; they have to be set to what it carries",
    references=("flannel#841", "kubeadm#240"),
)
def underlay_mtu_too_large(evidence: Evidence) -> Iterator[Case]:
    """By real packets with DF set, of each node's own interface."""
    smallest: dict[str, list[tuple[Node, int]]] = {}
    for name, host in evidence.snapshot.states.items():
        for address, way in host.path_probes.paths.items():
            node = evidence.node_with(address)
            if way.passes is not None and node is not None:
                smallest.setdefault(name, []).append((node, way.passes))
    for name, lost in smallest.items():
        context = evidence.snapshot.context(name)
        size, own = min(passes for _, passes in lost), context.underlay
        seen = [f"{own.name} takes {own.mtu} bytes; to {node.name} at most {passes} arrive" for node, passes in lost]
        yield Case(name, tuple(seen), (Remedy(name, _smaller(context, size)),))


def _smaller(context: Context, size: int) -> str:
    """Shell text: the interface, and everything of the pod network that depends on it."""
    pods = size - context.cluster.settings.backend.overhead
    names = [name for name in (context.vxlan_device, BRIDGE) if context.state.network.link(name)]
    commands = [f"ip link set dev {context.underlay.name} mtu {size}"]
    commands += [f"ip link set dev {name} mtu {pods}" for name in names]
    pids = [str(item.pid) for item in context.state.containers if item.network is not None]
    if pids:
        commands.append(f"for pid in {' '.join(pids)}; do nsenter -t $pid -n ip link set dev eth0 mtu {pods}; done")
    return " && ".join(commands)


@cause(
    "packets that leave the tunnel have right checksums",
    symptom="connections between pods of different nodes hang while ping works",
    meaning="the VXLAN device leaves checksums to the interface below, whose driver gets those inside of a tunnel "
    "wrong; the receiver drops what it cannot verify",
    references=("flannel#1279",),
)
def vxlan_checksum_offload(evidence: Evidence) -> Iterator[Case]:
    """By real packets: TCP through the tunnel dies, ICMP passes, and the receiver counts wrong checksums."""
    senders: dict[str, list[str]] = {}
    for pair in _pairs(evidence):
        if isinstance(pair, UndecidedError) or not pair.tunnel.ping or pair.tunnel.tcp != TIMED_OUT:
            continue
        ends = (pair.here.node.name, pair.there.node.name)
        for sender, receiver in (ends, ends[::-1]):
            errors = evidence.snapshot.states[receiver].path_probes.checksum_errors
            if errors and evidence.snapshot.states[sender].path_probes.offload:
                senders.setdefault(sender, []).append(
                    f"by the tunnel between {sender} and {receiver} ping works and TCP does not; meanwhile {errors} "
                    f"packets with a wrong checksum arrived at {receiver}"
                )
    device = evidence.snapshot.loaded.cluster.settings.vxlan_device
    for sender, seen in senders.items():
        seen.append(
            f"{device} of {sender} leaves checksums to the interface below (ethtool -k {device}: tx-checksumming)"
        )
        yield Case(sender, tuple(dict.fromkeys(seen)), (Remedy(sender, f"ethtool -K {device} tx off"),))


@cause(
    "a host that is up lets ssh in",
    symptom="ssh to a node is lost, as after a reset",
    meaning="the host is up and answers ARP, but drops what is sent to it: a blanket flush of iptables took the "
    "rules away that accept, and left a policy that drops",
    references=("kubespray#5812", "kubespray#6119"),
    follows=Follows(here=("reachable",), everywhere=("api",)),
)
def reset_lost_ssh(evidence: Evidence) -> Iterator[Case]:
    """CapturedEcho from the other nodes, since the node itself cannot be asked."""
    for name, reason in evidence.snapshot.unreachable.items():
        address = evidence.snapshot.loaded.cluster.node(name).address
        probed = {other: host.path_probes.paths for other, host in evidence.snapshot.states.items()}
        ways = {other: found[address] for other, found in probed.items() if address in found}
        dropped = [other for other, way in ways.items() if way.mac and not way.ping and way.ssh == TIMED_OUT]
        if not dropped or any(way.ping or way.ssh not in (TIMED_OUT, NO_ROUTE) for way in ways.values()):
            continue
        seen = [f"this machine: {reason}"]
        seen += [f"{other}: {address} answers ARP ({ways[other].mac}), neither ping nor ssh" for other in dropped]
        accept = "iptables -P INPUT ACCEPT && iptables -P OUTPUT ACCEPT"
        yield Case(name, tuple(seen), (Remedy(name, accept, "console"),))
