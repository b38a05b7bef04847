"""Causes in a node as a host: kernel settings, swap, cgroups, clock, identity, iptables variants. Pure."""

import shlex
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from kubeproof.config.cluster import Node
from kubeproof.doctor.causes_running import ROWS_OF_KUBELET, SERVICE_ROWS
from kubeproof.doctor.diagnosis import Case, Follows, Mend, cause, cause_on_node
from kubeproof.doctor.evidence import Evidence
from kubeproof.node.paths import KUBELET_CONFIG, KUBELET_FLAGS
from kubeproof.proof.checks_membership import CLOCK_SECONDS, clock_offset
from kubeproof.proof.context import Context, UndecidedError
from kubeproof.state.hostfiles import Identity
from kubeproof.state.iptables import LEGACY, NF_TABLES, Ruleset

BRIDGE_CALLS = "net.bridge.bridge-nf-call-iptables"
FORWARDING = "net.ipv4.ip_forward"


@cause_on_node(
    1,
    needs=("sysctls",),
    symptom="pods on one node cannot resolve names or reach Services",
    meaning="packets between pods of the node stay on its bridge and pass by iptables, so an answer from a pod of the "
    "same node comes back untranslated, from an address that nobody asked",
    references="kubernetes#127593 flannel#2068",
    follows=Follows(here=("sysctls",)),
)
def br_netfilter_off(_: Evidence, context: Context) -> Case | None:
    """The module is missing, or its sysctl is 0."""
    value = context.state.sysctls.get(BRIDGE_CALLS)
    if value == "1":
        return None
    seen = f"{BRIDGE_CALLS} is {value}" if value is not None else f"there is no {BRIDGE_CALLS}: br_netfilter is missing"
    load = "" if value is not None else "modprobe br_netfilter && "
    return _on(context, seen, mend=f"{load}sysctl -w {BRIDGE_CALLS}=1")


@cause_on_node(
    1,
    needs=("sysctls",),
    symptom="pods on one node reach nothing beyond it, and nothing reaches them",
    meaning="the kernel forwards no packet between the node's interface and its pods",
    references="flannel#2068",
    follows=Follows(here=("sysctls",), hides=("forwarding-off-on-a-device",)),
)
def ip_forward_off(_: Evidence, context: Context) -> Case | None:
    """Something set it back, such as another service's sysctl file."""
    value = context.state.sysctls.get(FORWARDING)
    if value in (None, "1"):
        return None
    return _on(context, f"{FORWARDING} is {value}", mend=f"sysctl -w {FORWARDING}=1")


@cause_on_node(
    2,
    needs=("swaps",),
    symptom="kubelet will not start, or will not after the next boot",
    meaning="kubelet refuses to start while swap is on, since it could not keep pods to their memory; one that runs "
    "goes on until it is restarted",
    references="kubernetes#43805 kubeadm#639",
    follows=Follows(here=(*ROWS_OF_KUBELET, "swap_off"), hides=("kubelet-stopped",), traffic=False),
)
def swap_on(evidence: Evidence, context: Context) -> Case | None:
    """A node must have no swap area in use."""
    if not context.state.swaps:
        return None
    comment_out = "sed -ri 's/^([^#].*[[:space:]]swap[[:space:]])/#\\1/' /etc/fstab"
    mend = f"swapoff -a && {{ [ ! -e /etc/fstab ] || {comment_out}; }} && systemctl restart kubelet"
    return _on(context, f"in use: {', '.join(context.state.swaps)}", *_kubelet(evidence, context), mend=mend)


@cause_on_node(
    2,
    needs=("kubelet_driver", "runtime_driver"),
    symptom="kubelet will not start, or will not after the next boot",
    meaning="kubelet and the container runtime have to put containers into the same tree of control groups; with "
    "dockershim kubelet ends when their drivers differ, with others limits of pods do not hold",
    references="kubernetes#43805 kubeadm#639",
    follows=Follows(here=ROWS_OF_KUBELET, hides=("kubelet-stopped",), traffic=False),
)
def cgroup_driver_mismatch(evidence: Evidence, context: Context) -> Case | None:
    """cgroupDriver of kubelet's configuration against the runtime's own word."""
    ours, theirs = context.state.kubelet_driver, context.state.runtime_driver
    if not ours or not theirs or ours == theirs:
        return None
    wanted, runtime = context.cluster.settings.cgroup_driver, context.cluster.settings.container_runtime
    seen = f"cgroupDriver of {KUBELET_CONFIG} is {ours}, that of {runtime} is {theirs}"
    if theirs == wanted:
        edit = f"sed -i 's/^cgroupDriver:.*/cgroupDriver: {wanted}/' {KUBELET_CONFIG} && systemctl restart kubelet"
        return _on(context, seen, *_kubelet(evidence, context), mend=edit)
    here = Mend(context.node.name, evidence.apply, "here")
    return Case(context.node.name, (seen, *_kubelet(evidence, context)), (here,))


