"""Checks of rules by what they do to packets: for networks that are free to write them in another way."""

from collections.abc import Iterator

from kubeproof.proof.context import Context, Finding, UndecidedError, check, same_sequence
from kubeproof.state.iptables import UNREAD, Rule
from kubeproof.state.verdict import Packet, doubtful, verdict

FELIX = "cali-"
ENFORCERS = ("cali-FORWARD", "KUBE-ROUTER-FORWARD", "WEAVE-NPC")
"""Chains for policies that FORWARD calls: those of Calico, kube-router (which k3s has beside flannel), Weave."""
_OUTSIDE = 1
"""An address of the node network stands for clients and servers outside of the pod network: the first host."""


@check(
    "packets from and to pods pass FORWARD, whatever its policy is",
    needs=("iptables",),
    look="iptables -S FORWARD; iptables -S FLANNEL-FWD",
)
def forward_verdicts(context: Context) -> Finding:
    """A rule accepts them, directly or in flannel's FLANNEL-FWD (0.16.2 and later); Calico's own chains left out."""
    rules = tuple(rule for rule in _rules(context, "filter", "FORWARD") if not rule.target.startswith(FELIX))
    packets = {name: packet for name, packet, _ in _flows(context)}
    found = [f"{name}: {_filtered(context, rules, name, packet)}" for name, packet in packets.items()]
    return same_sequence([f"{name}: accepted" for name in packets], found)


def _filtered(context: Context, rules: tuple[Rule, ...], name: str, packet: Packet) -> str:
    decided = verdict(context.state.iptables, "filter", rules, packet)
    if decided is None:
        for rule in doubtful(context.state.iptables, "filter", rules, packet):
            if rule.target in ("ACCEPT", UNREAD) or context.state.iptables.chain("filter", rule.target):
                raise UndecidedError(f"not known whether {name} is accepted by this rule, not understood: {rule.text}")
        return "no rule accepts it"
    return "accepted" if decided.target == "ACCEPT" else f"refused by {decided}"


@check(
    "POSTROUTING: pod to pod unchanged, pod to elsewhere masqueraded, elsewhere to S unchanged, "
    "elsewhere to other pods masqueraded",
    needs=("iptables",),
    look="iptables -t nat -S POSTROUTING; iptables -t nat -S FLANNEL-POSTRTG",
)
def postrouting_verdicts(context: Context) -> Finding:
    """What happens to a packet of each kind, in rules of POSTROUTING or in flannel's FLANNEL-POSTRTG."""
    rules = _rules(context, "nat", "POSTROUTING")
    flows = list(_flows(context))
    found = [f"{name}: {_translated(context, rules, packet)}" for name, packet, _ in flows]
    return same_sequence([f"{name}: {wanted}" for name, _, wanted in flows], found)


def _translated(context: Context, rules: tuple[Rule, ...], packet: Packet) -> str:
    decided = verdict(context.state.iptables, "nat", rules, packet)
    return "masqueraded" if decided is not None and decided.target in ("MASQUERADE", "SNAT") else "unchanged"


def _flows(context: Context) -> Iterator[tuple[str, Packet, str]]:
    """Kinds of packets with one of each, and what POSTROUTING makes of it."""
    here, outside = context.subnet[2], context.cluster.settings.node_network[_OUTSIDE]
    uplink, tunnel = context.underlay.name, context.vxlan_device
    across = tunnel if context.cluster.settings.backend.overhead else uplink
    local = "cni0" if context.cluster.settings.network.bridge else "veth0"
    yield "pod to elsewhere", Packet(here, outside, local, uplink), "masqueraded"
    yield "elsewhere to a pod here", Packet(outside, here, uplink, local), "unchanged"
    for node in context.others[:1]:
        there = context.subnet_of(node.name)[2]
        yield "pod to a pod of another node", Packet(here, there, local, across), "unchanged"
        yield "from a pod of another node", Packet(there, here, across, local), "unchanged"
        yield "elsewhere to a pod of another node", Packet(outside, there, uplink, across), "masqueraded"


def _rules(context: Context, table: str, chain: str) -> tuple[Rule, ...]:
    found = context.state.iptables.chain(table, chain)
    if found is None:
        raise UndecidedError(f"there is no chain {chain} in table {table}")
    return found.rules


