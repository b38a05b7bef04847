"""Rules of kube-proxy in its mode iptables, held against Services and their ready endpoints (pkg/proxy/iptables). Pure.

Its other modes have modules of their own, services_ipvs.py and services_nftables.py.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network

from kubeproof.rules.api import FINISHED, Backend, Service, ServicePort
from kubeproof.rules.context import Context
from kubeproof.rules.repair import deletion, kill_containers
from kubeproof.rules.result import Outcome, all_of, same_sequence, same_set
from kubeproof.rules.rule import rule
from kubeproof.state.iptables import Endpoint, Mark, Match, Ports, Rule, Ruleset

SERVICES = "KUBE-SERVICES"
ENTRANCES = ("PREROUTING", "OUTPUT")
NODE_PORTS = "KUBE-NODEPORTS"
MARK_MASQUERADE = "KUBE-MARK-MASQ"
POSTROUTING = "KUBE-POSTROUTING"
MASQUERADE_MARK = Mark(0x4000, 0x4000)
"""kube-proxy's default iptables-masquerade-bit is 14."""
LOOPBACK = IPv4Network("127.0.0.0/8")
LOOK = "iptables-save -t nat | grep -E 'KUBE-(SERVICES|SVC|SEP)'"
NO_SERVICE = "no Service with ready endpoints (API)"


@dataclass(frozen=True)
class Served:
    """One port of a Service with a cluster IP, and its ready endpoints."""

    service: Service
    port: ServicePort
    cluster_ip: IPv4Address
    backends: frozenset[Backend]

    @property
    def name(self) -> str:
        return f"{self.service.port_name(self.port)}/{self.port.protocol}"

    def rule(self, target: str, *, source: Match[IPv4Network] | None = None) -> Rule:
        """A rule of KUBE-SERVICES for the cluster IP."""
        return Rule(
            SERVICES,
            target,
            source=source,
            destination=Match(IPv4Network(self.cluster_ip)),
            protocol=Match(self.port.protocol),
            destination_port=Match(Ports(self.port.port, self.port.port)),
        )


def served_ports(context: Context) -> Iterator[Served]:
    """Each port of each Service with a cluster IP."""
    for service in context.api.services:
        if service.cluster_ip is not None:
            for port in service.ports:
                yield Served(service, port, service.cluster_ip, context.api.backends(service, port))


def _anew(context: Context, _: Outcome) -> Iterator[str]:
    """kube-proxy writes its chains as a whole when it starts, and adds jumps that are missing."""
    yield from _surplus_jumps(context)
    yield f"iptables -t nat -F {SERVICES} 2>/dev/null; {kill_containers(context, 'kube-proxy')}"


def lacks_entrance(context: Context) -> bool:
    """Whether packets do not come to any Service: kube-proxy has not written its rules, however late it is."""
    ruleset = context.state.iptables
    return "iptables" not in context.state.unreadable and not all(entrance(ruleset, name).ok for name in ENTRANCES)


def _chains_anew(context: Context, outcome: Outcome) -> Iterator[str]:
    jumps = list(_surplus_jumps(context))
    yield from jumps or _anew(context, outcome)


def _surplus_jumps(context: Context) -> Iterator[str]:
    for chain in ENTRANCES:
        found = [item for item in context.state.iptables.rules("nat", chain) if item.target == SERVICES]
        yield from (deletion("nat", item) for item in found[1:])


@rule(
    "each Service's cluster IP and port lead to its KUBE-SVC chain, traffic from outside of the pods is marked; "
    "one without endpoints refuses; no other cluster IP has rules",
    meaning="the Service is not reached, or a cluster IP leads to pods that are gone",
    needs=("iptables",),
    look=LOOK,
    remedies=_chains_anew,
)
def service_chains(context: Context) -> Outcome:
    """KUBE-SERVICES -d clusterIP --dport port -> KUBE-SVC-x, reached from PREROUTING and OUTPUT."""
    served = list(served_ports(context))
    ruleset = context.state.iptables
    outcomes = [(chain, entrance(ruleset, chain)) for chain in ENTRANCES]
    outcomes += [(item.name, _cluster_ip_rules(context, item)) for item in served]
    outcomes.append(("other cluster IPs", _stale(context, served)))
    return all_of(
        outcomes,
        expected="for each Service with ready endpoints one jump from KUBE-SERVICES to its KUBE-SVC chain",
        nothing=NO_SERVICE,
    )


def entrance(ruleset: Ruleset, chain: str) -> Outcome:
    """Services have to be looked at before anything else that could accept or translate."""
    rules = ruleset.rules("nat", chain)
    found = [rule for rule in rules if rule.target == SERVICES]
    return same_sequence([Rule(chain, SERVICES)], found)


