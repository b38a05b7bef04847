"""Rules of a node as a host: its address, kernel settings, swap, clock, one variant of iptables. Pure."""

import shlex
import statistics
from collections.abc import Iterator, Mapping
from dataclasses import replace

from kubeproof.rules.context import Context, UndecidedError
from kubeproof.rules.result import Outcome, Remedy
from kubeproof.rules.rule import Rule, rule
from kubeproof.state.iptables import LEGACY, NF_TABLES, Ruleset

BRIDGE_CALLS = ("net.bridge.bridge-nf-call-iptables", "net.bridge.bridge-nf-filter-vlan-tagged")
FORWARDING = "net.ipv4.ip_forward"
SYSCTLS = (*BRIDGE_CALLS, FORWARDING)
"""All must be 1 (Kubernetes documentation, "Container runtimes"; the second one for podnet's policies)."""
CLOCK_SECONDS = 10.0
"""kubeadm's certificates are valid from the second in which they are made (`kubeadm init` takes 23 s here, its
certificates come first, a worker joins right after it): a node whose clock is further behind than that refuses the
API server's (kubernetes#42791), at any later change of certificates too. Half of it leaves room for nodes that are read
seconds after each other; clocks that are kept by NTP differ by milliseconds."""
KUBELET_FLAGS = "/var/lib/kubelet/kubeadm-flags.env"


def take_address(context: Context) -> str:
    """Shell text that has kubelet take the address of the inventory, whatever it is told now."""
    edit = f's/ *--node-ip=[^ "]*//; s/="/="--node-ip={context.node.address} /'
    return f"sed -i '{edit}' {KUBELET_FLAGS} && systemctl restart kubelet"


@rule(
    "a host has its address of the inventory, and the API knows the node by it",
    symptom="the other nodes cannot reach this one's pods, logs and exec fail",
    meaning="the host has several interfaces, and kubelet or the pod network took another address than the one of the "
    "inventory, which the other nodes need not reach",
    references="kubernetes#33618 flannel#535",
    before_deploy="error",
    look=f"ip -4 addr; cat {KUBELET_FLAGS}",
    remedies=lambda context, _: [take_address(context)],
)
def node_address(context: Context) -> Outcome:
    found = context.node_object(context.node.name)
    expected = f"InternalIP {context.node.address}"
    return Outcome(found.internal_ip == context.node.address, expected, f"InternalIP {found.internal_ip}")


cgroup_driver = Rule(
    "cgroup-driver",
    "kubelet and the container runtime have one cgroup driver, and it is not cgroupfs where systemd manages one tree",
    symptom="kubelet will not start, or will not after the next boot",
    meaning="kubelet and the container runtime have to put containers into the same tree of control groups; with "
    "dockershim kubelet ends when their drivers differ, with others limits of pods do not hold",
    references=("kubernetes#43805", "kubeadm#639"),
    before_deploy="warning",
    needs=("kubelet_driver", "runtime_driver"),
)


def _sysctls(context: Context, *names: str) -> Outcome:
    found = {name: context.state.sysctls.get(name, "not there") for name in names}
    return Outcome(
        all(value == "1" for value in found.values()),
        ", ".join(f"{name}=1" for name in names),
        ", ".join(f"{name}={value}" for name, value in found.items()),
    )


def _set_sysctls(context: Context, outcome: Outcome) -> Iterator[str]:
    names = [part.removesuffix("=1") for part in outcome.expected.split(", ")]
    found = context.state.sysctls
    if any(name not in found for name in names):
        yield "modprobe br_netfilter"
    yield from (f"sysctl -w {name}=1" for name in names if found.get(name) != "1")


@rule(
    "packets that cross a bridge pass iptables",
    symptom="pods on one node cannot resolve names or reach Services",
    meaning="packets between pods of the node stay on its bridge and pass by iptables, so an answer from a pod of the "
    "same node comes back untranslated, from an address that nobody asked",
    references="kubernetes#127593 flannel#2068",
    needs=("sysctls",),
    look=f"lsmod | grep br_netfilter; sysctl {' '.join(BRIDGE_CALLS)}",
    remedies=_set_sysctls,
)
def bridge_netfilter(context: Context) -> Outcome:
    """The module br_netfilter is there, and its sysctls are 1; tagged frames must not pass by either."""
    return _sysctls(context, *BRIDGE_CALLS)


@rule(
    "the kernel forwards IPv4",
    symptom="pods on one node reach nothing beyond it, and nothing reaches them",
    meaning="the kernel forwards no packet between the node's interface and its pods",
    references="flannel#2068",
    needs=("sysctls",),
    look=f"sysctl {FORWARDING}; grep -rs ip_forward /etc/sysctl.conf /etc/sysctl.d",
    remedies=_set_sysctls,
)
def ip_forward(context: Context) -> Outcome:
    """Something may have set it back, such as another service's sysctl file."""
    return _sysctls(context, FORWARDING)


def _swapoff(_: Context, __: Outcome) -> Iterator[str]:
    comment_out = "sed -ri 's/^([^#].*[[:space:]]swap[[:space:]])/#\\1/' /etc/fstab"
    yield f"swapoff -a && {{ [ ! -e /etc/fstab ] || {comment_out}; }} && systemctl restart kubelet"


@rule(
    "no swap is in use",
    symptom="kubelet will not start, or will not after the next boot",
    meaning="kubelet refuses to start while swap is on, since it could not keep pods to their memory; one that runs "
    "goes on until it is restarted",
    references="kubernetes#43805 kubeadm#639",
    needs=("swaps",),
    before_deploy="error",
    look="cat /proc/swaps; grep swap /etc/fstab",
    remedies=_swapoff,
)
def swap(context: Context) -> Outcome:
    return Outcome(not context.state.swaps, "none", ", ".join(context.state.swaps) or "none")


