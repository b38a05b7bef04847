"""Rules of iptables for packets of pods: FORWARD lets them through, POSTROUTING masquerades what leaves. Pure.

podnet's are held to how they are written, those of other networks, which are free in that, to what they do to packets.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from ipaddress import IPv4Network

from kubeproof.rules.context import Context, UndecidedError
from kubeproof.rules.repair import agent_restart, deletion
from kubeproof.rules.result import Outcome, same_sequence
from kubeproof.rules.rule import rule
from kubeproof.state.iptables import UNREAD, Match, Rule, Ruleset
from kubeproof.state.verdict import TERMINAL, Packet, doubtful, verdict

FELIX = "cali-"
MULTICAST = IPv4Network("224.0.0.0/4")
"""RFC 5771; flannel leaves multicast unmasqueraded."""
REFUSALS = ("DROP", "REJECT")
_OUTSIDE = 1
"""An address of the node network stands for clients and servers outside of the pod network: the first host."""
UNACCEPTED = "no rule accepts it"
forward_rule = partial(
    rule,
    symptom="traffic of pods across nodes is dropped",
    meaning="Docker sets the policy of FORWARD to DROP, and the rules by which the pod network lets pods through are "
    "missing or come too late",
    references="kubernetes#40182 flannel#872",
    needs=("iptables",),
)
UNTRANSLATED = (
    "what leaves the pod network keeps an address that nobody outside answers to, or pods see another address than the "
    "one that packets came from"
)


# FORWARD --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Forwarding:
    """What FORWARD does with pods: its policy, the ACCEPTs that it lacks, and what refuses pods before them."""

    policy: str | None
    missing: tuple[Rule, ...]
    barriers: tuple[Rule, ...]

    @property
    def lines(self) -> list[str]:
        """The same in words."""
        notes = [f"policy {self.policy or 'unknown (no chain FORWARD)'}"]
        notes += [f"missing: {rule}" for rule in self.missing]
        notes += [f"before it, all pod traffic is refused by: {rule}" for rule in self.barriers]
        return [*notes, *([] if self.missing else ["ACCEPT both ways"])]


def accepts(pods: IPv4Network) -> tuple[Rule, Rule]:
    """The rules that let pods pass in spite of the policy DROP."""
    return Rule("FORWARD", "ACCEPT", source=Match(pods)), Rule("FORWARD", "ACCEPT", destination=Match(pods))


def forwarding(ruleset: Ruleset, pods: IPv4Network) -> Forwarding:
    """Read FORWARD for traffic of the pod CIDR."""
    wanted = accepts(pods)
    chain = ruleset.chain("filter", "FORWARD")
    rules = chain.rules if chain else ()
    last = max((rules.index(rule) for rule in wanted if rule in rules), default=len(rules))
    taking = ruleset.walk("filter", rules[:last], lambda rule: _takes_all(rule, pods))
    return Forwarding(
        policy=chain.policy if chain else None,
        missing=tuple(rule for rule in wanted if rule not in rules),
        barriers=tuple(rule for rule in taking if rule.target in REFUSALS),
    )


def _takes_all(rule: Rule, pods: IPv4Network) -> bool:
    """Whether every packet between pods matches."""
    bare = replace(rule, source=None, destination=None)
    unconditional = bare == Rule(rule.chain, rule.target, goto=rule.goto, target_options=rule.target_options)
    return unconditional and all(
        side is None or (not side.negated and pods.subnet_of(side.value)) for side in (rule.source, rule.destination)
    )


def _accept_and_drop(context: Context, _: Outcome) -> Iterator[str]:
    found = forwarding(context.state.iptables, context.cluster.settings.pod_cidr)
    yield from (deletion("filter", rule) for rule in found.barriers)
    yield from (f"iptables {rule}" for rule in found.missing)
    if found.policy == "ACCEPT":
        yield "iptables -P FORWARD DROP"


@forward_rule(
    "FORWARD drops by default, and accepts what comes from and what goes to the pod CIDR",
    look="iptables -S FORWARD",
    remedies=_accept_and_drop,
)
def forward_accepts(context: Context) -> Outcome:
    """As podnet writes them."""
    found = forwarding(context.state.iptables, context.cluster.settings.pod_cidr)
    return Outcome(
        found.policy == "DROP" and not found.missing and not found.barriers,
        "\n".join(["policy DROP", *map(str, accepts(context.cluster.settings.pod_cidr))]),
        "\n".join(found.lines),
    )


def _accept(context: Context, outcome: Outcome) -> Iterator[str]:
    pods = context.cluster.settings.pod_cidr
    found = forwarding(context.state.iptables, pods)
    commands = [deletion("filter", rule) for rule in found.barriers]
    felix = context.cluster.settings.network.agent.blocks
    if found.policy == "DROP" and UNACCEPTED in outcome.found and not felix:
        commands += [f"iptables {rule}" for rule in accepts(pods)]
    yield from commands or [agent_restart(context)]


@forward_rule(
    "packets from and to pods pass FORWARD, whatever its policy is; with Calico those that felix has marked",
    look="iptables -S FORWARD; iptables -S FLANNEL-FWD",
    remedies=_accept,
)
def forward_verdicts(context: Context) -> Outcome:
    """A rule accepts them, directly or in flannel's FLANNEL-FWD (0.16.2 and later); Calico's own chains left out."""
    rules = tuple(rule for rule in rules_of(context, "filter", "FORWARD") if not rule.target.startswith(FELIX))
    mark = _felix_mark(rules) if context.cluster.settings.network.agent.blocks else 0
    packets = {name: replace(packet, mark=mark) for name, packet, _ in flows(context)}
    found = [f"{name}: {_filtered(context, rules, name, packet)}" for name, packet in packets.items()]
    return same_sequence([f"{name}: accepted" for name in packets], found)


def _felix_mark(rules: tuple[Rule, ...]) -> int:
    """What felix marks packets with that its policies let pass. Without flannel beside it, a rule accepts these."""
    own = (rule for rule in rules if rule.target == "ACCEPT" and '"cali:' in rule.text)
    return next((rule.mark.value.value for rule in own if rule.mark), 0)


def _filtered(context: Context, rules: tuple[Rule, ...], name: str, packet: Packet) -> str:
    decided = verdict(context.state.iptables, "filter", rules, packet)
    if decided is None:
        for rule in doubtful(context.state.iptables, "filter", rules, packet):
            if rule.target in ("ACCEPT", UNREAD) or context.state.iptables.chain("filter", rule.target):
                raise UndecidedError(f"not known whether {name} is accepted by this rule, not understood: {rule.text}")
        return UNACCEPTED
    return "accepted" if decided.target == "ACCEPT" else f"refused by {decided}"


def flows(context: Context) -> Iterator[tuple[str, Packet, str]]:
    """Kinds of packets with one of each, and what POSTROUTING makes of it."""
    settings = context.cluster.settings
    here, outside = context.a_pod_of(context.node.name), settings.node_network[_OUTSIDE]
    uplink, tunnel = context.underlay.name, context.vxlan_device
    across = tunnel if settings.backend.overhead else uplink
    local = "cni0" if settings.network.bridge else "veth0"
    routed = settings.network.agent.blocks and not settings.cni_nat_outgoing
    yield "pod to elsewhere", Packet(here, outside, local, uplink), "unchanged" if routed else "masqueraded"
    yield "elsewhere to a pod here", Packet(outside, here, uplink, local), "unchanged"
    for node in context.others[:1]:
        there = context.a_pod_of(node.name)
        yield "pod to a pod of another node", Packet(here, there, local, across), "unchanged"
        yield "from a pod of another node", Packet(there, here, across, local), "unchanged"
        if not settings.network.agent.blocks:
            # Calico knows of none: kube-proxy masquerades what comes for Services.
            yield "elsewhere to a pod of another node", Packet(outside, there, uplink, across), "masqueraded"


def rules_of(context: Context, table: str, chain: str) -> tuple[Rule, ...]:
    found = context.state.iptables.chain(table, chain)
    if found is None:
        raise UndecidedError(f"there is no chain {chain} in table {table}")
    return found.rules


# POSTROUTING ----------------------------------------------------------------------------------------------------------


def _without_strangers(context: Context, outcome: Outcome) -> Iterator[str]:
    """Rules that come before the pod network's are deleted; what is missing is set when its agent starts."""
    wanted, found = outcome.expected.splitlines(), outcome.found.splitlines()
    surplus = [line for line in found if line not in wanted]
    strangers = [rule for rule in context.state.iptables.rules("nat", "POSTROUTING") if _is_stranger(rule)]
    named = [rule for rule in strangers if any(_same(rule, line) for line in surplus)]
    yield from (deletion("nat", rule) for rule in named)
    if not named and any(line not in found for line in wanted):
        yield agent_restart(context)


