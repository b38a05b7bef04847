"""Checks of the rules that let pod traffic through and masquerade what leaves the pod network."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv4Network

from kubeproof.proof.context import Context, Finding, check, same_sequence
from kubeproof.state.iptables import Match, Rule, Ruleset

MULTICAST = IPv4Network("224.0.0.0/4")
"""RFC 5771; flannel leaves multicast unmasqueraded."""
REFUSALS = ("DROP", "REJECT")


@check(
    "FORWARD drops by default, and accepts what comes from and what goes to the pod CIDR",
    needs=("iptables",),
    look="iptables -S FORWARD",
)
def forward_accepts(context: Context) -> Finding:
    """Docker sets the policy DROP; without the ACCEPTs nothing crosses nodes (kubernetes#40182, flannel#872)."""
    found = forwarding(context.state.iptables, context.cluster.settings.pod_cidr)
    return Finding(
        found.policy == "DROP" and not found.missing and not found.barriers,
        "\n".join(["policy DROP", *map(str, accepts(context.cluster.settings.pod_cidr))]),
        "\n".join(found.lines),
    )


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
    return Forwarding(
        policy=chain.policy if chain else None,
        missing=tuple(rule for rule in wanted if rule not in rules),
        barriers=tuple(_barriers(ruleset, rules[:last], pods)),
    )


def _barriers(ruleset: Ruleset, rules: tuple[Rule, ...], pods: IPv4Network, depth: int = 8) -> Iterator[Rule]:
    """Rules, here or in chains that are jumped to, that refuse everything of the pod network."""
    for rule in rules:
        if not _takes_all(rule, pods):
            continue
        if rule.target in REFUSALS:
            yield rule
        elif depth > 0:
            yield from _barriers(ruleset, ruleset.rules("filter", rule.target), pods, depth - 1)


def _takes_all(rule: Rule, pods: IPv4Network) -> bool:
    """Whether every packet between pods matches."""
    bare = replace(rule, source=None, destination=None)
    unconditional = bare == Rule(rule.chain, rule.target, goto=rule.goto, target_options=rule.target_options)
    return unconditional and all(
        side is None or (not side.negated and pods.subnet_of(side.value)) for side in (rule.source, rule.destination)
    )


@check(
    "POSTROUTING: pod to pod unchanged, pod to elsewhere masqueraded, elsewhere to S unchanged, "
    "elsewhere to other pods masqueraded",
    needs=("iptables",),
    look="iptables -t nat -S POSTROUTING",
)
def postrouting_order(context: Context) -> Finding:
    """The four rules in their order, after kube-proxy's KUBE-POSTROUTING, with nothing before that could match pods.

    KUBE-POSTROUTING has to come first: a marked packet from pod to pod (a pod that reaches itself by a Service) would
    otherwise return unmasqueraded.
    """
    pods = context.cluster.settings.pod_cidr
    rules = context.state.iptables.rules("nat", "POSTROUTING")
    first_kept, expected = "KUBE-POSTROUTING", _masquerading(pods, context.subnet)
    relevant = [rule for rule in rules if _may_match_pods(rule, pods)]
    wanted = [f"-A POSTROUTING -j {first_kept}", *map(str, expected)]
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