def _cluster_ip_rules(context: Context, item: Served) -> Outcome:
    nat = [rule for rule in context.state.iptables.rules("nat", SERVICES) if _is_for(rule, item)]
    refused = [rule for rule in context.state.iptables.rules("filter", SERVICES) if _is_for(rule, item)]
    if not item.backends:
        expected = [item.rule("REJECT")]
        return same_sequence(expected, [*nat, *(replace(rule, target_options=()) for rule in refused)])
    outside = Match(context.cluster.settings.pod_cidr, negated=True)
    chain = service_chain(context.state.iptables, item) or "KUBE-SVC-…"
    expected = [item.rule(MARK_MASQUERADE, source=outside), item.rule(chain)]
    return same_sequence(expected, [*nat, *refused])


def _is_for(rule: Rule, item: Served) -> bool:
    bare = item.rule("")
    return (rule.destination, rule.destination_port, rule.protocol) == (
        bare.destination,
        bare.destination_port,
        bare.protocol,
    )


def service_chain(ruleset: Ruleset, item: Served) -> str | None:
    """The KUBE-SVC chain that the unconditional rule for a cluster IP and port jumps to."""
    targets = [rule.target for rule in ruleset.rules("nat", SERVICES) if rule == item.rule(rule.target)]
    chains = [target for target in targets if target.startswith("KUBE-SVC-")]
    return chains[0] if len(chains) == 1 else None


def _stale(context: Context, served: list[Served]) -> Outcome:
    """Rules for addresses of the service CIDR that belong to no port of a Service."""
    ranges = context.cluster.settings.service_cidr
    rules = [
        rule
        for table in ("nat", "filter")
        for rule in context.state.iptables.rules(table, SERVICES)
        if rule.destination is not None and rule.destination.value.subnet_of(ranges)
    ]
    return same_sequence([], [rule for rule in rules if not any(_is_for(rule, item) for item in served)])


@rule(
    "each KUBE-SVC chain spreads evenly over one KUBE-SEP chain for each ready endpoint, which DNATs to it",
    meaning="requests to a Service end at pods that are gone, or always at the same",
    needs=("iptables",),
    look=LOOK,
    remedies=_anew,
)
def service_endpoints(context: Context) -> Outcome:
    """Probabilities 1/n, 1/(n-1) …, and DNAT to podIP:targetPort, an endpoint's own packets marked for hairpin."""
    outcomes = [(item.name, _spread(context.state.iptables, item)) for item in served_ports(context) if item.backends]
    return all_of(
        outcomes,
        expected="for each Service one KUBE-SEP chain for each ready endpoint, probabilities 1/n, 1/(n-1) … 1",
        nothing=NO_SERVICE,
    )


def _spread(ruleset: Ruleset, item: Served) -> Outcome:
    chain = service_chain(ruleset, item)
    if chain is None:
        return Outcome(False, "one KUBE-SVC chain", "no jump to one from KUBE-SERVICES")
    rules = [_plain(rule, item) for rule in ruleset.rules("nat", chain)]
    rules = [rule for rule in rules if rule is not None]
    targets = [rule.target for rule in rules if rule is not None]
    count = len(item.backends)
    expected = [f"{1 / (count - position):.7f}" for position in range(count)]
    found = [_probability(rule) for rule in rules if rule is not None]
    return _first_wrong(
        ("probabilities", same_sequence(expected, found)),
        ("KUBE-SEP chains", same_set(sorted(set(targets)), targets)),
        ("endpoints", _endpoints(ruleset, item, targets)),
    )


@rule(
    "each ready endpoint of a Service with an address of the pod CIDR is the address of a pod",
    meaning="requests to the Service are lost at an address that nobody has any more; kube-controller-manager, which "
    "keeps endpoints up to date, does not run or is late",
    look="iptables-save -t nat | grep -E 'KUBE-SEP.* DNAT'; ip neigh",
)
def endpoints_current(context: Context) -> Outcome:
    """A pod whose sandbox is made anew gets another address; only kube-controller-manager tells the Services."""
    pods = {pod.ip for pod in context.api.pods if pod.phase not in FINISHED}
    cidr = context.cluster.settings.pod_cidr
    outcomes = []
    for item in served_ports(context):
        lost = (str(end) for end in item.backends if end.address in cidr and end.address not in pods)
        outcomes.append((item.name, same_set([], sorted(lost))))
    return all_of(outcomes, expected="no endpoint with an address that no pod has", nothing=NO_SERVICE)


def _plain(rule: Rule, item: Served) -> Rule | None:
    """The rule without what session affinity adds (-m recent); None for a rule that is there only for it."""
    if not item.service.session_affinity:
        return rule
    return None if "--rcheck" in rule.other else replace(rule, other=()) if rule.other[:1] == ("--set",) else rule


def _probability(rule: Rule) -> str:
    """The share of a rule that has no other condition, in seven digits: beyond, the kernel's rounding shows."""
    if rule != Rule(rule.chain, rule.target, probability=rule.probability):
        return f"under a condition: {rule}"
    return f"{1 if rule.probability is None else rule.probability:.7f}"