def _kubelet(evidence: Evidence, context: Context) -> Iterator[str]:
    """What kubelet says about it, if it is down."""
    kubelet = context.state.kubelet
    if kubelet is not None and not kubelet.is_healthy:
        words = context.state.kubelet_words
        yield f"kubelet is {kubelet.state}" + (f": {words}" if words else "")


@cause(
    10,
    symptom="a join fails on a JWS signature, or a node's certificates are refused",
    meaning="to a clock that is ahead, tokens and certificates have expired; to one that is behind, new certificates "
    "are not valid yet",
    references="kubernetes#42791",
    follows=Follows(everywhere=("clock",), traffic=False),
)
def clock_skew(evidence: Evidence) -> Iterator[Case | UndecidedError]:
    """Against the median of all nodes."""
    contexts = evidence.snapshot.contexts()
    offsets: dict[str, float] = {}
    for context in contexts:
        try:
            offsets[context.node.name] = clock_offset(context)
        except UndecidedError as error:
            yield UndecidedError(f"{context.node.name}: {error}")
    right = [name for name, offset in offsets.items() if abs(offset) <= CLOCK_SECONDS]
    for name, offset in offsets.items():
        if name not in right:
            seen = f"the clock is {abs(offset):.0f} seconds {'ahead of' if offset > 0 else 'behind'} the other nodes'"
            # The others' time and not this machine's, which may be wrong as well.
            now = evidence.snapshot.line(right[0], "date +%s") if right else "date +%s"
            # This machine's shell puts the number in, so it cannot be within what is quoted for the host's.
            setting = evidence.snapshot.line(name, "date --set=@0").replace("@0", f"@'$({now})'")
            yield Case(name, (seen,), (Mend(name, setting, "here"),))


@cause(
    11,
    symptom="two nodes become one, or fight over one node object",
    meaning="kubelet registers under the hostname, so the second node takes the first one's node object over",
    references="kubeadm#31",
    follows=Follows(everywhere=("unique_identity",), traffic=False),
)
def same_hostname(evidence: Evidence) -> Iterator[Case]:
    """The node whose name in the inventory is another one has the wrong one."""
    for hostname, nodes in _twins(evidence, lambda identity: identity.hostname):
        for node in _all_but_owner(nodes, hostname):
            mend = f"echo {node.name} >/etc/hostname && hostname {node.name}"
            yield _twin(node, nodes, f"hostname {hostname}", Mend(node.name, mend))


@cause(
    11,
    symptom="two nodes become one, or fight: the same DHCP lease, the same node in what tells nodes by it",
    meaning="the machine was cloned with its /etc/machine-id, which has to be unique",
    references="kubeadm#31",
    follows=Follows(everywhere=("unique_identity",), traffic=False),
)
def same_machine_id(evidence: Evidence) -> Iterator[Case]:
    """All but the first get a new one: systemd-machine-id-setup would take a clone's from what it was cloned with."""
    new = "tr -d - </proc/sys/kernel/random/uuid >/etc/machine-id"
    of_dbus = "{ [ ! -d /var/lib/dbus ] || ln -sf /etc/machine-id /var/lib/dbus/machine-id; }"
    mend = f"{new} && {of_dbus} && systemctl restart kubelet"
    for value, nodes in _twins(evidence, lambda identity: identity.machine_id):
        for node in _all_but_owner(nodes):
            yield _twin(node, nodes, f"machine-id {value}", Mend(node.name, mend))


@cause(
    11,
    symptom="two nodes become one for what tells machines by their UUID, such as storage and cloud controllers",
    meaning="the virtual machine was cloned with its UUID; kubeadm's documentation wants it to be unique",
    references="kubeadm#31",
    follows=Follows(everywhere=("unique_identity",), traffic=False),
)
def same_product_uuid(evidence: Evidence) -> Iterator[Case]:
    """Containers are left out: they all show their machine's."""
    for value, nodes in _twins(evidence, lambda identity: "" if identity.container else identity.product_uuid):
        for node in _all_but_owner(nodes):
            command = f"virt-xml {node.name} --edit --metadata uuid=$(cat /proc/sys/kernel/random/uuid)"
            yield _twin(node, nodes, f"product_uuid {value}", Mend(node.name, command, "hypervisor"))


def _twins(evidence: Evidence, value: Callable[[Identity], str]) -> Iterator[tuple[str, list[Node]]]:
    """Each value that several nodes have, with these nodes in the order of the inventory."""
    by_value: Mapping[str, list[Node]] = defaultdict(list)
    for context in evidence.snapshot.contexts():
        if found := value(context.state.identity):
            by_value[found].append(context.node)
    return ((found, nodes) for found, nodes in by_value.items() if len(nodes) > 1)


def _all_but_owner(nodes: list[Node], owner: str = "") -> list[Node]:
    """The nodes that have to change: not the one that is called so, else not the first."""
    kept = next((node for node in nodes if node.name == owner), nodes[0])
    return [node for node in nodes if node is not kept]


