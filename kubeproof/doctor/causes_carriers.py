"""What a pod network without VXLAN sends from node to node is refused: BGP, IP in IP, flannel's own UDP. Pure.

Which these are is data of the network (`Backend.carriers`). Unlike VXLAN's packets (causes_between) they are not sent
and captured: rules of the nodes decide, and for a TCP port a connection to it, which was tried.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from kubeproof.doctor.causes_foreign import KNOWN_CHAINS, interest
from kubeproof.doctor.diagnosis import Case, Follows, cause
from kubeproof.doctor.evidence import Evidence
from kubeproof.networks.calico import BGP
from kubeproof.networks.network import Carrier
from kubeproof.proof.probes import TITLES
from kubeproof.rules.context import Context, UndecidedError
from kubeproof.rules.filters import REFUSALS
from kubeproof.rules.repair import deletion
from kubeproof.rules.result import Remedy, Where
from kubeproof.state.foreign import Interest, NftRule
from kubeproof.state.iptables import Chain, Rule, Ruleset, Table
from kubeproof.state.paths_between import NO_ROUTE, TIMED_OUT
from kubeproof.state.verdict import Packet, verdict

WAYS = {
    "INPUT": (("raw", "PREROUTING"), ("mangle", "PREROUTING"), ("mangle", "INPUT"), ("filter", "INPUT")),
    "OUTPUT": (("raw", "OUTPUT"), ("mangle", "OUTPUT"), ("filter", "OUTPUT"), ("mangle", "POSTROUTING")),
}
"""Chains that a packet to a node, and one of a node, goes through where no address is translated (iptables(8))."""
BY_BGP = ("routes-to-blocks", "network-agent-ready")
"""Rows that fail without BGP: the agent that speaks it says that it is not ready (calico/node, -bird-ready)."""


@dataclass(frozen=True)
class Refusal:
    """What refuses a packet on a node, and what makes it pass there."""

    what: str
    remedy: str


@cause(
    "what the pod network sends from node to node beside VXLAN is let in and out",
    symptom="pods of different nodes do not reach each other, or routes to other nodes are missing",
    meaning="something refuses what the pod network sends from node to node: BGP, by which Calico's nodes learn where "
    "pods are, or what packets of pods travel in",
    follows=Follows(
        everywhere=("routes-to-blocks", "network-agent-ready"),
        hides=("network-agent-ready", "packets-refused-by-a-rule"),
    ),
)
def carrier_refused(evidence: Evidence) -> Iterator[Case | UndecidedError]:
    """By each node's rules, the others being the senders; where they let it pass, by a connection that was tried.

    Only where what goes by it is missing: of two nodes one that may connect is enough for BGP.
    """
    carriers = evidence.snapshot.loaded.cluster.settings.backend.carriers
    for carrier in (item for item in carriers if evidence.fails(*(BY_BGP if item == BGP else TITLES))):
        for context in evidence.snapshot.contexts():
            if "iptables" in context.state.unreadable:
                yield UndecidedError(f"{context.node.name}: its rules could not be read")
                continue
            found = {item.what: item.remedy for chain in WAYS for item in _refusals(context, carrier, chain)}
            where: Where = "node"
            if not found:
                found, where = _lost_on_the_way(evidence, context, carrier)
            if found:
                command = " && ".join(dict.fromkeys(found.values()))
                seen = tuple(f"{carrier.words}: {line}" for line in found)
                yield Case(context.node.name, seen, (Remedy(context.node.name, command, where),))


def _refusals(context: Context, carrier: Carrier, chain: str) -> Iterator[Refusal]:
    """By iptables as packets go through it, and by rules of nftables that name the protocol or its port."""
    for table, name in WAYS[chain]:
        rules = _narrowed(context.state.iptables, table, carrier)
        for packet in _packets(context, carrier, chain):
            found = verdict(rules, table, rules.rules(table, name), packet)
            if found is not None and found.target in REFUSALS:
                yield Refusal(f"refused by {found.text or found}", _without(table, found, context, carrier, chain))
            elif found is None and (last := rules.chain(table, name)) and last.policy == "DROP":
                yield Refusal(f"no rule of {name} accepts it, and its policy is DROP", _accept(context, carrier, chain))
    for rule in context.state.nft_rules:
        if chain == "INPUT" and _is_about(rule, carrier) and rule.concerns(_interest(context, carrier)):
            yield Refusal(f"refused by {rule}", rule.removal)


def _packets(context: Context, carrier: Carrier, chain: str) -> Iterator[Packet]:
    own, device = context.underlay_address, context.underlay.name
    for other in context.others:
        there = context.underlay_address_of(other)
        if chain == "OUTPUT":
            yield Packet(own, there, out_interface=device, protocol=carrier.protocol)
        else:
            yield Packet(there, own, in_interface=device, protocol=carrier.protocol)


def _narrowed(ruleset: Ruleset, table: str, carrier: Carrier) -> Ruleset:
    """A table as it is for such packets: ports decided, and chains of the cluster's own not entered."""
    chains = {
        chain.name: replace(chain, rules=tuple(_rules(chain, carrier)))
        for chain in (ruleset.tables[table].chains.values() if table in ruleset.tables else ())
    }
    return replace(ruleset, tables={table: Table(table, chains)})