def _endpoints(ruleset: Ruleset, item: Served, chains: list[str]) -> Outcome:
    expected = [
        line for backend in item.backends for line in map(str, _endpoint_rules("KUBE-SEP", backend, item.port.protocol))
    ]
    found = []
    for chain in chains:
        rules = [_plain(rule, item) for rule in ruleset.rules("nat", chain)]
        found += [str(replace(rule, chain="KUBE-SEP")) for rule in rules if rule is not None]
    return same_set(expected, found)


def _endpoint_rules(chain: str, backend: Backend, protocol: str) -> list[Rule]:
    return [
        Rule(chain, MARK_MASQUERADE, source=Match(IPv4Network(backend.address))),
        Rule(chain, "DNAT", protocol=Match(protocol), to_destination=Endpoint(backend.address, backend.port)),
    ]


def _first_wrong(*outcomes: tuple[str, Outcome]) -> Outcome:
    for name, outcome in outcomes:
        if not outcome.ok:
            return Outcome(False, f"{name}: {outcome.expected}", outcome.found)
    return outcomes[-1][1]


@rule(
    "each NodePort is in KUBE-NODEPORTS, marked for masquerading, and leads to the Service's chain; no other port is",
    meaning="a NodePort does not answer, or another port leads into the cluster",
    needs=("iptables",),
    look="iptables -t nat -S KUBE-NODEPORTS; iptables -t nat -S KUBE-SERVICES | tail -1",
    remedies=_anew,
)
def node_ports(context: Context) -> Outcome:
    """NodePort -> KUBE-MARK-MASQ, then KUBE-SVC-x; with externalTrafficPolicy Local, KUBE-XLB-x instead."""
    ruleset = context.state.iptables
    served = [item for item in served_ports(context) if item.port.node_port and item.backends]
    outcomes = [("KUBE-SERVICES", _node_ports_last(ruleset))]
    outcomes += [(item.name, _node_port_rules(ruleset, item)) for item in served]
    outcomes.append(("other ports", _stale_node_ports(ruleset, served)))
    return all_of(
        outcomes,
        expected="KUBE-NODEPORTS last in KUBE-SERVICES; for each NodePort KUBE-MARK-MASQ, then its KUBE-SVC chain",
        nothing="no Service has a NodePort (API)",
    )


def _node_ports_last(ruleset: Ruleset) -> Outcome:
    rules = ruleset.rules("nat", SERVICES)
    return same_sequence([Rule(SERVICES, NODE_PORTS, destination_type=Match("LOCAL"))], rules[-1:])


def _node_port_rules(ruleset: Ruleset, item: Served) -> Outcome:
    found = [rule for rule in ruleset.rules("nat", NODE_PORTS) if _is_node_port(rule, item)]
    port = item.port.node_port or 0
    bare = Rule(
        NODE_PORTS, protocol=Match(item.port.protocol), destination_port=Match(Ports(port, port))
    )  # the conditions that all rules of a NodePort share
    if item.service.local_traffic_only:
        marked = replace(bare, target=MARK_MASQUERADE, source=Match(LOOPBACK))
        local = next((rule.target for rule in found if rule.target.startswith("KUBE-XLB-")), "KUBE-XLB-…")
        return same_sequence([marked, replace(bare, target=local)], found)
    chain = service_chain(ruleset, item) or "KUBE-SVC-…"
    return same_sequence([replace(bare, target=MARK_MASQUERADE), replace(bare, target=chain)], found)


def _is_node_port(rule: Rule, item: Served) -> bool:
    port = item.port.node_port or 0
    return rule.destination_port == Match(Ports(port, port)) and rule.protocol == Match(item.port.protocol)


def _stale_node_ports(ruleset: Ruleset, served: list[Served]) -> Outcome:
    rules = ruleset.rules("nat", NODE_PORTS)
    return same_sequence([], [rule for rule in rules if not any(_is_node_port(rule, item) for item in served)])


@rule(
    "KUBE-MARK-MASQ sets the mark that KUBE-POSTROUTING masquerades, and only that",
    meaning="answers to a Service's clients come back by another way, and are not taken for answers",
    needs=("iptables",),
    look="iptables -t nat -S KUBE-MARK-MASQ; iptables -t nat -S KUBE-POSTROUTING",
    remedies=_anew,
)
def service_masquerade(context: Context) -> Outcome:
    """What is marked leaves with the node's address; everything else passes KUBE-POSTROUTING unchanged."""
    ruleset = context.state.iptables
    expected = [
        Rule(MARK_MASQUERADE, "MARK", set_mark=MASQUERADE_MARK),
        Rule(POSTROUTING, "RETURN", mark=Match(MASQUERADE_MARK, negated=True)),
        Rule(POSTROUTING, "MARK", set_mark=Mark(MASQUERADE_MARK.value, 0)),
        Rule(POSTROUTING, "MASQUERADE"),
    ]
    found = [*ruleset.rules("nat", MARK_MASQUERADE), *ruleset.rules("nat", POSTROUTING)]
    return same_sequence(expected, [replace(rule, random_fully=False) for rule in found])