def _twin(node: Node, nodes: Iterable[Node], what: str, mend: Mend) -> Case:
    others = ", ".join(other.name for other in nodes if other is not node)
    return Case(node.name, (f"{what}, which is that of {others} too",), (mend,))


@cause_on_node(
    12,
    needs=("iptables", "other_iptables"),
    symptom="packets are dropped or translated by rules that nobody sees",
    meaning="rules of both variants are in force, each after the other, and `iptables` shows those of one only",
    references="kubernetes#71305",
    follows=Follows(here=("iptables_variant", *SERVICE_ROWS)),
)
def mixed_iptables_variants(_: Evidence, context: Context) -> Case | None:
    """Rules of the variant that is not the node's own; the node's own is wrong if kube-proxy's are in the other."""
    own, other = context.state.iptables, context.state.other_iptables
    if other.incompatible:
        raise UndecidedError(f"rules of the other variant could not be read ({', '.join(other.incompatible)})")
    if not other.rule_count:
        return None
    tool, check = _hidden_tool(own, other)
    seen = f"`iptables` shows {own.rule_count} rules ({own.variant or own.version}), `{tool}-save` another "
    seen += f"{other.rule_count}: "
    shown = [
        rule.text or str(rule)
        for table in other.tables.values()
        for chain in table.chains.values()
        for rule in chain.rules
    ]
    seen += "; ".join(shown[:3]) + (" …" if len(shown) > 3 else "")
    if other.rules("nat", "KUBE-SERVICES") and not own.rules("nat", "KUBE-SERVICES"):
        mend = f"update-alternatives --set iptables /usr/sbin/{tool}"
        return _on(context, seen, "kube-proxy's rules are in the other variant", mend=mend)
    policies = "".join(f"{tool} -P {chain} ACCEPT && " for chain in ("INPUT", "FORWARD", "OUTPUT"))
    flush = f"for table in {shlex.join(other.tables)}; do {tool} -t $table -F && {tool} -t $table -X; done"
    return _on(context, seen, mend=f"{check} && {tool}-save >/run/{tool}.saved && {policies}{flush}")


def _hidden_tool(own: Ruleset, other: Ruleset) -> tuple[str, str]:
    """What shows the rules that `iptables` does not, and shell text that makes sure of it before rules are flushed.

    Where no variant is known it can only be legacy: iptables-nft-save tells it by its name (variant_of).
    """
    if own.variant and own.variant == other.variant:
        raise UndecidedError(f"which variant the {other.rule_count} other rules are of is not known: all {own.variant}")
    if other.variant == NF_TABLES or own.variant == LEGACY:
        return "iptables-nft", "! iptables --version | grep -q nf_tables"
    return "iptables-legacy", "iptables --version | grep -q nf_tables"


@cause_on_node(
    9,
    symptom="the other nodes cannot reach this one's pods, logs and exec fail",
    meaning="the host has several interfaces, and kubelet or the pod network took another address than the one of the "
    "inventory, which the other nodes need not reach",
    references="kubernetes#33618 flannel#535",
    follows=Follows(
        here=("node_ready", "flannel_device", "kubelet_reached"), everywhere=("fdb_entries", *SERVICE_ROWS)
    ),
)
def wrong_node_address(evidence: Evidence, context: Context) -> Case | None:
    """InternalIP of the node object, then the outer source of the tunnel."""
    wanted, host = context.node.address, context.state
    node = None if isinstance(context.objects, str) else context.objects.node(context.node.name)
    told = host.node_ip
    if (node is not None and node.internal_ip not in (None, wanted)) or (told and told != str(wanted)):
        seen = [f"the inventory says {wanted}"]
        seen += [f"the API says InternalIP {node.internal_ip}"] if node and node.internal_ip != wanted else []
        seen += [f"kubelet is told --node-ip={told} in {KUBELET_FLAGS}"] if told != str(wanted) and told else []
        return _on(context, *seen, mend=_node_ip(str(wanted), told))
    link = context.state.network.link(context.vxlan_device)
    local = link.vxlan.local if link and link.vxlan else None
    if local is not None and local != context.underlay_address:
        seen_of_tunnel = f"{context.vxlan_device} sends from {local}, the node's address is {context.underlay_address}"
        return Case(context.node.name, (seen_of_tunnel,), (Mend(context.node.name, evidence.apply, "here"),))
    if isinstance(context.objects, str):
        raise UndecidedError(f"the API could not be read: {context.objects}")
    return None


def _node_ip(address: str, told: str) -> str:
    edit = f's/--node-ip=[^ "]*/--node-ip={address}/' if told else f's/="/="--node-ip={address} /'
    return f"sed -i '{edit}' {KUBELET_FLAGS} && systemctl restart kubelet"


def _on(context: Context, *seen: str, mend: str) -> Case:
    """A case that one command on the node itself mends."""
    return Case(context.node.name, seen, (Mend(context.node.name, mend),))