def _same(rule: Rule, line: str) -> bool:
    return str(rule).removesuffix(" --random-fully") == line.removesuffix(" --random-fully")


def _is_stranger(rule: Rule) -> bool:
    return rule.target in (*TERMINAL, "RETURN")


@rule(
    "POSTROUTING: pod to pod unchanged, pod to elsewhere masqueraded, elsewhere to S unchanged, "
    "elsewhere to other pods masqueraded",
    meaning=UNTRANSLATED,
    needs=("iptables",),
    look="iptables -t nat -S POSTROUTING",
    remedies=_without_strangers,
)
def postrouting_order(context: Context) -> Outcome:
    """The four rules in their order, after kube-proxy's KUBE-POSTROUTING, with nothing before that could match pods.

    KUBE-POSTROUTING has to come first: a marked packet from pod to pod (a pod that reaches itself by a Service) would
    otherwise return unmasqueraded. In kube-proxy's mode nftables there is none: its own table masquerades what these
    leave as it is.
    """
    pods = context.cluster.settings.pod_cidr
    rules = context.state.iptables.rules("nat", "POSTROUTING")
    first_kept, expected = "KUBE-POSTROUTING", _masquerading(pods, context.subnet)
    relevant = [rule for rule in rules if _may_match_pods(rule, pods)]
    first = [] if context.cluster.settings.kube_proxy_mode == "nftables" else [f"-A POSTROUTING -j {first_kept}"]
    wanted = [*first, *map(str, expected)]
    ours = [str(replace(rule, random_fully=False)) for rule in relevant]
    return same_sequence(wanted, ours[: len(wanted)])