def _rules(chain: Chain, carrier: Carrier) -> Iterator[Rule]:
    for rule in chain.rules:
        ports = rule.destination_port
        if rule.target in carrier.accepted_in:
            yield replace(rule, target="ACCEPT")
        elif rule.target.startswith(KNOWN_CHAINS):
            continue
        elif ports is None:
            yield rule
        elif carrier.port and (ports.value.first <= carrier.port <= ports.value.last) != ports.negated:
            yield replace(rule, destination_port=None)


def _without(table: str, found: Rule, context: Context, carrier: Carrier, chain: str) -> str:
    """Delete a rule that is about this protocol alone; one that is about more stays, behind one that accepts."""
    own = found.protocol is not None and not found.protocol.negated and "--dport" in found.text
    if own or table != "filter" or (found.protocol is not None and carrier.port is None):
        return deletion(table, _as_written(context.state.iptables, table, found))
    return _accept(context, carrier, chain)


def _as_written(ruleset: Ruleset, table: str, found: Rule) -> Rule:
    """The rule before it was narrowed."""
    return next(rule for rule in ruleset.rules(table, found.chain) if rule.text == found.text)


def _accept(context: Context, carrier: Carrier, chain: str) -> str:
    side = "-s" if chain == "INPUT" else "-d"
    return f"iptables -I {chain} {side} {context.cluster.settings.node_network} {carrier.match} -j ACCEPT"


def _is_about(rule: NftRule, carrier: Carrier) -> bool:
    """Whether its conditions name the protocol or its port: what drops everything is another cause's affair."""
    names = {carrier.protocol, str(carrier.number)} | ({"ipip", "ipv4"} if carrier.port is None else set())
    protocols = [value.split(", ") for name, _, value in rule.matches if name in ("meta l4proto", "ip protocol")]
    ports = [name.split()[0] for name, _, _ in rule.matches if name.split()[-1] == "dport"]
    if any(names.isdisjoint(values) for values in protocols) or any(name not in (*names, "th") for name in ports):
        return False
    return bool(ports) or (bool(protocols) and carrier.port is None)


def _interest(context: Context, carrier: Carrier) -> Interest:
    return replace(interest(context), ports=frozenset({carrier.port} if carrier.port else ()))


def _lost_on_the_way(evidence: Evidence, context: Context, carrier: Carrier) -> "tuple[dict[str, str], Where]":
    """What of other nodes does not arrive here although plain packets do, and nothing on either refuses it."""
    settings = context.cluster.settings
    senders = []
    for other in context.others:
        sender = evidence.snapshot.states.get(other.name)
        way = sender.path_probes.paths.get(context.node.address) if sender and carrier.protocol == "tcp" else None
        if way and way.ping and way.own in (TIMED_OUT, NO_ROUTE):
            there = evidence.snapshot.context(other.name)
            if not any(_refusals(there, carrier, "OUTPUT")):
                senders.append(other.name)
    if not senders:
        return {}, "node"
    line = f"plain packets of {', '.join(senders)} are answered, connections are not"
    if context.state.firewalld:
        addresses = " ".join(f"--add-source={other.address}" for other in context.others)
        remedy = f"firewall-cmd --permanent --zone=trusted {addresses} && firewall-cmd --reload"
        return {f"{line}, and firewalld runs": remedy}, "node"
    allowed = f"allow {carrier.protocol.upper()} {carrier.port} from {settings.node_network} to {settings.node_network}"
    return {line: allowed}, "firewall"