def _set_clock(context: Context, _: Outcome) -> Iterator[Remedy]:
    clocks = _clocks(context)
    right = next((name for name in clocks if abs(_ahead(context, name)) <= CLOCK_SECONDS), "")
    # The others' time and not this machine's, which may be wrong as well.
    # It needs no root, and could not ask for a password where its output is taken.
    now = replace(context.loaded.ssh[right], sudo=False, sudo_password="").line("date +%s") if right else "date +%s"
    # This machine's shell puts the number in, so it cannot be within what is quoted for the host's.
    setting = context.loaded.ssh[context.node.name].line("date --set=@0").replace("@0", f"@'$({now})'")
    yield Remedy(context.node.name, setting, "here")


@rule(
    f"the clock is within {CLOCK_SECONDS:.0f} seconds of the other nodes'",
    symptom="a join fails on a JWS signature, or a node's certificates are refused",
    meaning="to a clock that is ahead, tokens and certificates have expired; to one that is behind, new certificates "
    "are not valid yet",
    references="kubernetes#42791",
    needs=("clock",),
    before_deploy="either",
    look="date --utc",
    remedies=_set_clock,
)
def clock_skew(context: Context) -> Outcome:
    """Against the median of all nodes."""
    offset = _ahead(context, context.node.name)
    return Outcome(
        abs(offset) <= CLOCK_SECONDS,
        f"at most {CLOCK_SECONDS:.0f} seconds off",
        f"{abs(offset):.0f} seconds {'ahead of' if offset > 0 else 'behind'} the others",
    )


def _clocks(context: Context) -> Mapping[str, tuple[float, float]]:
    """What each node's clock showed when all were asked: between these, as it was read at an unknown time later."""
    read = {name: (state.clock, state.clock_within) for name, state in context.states.items()}
    return {name: (clock - within, clock) for name, (clock, within) in read.items() if clock is not None}


def _ahead(context: Context, name: str) -> float:
    """Seconds that a clock is ahead of the median, at least; 0 if it may be right.

    Of two nodes the control plane's is the one that counts.
    """
    known = _clocks(context)
    if name not in known:
        raise UndecidedError("the node's clock was not read")
    leader = context.cluster.leader.name
    others = [known[leader]] if len(known) == 2 and leader in known else list(known.values())
    earliest = statistics.median(first for first, _ in others)
    latest = statistics.median(last for _, last in others)
    return max(known[name][0] - latest, 0.0) + min(known[name][1] - earliest, 0.0)


def _one_variant(context: Context, _: Outcome) -> Iterator[str]:
    """Take the hidden rules away, or make the variant that kube-proxy uses the node's own."""
    own, other = context.state.iptables, context.state.other_iptables
    if other.incompatible or not other.rule_count:
        return
    tool, check = _hidden_tool(own, other)
    if other.rules("nat", "KUBE-SERVICES") and not own.rules("nat", "KUBE-SERVICES"):
        yield f"update-alternatives --set iptables /usr/sbin/{tool}"
        return
    policies = "".join(f"{tool} -P {chain} ACCEPT && " for chain in ("INPUT", "FORWARD", "OUTPUT"))
    flush = f"for table in {shlex.join(other.tables)}; do {tool} -t $table -F && {tool} -t $table -X; done"
    yield f"{check} && {tool}-save >/run/{tool}.saved && {policies}{flush}"


def _hidden_tool(own: Ruleset, other: Ruleset) -> tuple[str, str]:
    """What shows the rules that `iptables` does not, and shell text that makes sure of it before rules are flushed.

    Where no variant is known it can only be legacy: iptables-nft-save tells it by its name (variant_of).
    """
    if own.variant and own.variant == other.variant:
        raise UndecidedError(f"which variant the {other.rule_count} other rules are of is not known: all {own.variant}")
    if other.variant == NF_TABLES or own.variant == LEGACY:
        return "iptables-nft", "! iptables --version | grep -q nf_tables"
    return "iptables-legacy", "iptables --version | grep -q nf_tables"


@rule(
    "all iptables rules are in one variant (nf_tables or legacy)",
    symptom="packets are dropped or translated by rules that nobody sees",
    meaning="rules of both variants are in force, each after the other, and `iptables` shows those of one only",
    references="kubernetes#71305",
    needs=("iptables", "other_iptables"),
    before_deploy="warning",
    look="iptables --version; iptables-legacy-save | head; iptables-nft-save | head",
    remedies=_one_variant,
)
def iptables_mixed(context: Context) -> Outcome:
    """No rules in the variant that the host's iptables is not, and none that nothing here can show."""
    ruleset, other = context.state.iptables, context.state.other_iptables
    hidden = f"{other.rule_count} rules in {other.variant or 'the other variant'} too: {_shown(other)}"
    unseen = f"rules that nothing here can show: {', '.join(other.incompatible)}" if other.incompatible else ""
    native = f"tables that iptables cannot show: {', '.join(ruleset.incompatible)}" if ruleset.incompatible else ""
    wrong = [text for text in (hidden if other.rule_count else "", unseen, native) if text]
    variant = ruleset.variant or ruleset.version
    found = "; ".join([variant or "no variant", *wrong])
    return Outcome(
        bool(variant) and not wrong, f"{ruleset.variant or 'nf_tables or legacy'}, and no rule elsewhere", found
    )


def _shown(ruleset: Ruleset) -> str:
    chains = [chain for table in ruleset.tables.values() for chain in table.chains.values()]
    rules = [item.text or str(item) for chain in chains for item in chain.rules]
    return "; ".join(rules[:3]) + (" …" if len(rules) > 3 else "")
