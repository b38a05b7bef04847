"""Rules of what enforces NetworkPolicy. Pure."""

from collections.abc import Iterator

from kubeproof.networks.calico import FELIX as FELIX_CONTAINER
from kubeproof.rules.context import Context, UndecidedError
from kubeproof.rules.filters import FELIX, flows, rules_of
from kubeproof.rules.pods import pod_links
from kubeproof.rules.repair import command_for, deletion, kill_containers, restart_agent, restart_of
from kubeproof.rules.result import Outcome
from kubeproof.rules.rule import rule
from kubeproof.state.iptables import Rule
from kubeproof.state.policies import POLICIES_FILE, POLICY_TABLE, PoliciesInForce
from kubeproof.state.verdict import verdict

ENFORCERS = ("cali-FORWARD", "KUBE-ROUTER-FORWARD", "WEAVE-NPC")
"""Chains for policies that FORWARD calls: those of Calico, kube-router (which k3s has beside flannel), Weave."""
FELIX_CHAINS = ("FORWARD", "INPUT", "OUTPUT")
"""Chains that felix puts a chain of its own first into."""
BYPASSED = "NetworkPolicy is bypassed"
TOO_LATE = (
    "the first rule that accepts a packet decides; the pod network's ACCEPT comes before the chain that enforces "
    "policies, which then sees nothing"
)


@rule(
    "every NetworkPolicy of the cluster is in force here, as the API has it now",
    symptom=BYPASSED,
    meaning="policies are accepted by the API, and nothing enforces them",
    references="canal#115",
    needs=("policies", "nft_tables"),
    look=f"cat {POLICIES_FILE}; nft list table {POLICY_TABLE}",
    remedies=restart_agent,
)
def policies_in_force(context: Context) -> Outcome:
    """podnet's table is loaded and made from these policies; with network_policy = False there is none."""
    state, loaded = context.state.policies, POLICY_TABLE in context.state.nft_tables
    if state is None:
        raise UndecidedError(f"there is no {POLICIES_FILE}")
    expected = _expected(context)
    found = _text(state, loaded)
    return Outcome(found == expected, expected, found)


def _expected(context: Context) -> str:
    if not context.cluster.settings.enforces_policy:
        return _text(PoliciesInForce(enforced=False), loaded=False)
    return _text(PoliciesInForce(enforced=True, policies=context.api.policies), loaded=True)


def _text(state: PoliciesInForce, loaded: bool) -> str:
    lines = [f"table {POLICY_TABLE} {'loaded' if loaded else 'not there'}"]
    lines.append(f"{len(state.policies)} policies enforced" if state.enforced else "policies not enforced")
    lines += [f"{name}, resourceVersion {version}" for name, version in sorted(state.policies.items())]
    lines += [f"{name} cannot be expressed: {reason}" for name, reason in sorted(state.inexpressible.items())]
    return "\n".join(lines)


def _jumps_first(context: Context, _: Outcome) -> Iterator[str]:
    # Each is put first, so the last one is begun with.
    jumps = reversed([jump for jump, _ in bypassed(context)])
    yield from (f"{deletion('filter', jump)} && {command_for(jump, '-I')}" for jump in jumps)


@rule(
    "no rule of FORWARD accepts packets of pods before the chains of what enforces policies by iptables",
    symptom=BYPASSED,
    meaning=TOO_LATE,
    references="canal#115",
    needs=("iptables",),
    look="iptables -S FORWARD",
    remedies=_jumps_first,
)
def policy_chains_first(context: Context) -> Outcome:
    """With the pod network's ACCEPT before them every NetworkPolicy that they stand for is without effect."""
    found = [f"before {jump.target}: {rule}" for jump, rules in bypassed(context) for rule in rules]
    return Outcome(not found, "nothing before such a chain", "\n".join(found) or "nothing before such a chain")