def _masquerading(pods: IPv4Network, subnet: IPv4Network) -> list[Rule]:
    inside, outside = Match(pods), Match(pods, negated=True)
    return [
        Rule("POSTROUTING", "RETURN", source=inside, destination=inside),
        Rule("POSTROUTING", "MASQUERADE", source=inside, destination=Match(MULTICAST, negated=True)),
        Rule("POSTROUTING", "RETURN", source=outside, destination=Match(subnet)),
        Rule("POSTROUTING", "MASQUERADE", source=outside, destination=inside),
    ]


def _may_match_pods(rule: Rule, pods: IPv4Network) -> bool:
    """Whether a rule may change what happens to pod traffic: not if it is about another network on one side.

    A rule with the source of another network counts only if it names pods as its destination.
    """
    from_elsewhere = _names_other(rule.source, pods)
    to_pods = rule.destination is not None and not rule.destination.negated and not _names_other(rule.destination, pods)
    to_others_from_anywhere = _names_other(rule.destination, pods) and rule.source is None
    return not ((from_elsewhere and not to_pods) or to_others_from_anywhere)


def _names_other(side: Match[IPv4Network] | None, pods: IPv4Network) -> bool:
    return side is not None and not side.negated and not side.value.overlaps(pods)


def _put_first(context: Context, _: Outcome) -> Iterator[str]:
    """flannel and Calico put their chains first again and again, but a stranger's rule may come before."""
    pods = context.cluster.settings.pod_cidr
    for each in context.state.iptables.rules("nat", "POSTROUTING"):
        if each.target.startswith(("FLANNEL-", FELIX)) or "flanneld" in (each.comment or ""):
            break
        sides = (each.source, each.destination)
        if _is_stranger(each) and all(side is None or side.negated or side.value.overlaps(pods) for side in sides):
            yield deletion("nat", each)
    yield agent_restart(context)


@rule(
    "POSTROUTING: pod to pod unchanged, pod to elsewhere masqueraded (Calico: with cni_nat_outgoing), elsewhere to S "
    "unchanged, elsewhere to other pods masqueraded (but with Calico)",
    meaning=UNTRANSLATED,
    needs=("iptables",),
    look="iptables-save -t nat | grep -E -- 'POSTROUTING|POSTRTG|cali-nat-outgoing'",
    remedies=_put_first,
)
def postrouting_verdicts(context: Context) -> Outcome:
    """What happens to a packet of each kind, in rules of POSTROUTING or in flannel's or Calico's chains."""
    rules = rules_of(context, "nat", "POSTROUTING")
    ruleset = _with_pools(context.state.iptables, context.cluster.settings.pod_cidr)
    kinds = list(flows(context))
    found = [f"{name}: {_translated(ruleset, rules, packet)}" for name, packet, _ in kinds]
    return same_sequence([f"{name}: {wanted}" for name, _, wanted in kinds], found)


_OF_POOLS = ("--match-set", "cali40masq-ipam-pools", "src", "!", "--match-set", "cali40all-ipam-pools", "dst")
"""Condition of felix's rule for what leaves its pools (felix, rules/nat.go)."""


def _with_pools(ruleset: Ruleset, pods: IPv4Network) -> Ruleset:
    """The same with what is in these sets: the one pool, the pod CIDR. Hosts need not have ipset(8) to list them."""

    def known(rule: Rule) -> Rule:
        if rule.other != _OF_POOLS:
            return rule
        return replace(rule, other=(), source=Match(pods), destination=Match(pods, negated=True))

    nat = ruleset.tables["nat"]
    chains = {name: replace(chain, rules=tuple(map(known, chain.rules))) for name, chain in nat.chains.items()}
    return replace(ruleset, tables={**ruleset.tables, "nat": replace(nat, chains=chains)})


def _translated(ruleset: Ruleset, rules: tuple[Rule, ...], packet: Packet) -> str:
    decided = verdict(ruleset, "nat", rules, packet)
    return "masqueraded" if decided is not None and decided.target in ("MASQUERADE", "SNAT") else "unchanged"