@check(
    "felix's chains are there and called: cali-FORWARD, cali-INPUT, cali-OUTPUT, and those of each pod's link",
    needs=("iptables", "network", "containers"),
    look="iptables-save -t filter | grep cali-",
)
def felix_chains(context: Context) -> Finding:
    """Calico's agent makes cali-tw-LINK and cali-fw-LINK for each pod; a pod without them is not policed."""
    ruleset = context.state.iptables
    expected = [f"{chain} -> {FELIX}{chain}" for chain in ("FORWARD", "INPUT", "OUTPUT")]
    found = [
        line
        for line, chain in zip(expected, ("FORWARD", "INPUT", "OUTPUT"), strict=True)
        if any(rule.target == f"{FELIX}{chain}" for rule in ruleset.rules("filter", chain))
    ]
    for direction, dispatch in (("tw", "cali-to-wl-dispatch"), ("fw", "cali-from-wl-dispatch")):
        reached = _reached(context, "cali-FORWARD") & _reached(context, dispatch)
        for pod, link in pod_links(context):
            line = f"{dispatch} -> {FELIX}{direction}-{link} ({pod})"
            expected.append(line)
            found += [line] if f"{FELIX}{direction}-{link}" in reached else []
    return Finding(expected == found, "\n".join(expected), "\n".join(_missing(expected, found)) or "all of them")


def _missing(expected: list[str], found: list[str]) -> list[str]:
    return [f"missing: {line}" for line in expected if line not in found]


def _reached(context: Context, chain: str) -> set[str]:
    """Chains of the filter table that are called from a chain, directly or not."""
    reached: set[str] = set()
    waiting = [chain]
    while waiting:
        for rule in context.state.iptables.rules("filter", waiting.pop()):
            if rule.target.startswith(FELIX) and rule.target not in reached:
                reached.add(rule.target)
                waiting.append(rule.target)
    return reached


@check(
    "no rule of FORWARD accepts packets of pods before felix has seen them",
    needs=("iptables",),
    look="iptables -S FORWARD",
)
def felix_first(context: Context) -> Finding:
    """With flannel's ACCEPT before cali-FORWARD every NetworkPolicy is without effect (canal#115)."""
    expected = "cali-FORWARD, and before it nothing that accepts packets of pods"
    if not any(rule.target == "cali-FORWARD" for rule in _rules(context, "filter", "FORWARD")):
        return Finding(False, expected, "no jump to cali-FORWARD")
    accepting = [rule for jump, rules in bypassed(context) if jump.target == "cali-FORWARD" for rule in rules]
    return Finding(not accepting, expected, "\n".join(f"before it: {rule}" for rule in accepting) or expected)


@check(
    "no rule of FORWARD accepts packets of pods before the chains of what enforces policies by iptables",
    needs=("iptables",),
    look="iptables -S FORWARD",
)
def policy_chains_first(context: Context) -> Finding:
    """With the pod network's ACCEPT before them every NetworkPolicy that they stand for is without effect."""
    found = [f"before {jump.target}: {rule}" for jump, rules in bypassed(context) for rule in rules]
    return Finding(not found, "nothing before such a chain", "\n".join(found) or "nothing before such a chain")


def bypassed(context: Context) -> Iterator[tuple[Rule, list[str]]]:
    """Jumps to chains of ENFORCERS, each with the rules before it that accept packets of pods."""
    rules = _rules(context, "filter", "FORWARD")
    for place, jump in enumerate(rules):
        if jump.target in ENFORCERS:
            decided = (verdict(context.state.iptables, "filter", rules[:place], item) for _, item, _ in _flows(context))
            accepting = [str(rule) for rule in decided if rule is not None and rule.target == "ACCEPT"]
            if accepting:
                yield jump, list(dict.fromkeys(accepting))


def pod_links(context: Context) -> Iterator[tuple[str, str]]:
    """Each pod that runs here with the name of its link on the node; pods without one are other checks' affair."""
    for pod in context.pods:
        pause = context.state.sandbox(pod.full_name)
        inner = pause.network.link("eth0") if pause and pause.network else None
        outer = context.state.network.link_by_index(inner.peer_index) if inner and inner.peer_index else None
        if outer is not None:
            yield pod.full_name, outer.name