def bypassed(context: Context) -> Iterator[tuple[Rule, list[str]]]:
    """Jumps to chains of ENFORCERS, each with the rules before it that accept packets of pods."""
    rules = rules_of(context, "filter", "FORWARD")
    for place, jump in enumerate(rules):
        if jump.target in ENFORCERS:
            decided = (verdict(context.state.iptables, "filter", rules[:place], item) for _, item, _ in flows(context))
            accepting = [str(rule) for rule in decided if rule is not None and rule.target == "ACCEPT"]
            if accepting:
                yield jump, list(dict.fromkeys(accepting))


def _restart_felix(context: Context, outcome: Outcome) -> Iterator[str]:
    moved = list(_jumps_first(context, outcome))
    yield from moved or [kill_containers(context, FELIX_CONTAINER)]


@rule(
    "felix's chains are there and called: cali-FORWARD, cali-INPUT, cali-OUTPUT, and those of each pod's link",
    symptom=BYPASSED,
    meaning="a pod without chains of its own is not policed",
    needs=("iptables", "network", "containers"),
    look="iptables-save -t filter | grep cali-",
    remedies=restart_of(FELIX_CONTAINER),
)
def felix_chains(context: Context) -> Outcome:
    """Calico's agent makes cali-tw-LINK and cali-fw-LINK for each pod; a pod without them is not policed."""
    ruleset = context.state.iptables
    expected = [f"{chain} -> {FELIX}{chain}" for chain in FELIX_CHAINS]
    found = [
        line
        for line, chain in zip(expected, FELIX_CHAINS, strict=True)
        if any(rule.target == f"{FELIX}{chain}" for rule in ruleset.rules("filter", chain))
    ]
    for direction, dispatch in (("tw", "cali-to-wl-dispatch"), ("fw", "cali-from-wl-dispatch")):
        reached = _reached(context, "cali-FORWARD") & _reached(context, dispatch)
        for pod, link in pod_links(context):
            line = f"{dispatch} -> {FELIX}{direction}-{link} ({pod})"
            expected.append(line)
            found += [line] if f"{FELIX}{direction}-{link}" in reached else []
    return Outcome(expected == found, "\n".join(expected), "\n".join(_missing(expected, found)) or "all of them")


def _missing(expected: list[str], found: list[str]) -> list[str]:
    return [f"missing: {line}" for line in expected if line not in found]


def _reached(context: Context, chain: str) -> set[str]:
    """Chains of the filter table that are called from a chain, directly or not."""
    reached: set[str] = set()
    waiting = [chain]
    while waiting:
        for each in context.state.iptables.rules("filter", waiting.pop()):
            if each.target.startswith(FELIX) and each.target not in reached:
                reached.add(each.target)
                waiting.append(each.target)
    return reached


@rule(
    "no rule of FORWARD accepts packets of pods before felix has seen them; its chains come before kube-proxy's in "
    "FORWARD, INPUT and OUTPUT",
    symptom=BYPASSED,
    meaning=TOO_LATE,
    references="canal#115",
    needs=("iptables",),
    look="iptables -S FORWARD; iptables -S INPUT; iptables -S OUTPUT",
    remedies=_restart_felix,
)
def felix_first(context: Context) -> Outcome:
    """With flannel's ACCEPT before cali-FORWARD every NetworkPolicy is without effect (canal#115)."""
    expected = "cali-FORWARD, and before it nothing that accepts packets of pods"
    late = list(_after_kube_proxy(context))
    if not any(rule.target == "cali-FORWARD" for rule in rules_of(context, "filter", "FORWARD")):
        return Outcome(False, expected, "no jump to cali-FORWARD")
    accepting = [rule for jump, rules in bypassed(context) if jump.target == "cali-FORWARD" for rule in rules]
    before = [*(f"before it: {rule}" for rule in accepting), *late]
    return Outcome(not before, expected, "\n".join(before) or expected)


def _after_kube_proxy(context: Context) -> Iterator[str]:
    """kube-proxy's KUBE-FORWARD accepts what its Services have marked, whatever policies say."""
    for chain in FELIX_CHAINS:
        targets = [rule.target for rule in context.state.iptables.rules("filter", chain)]
        own = f"{FELIX}{chain}"
        before = [name for name in targets[: targets.index(own)] if name.startswith("KUBE-")] if own in targets else []
        yield from (f"before {own}: {name}" for name in before)
