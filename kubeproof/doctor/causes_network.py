"""Causes in the pod network of a node: rules, devices, configurations, policies. Pure."""

import re
import shlex
from collections.abc import Iterator
from fnmatch import fnmatch
from ipaddress import IPv4Network

from kubeproof.config.settings import conflicts_with
from kubeproof.doctor.causes_foreign import deletion
from kubeproof.doctor.causes_running import AGENTS_ROWS, KUBECTL
from kubeproof.doctor.diagnosis import Case, Follows, Mend, cause, cause_on_node, command_for
from kubeproof.doctor.evidence import Evidence
from kubeproof.networks import artifacts
from kubeproof.networks.registry import NETWORKS
from kubeproof.proof.checks import checks_of
from kubeproof.proof.checks_filters import bypassed, forward_verdicts
from kubeproof.proof.checks_membership import configurations
from kubeproof.proof.checks_rules import accepts, forwarding
from kubeproof.proof.context import BRIDGE, POD_DEVICE, Context, UndecidedError
from kubeproof.state.iptables import Rule
from kubeproof.state.policies import POLICY_TABLE


@cause_on_node(
    3,
    needs=("iptables",),
    symptom="traffic of pods across nodes is dropped",
    meaning="Docker sets the policy of FORWARD to DROP, and the rules by which the pod network lets pods through are "
    "missing or come too late",
    references="kubernetes#40182 flannel#872",
    follows=Follows(here=("forward_accepts", "forward_verdicts")),
)
def forward_policy_drop(_: Evidence, context: Context) -> Case | None:
    """Missing ACCEPTs under the policy DROP, or a rule that refuses all pods before them."""
    pods = context.cluster.settings.pod_cidr
    found = forwarding(context.state.iptables, pods)
    barriers, missing = found.barriers, list(found.missing) if found.policy == "DROP" else []
    if forward_verdicts in checks_of(context.cluster.settings):
        # These networks are free to write it in another way: what becomes of packets decides.
        missing = [] if forward_verdicts.decide(context).ok else list(accepts(pods))
    if not missing and not barriers:
        return None
    mends = [_deletion(rule) for rule in barriers]
    mends += [f"iptables {rule}" for rule in missing]
    seen = [f"iptables -S FORWARD: {line}" for line in found.lines]
    return Case(context.node.name, tuple(seen), (Mend(context.node.name, " && ".join(mends)),))


def _deletion(rule: Rule) -> str:
    return deletion("filter", rule)


@cause_on_node(
    8,
    needs=("iptables",),
    symptom="NetworkPolicy is bypassed",
    meaning="the first rule that accepts a packet decides; the pod network's ACCEPT comes before the chain that "
    "enforces policies, which then sees nothing",
    references="canal#115",
    follows=Follows(here=("policy_chains_first", "felix_first"), traffic=False),
)
def policies_after_accept(_: Evidence, context: Context) -> Case | None:
    """A chain of Calico, kube-router or Weave behind an ACCEPT for pods."""
    found = list(bypassed(context))
    if not found:
        return None
    seen = [f"before {jump.target}: {rule}" for jump, rules in found for rule in rules]
    # Each is put first, so the last one is begun with.
    mends = [f"{_deletion(jump)} && {command_for(jump, '-I')}" for jump, _ in found]
    return Case(context.node.name, tuple(seen), (Mend(context.node.name, " && ".join(reversed(mends))),))


@cause(
    8,
    symptom="NetworkPolicy is bypassed",
    meaning="policies are accepted by the API, and nothing enforces them",
    references="canal#115",
    follows=Follows(here=("policies_in_force",), traffic=False),
)
def policies_not_enforced(evidence: Evidence) -> Iterator[Case | UndecidedError]:
    """The network cannot, or is told not to, or its rules are not there."""
    cluster, objects = evidence.snapshot.loaded.cluster, evidence.snapshot.objects
    leader, settings = cluster.leader.name, cluster.settings
    if not settings.enforces_policy:
        if isinstance(objects, str):
            raise UndecidedError(f"the API could not be read: {objects}")
        if objects.policies:
            able = settings.network.enforces
            why = "network_policy is False" if able else f"{settings.cni} enforces none"
            seen = f"{why}, and the cluster has {len(objects.policies)}: {', '.join(sorted(objects.policies))}"
            yield _unenforced(evidence, leader, seen, able=able)
        return
    if not settings.network.policy_table:
        return  # what Calico's agent keeps is looked at by policies_after_accept
    told_not_to = evidence.control_plane.network_policy == "off"
    for context in evidence.snapshot.contexts():
        if evidence.is_member(context):
            yield from _without_rules(context, leader, told_not_to=told_not_to)


def _unenforced(evidence: Evidence, leader: str, seen: str, *, able: bool) -> Case:
    """With what would have them enforced; another network takes the cluster away first, so its settings are tried."""
    loaded = evidence.snapshot.loaded
    data = f"inventory/group_data/{loaded.file.stem}.py"
    if able:
        return Case(leader, (seen,), (_here(leader, f"echo 'network_policy = None' >>{data} && {evidence.apply}"),))
    other = next(network for network in NETWORKS.values() if network.enforces and network.manifest)
    changes: dict[str, object] = {"cni": other.name, "cni_backend": other.backends[0].name}
    changes |= {"cni_manifest": "", "cni_manifest_sha256": ""}
    if loaded.cluster.settings.network_policy is False:
        changes["network_policy"] = None
    current = {name: getattr(loaded.cluster.settings, name) for name in changes}
    refused = conflicts_with(loaded.cluster.settings, changes)
    if refused:
        look = f"set a pod network that enforces them, such as {other.name}, in {data}, for which: {'; '.join(refused)}"
        return Case(leader, (seen,), (), look)
    changed = {name: value for name, value in changes.items() if current[name] not in (value, None)}
    lines = [f"{name} = None" if value is None else f'{name} = "{value}"' for name, value in changed.items()]
    written = "".join(f"echo {shlex.quote(line)} >>{data} && " for line in lines)
    warning = "the mend takes the cluster, and all that is in it, away, and makes a new one: save what is needed first"
    # Written first: what the new settings lack is then refused before anything is taken away.
    reset = evidence.apply.replace(" apply", " reset")
    return Case(leader, (seen, warning), (_here(leader, f"{written}{reset} && {evidence.apply}"),))


def _here(node: str, command: str) -> Mend:
    return Mend(node, command, "here")


def _without_rules(context: Context, leader: str, *, told_not_to: bool) -> Iterator[Case | UndecidedError]:
    name, state, network = context.node.name, context.state, context.cluster.settings.network
    if "nft_tables" in state.unreadable:
        yield UndecidedError(f"{name}: nft_tables could not be read ({state.unreadable['nft_tables']})")
        return
    seen = [] if network.policy_table in state.nft_tables else [f"nft list tables: there is no {network.policy_table}"]
    if state.policies is not None and not state.policies.enforced:
        seen.append(f"{network.name} says that it enforces none")
    if not seen:
        return
    if told_not_to:
        seen.append(f"NETWORK_POLICY of the DaemonSet {network.agent.daemon_set} is off")
        yield Case(name, tuple(seen), (Mend(leader, f"{KUBECTL} {network.agent.environment} NETWORK_POLICY=enforce"),))
    else:
        pods = f"-n kube-system delete pod -l {'='.join(network.agent.label)} --field-selector spec.nodeName={name}"
        yield Case(name, tuple(seen), (Mend(leader, f"{KUBECTL} {pods}"),))


@cause_on_node(
    6,
    needs=("network",),
    symptom='new pods do not start: "cni0 already has an IP address different from …"',
    meaning="the bridge has its address from an earlier cluster or podCIDR, and the bridge plugin does not change it; "
    "pods that are on it have lost their gateway",
    references="kubernetes#39557",
    follows=Follows(here=("cni0_address", "route_to_own_pods")),
)
def stale_cni0(_: Evidence, context: Context) -> Case | None:
    """An address that is not the first of the node's podCIDR."""
    addresses = context.state.network.addresses_of(BRIDGE)
    if not context.cluster.settings.network.bridge or not addresses:
        return None
    wanted = f"{context.gateway}/{context.subnet.prefixlen}"
    if wanted in map(str, addresses) or not context.subnet.subnet_of(context.cluster.settings.pod_cidr):
        return None  # of another network than the cluster's, the podCIDR is what is wrong
    seen = f"{BRIDGE} has {', '.join(map(str, addresses))}; the node's podCIDR {context.subnet} wants {wanted}"
    mend = f"ip -4 addr flush dev {BRIDGE} && ip addr add {wanted} dev {BRIDGE}"
    return Case(context.node.name, (seen,), (Mend(context.node.name, mend),))


@cause_on_node(
    7,
    needs=("cni_files",),
    symptom="the old pod network is still in use after a switch: new pods get its addresses, or none",
    meaning="of the files in /etc/cni/net.d the first by name is taken, and it is not the network's own",
    references="kubernetes#107127 flannel#1608",
    follows=Follows(here=("cni_configuration",)),
)
def stale_cni_configuration(_: Evidence, context: Context) -> Case | None:
    """Files before the network's own."""
    ours = context.cluster.settings.network.conflist
    before = [name for name in configurations(context.state.cni_files) if name < ours]
    if not before:
        return None
    files = [f"{artifacts.CONFIGURATIONS}/{name}" for name in before]
    seen = f"{', '.join(files)} before {ours}"
    return Case(context.node.name, (seen,), (Mend(context.node.name, f"rm {shlex.join(files)}"),))


@cause_on_node(
    4,
    needs=("network", "containers"),
    symptom="large packets hang, small ones pass",
    meaning="a packet that fills its device does not fit into the tunnel any more: VXLAN adds 50 bytes, and what is "
    "larger than the interface between the nodes is cut into pieces or lost",
    references="flannel#841 kubeadm#240",
    follows=Follows(here=("flannel_mtu", "cni0_mtu", "pod_mtus", "subnet_env")),
)
def mtu_too_large(_: Evidence, context: Context) -> Case | None:
    """Devices of the pod network, and those in pods, that take more than the interface between the nodes leaves."""
    most, network = context.network_mtu, context.state.network
    # A bridge without ports has Ethernet's MTU, whatever it had with some (br_mtu_auto_adjust), and carries nothing.
    bridge = [BRIDGE] if any(link.master == BRIDGE for link in network.links) else []
    links = [link for name in (context.vxlan_device, *bridge) if (link := network.link(name)) and link.mtu > most]
    seen = [f"{link.name} takes {link.mtu} bytes" for link in links]
    mends = [f"ip link set dev {link.name} mtu {most}" for link in links]
    for container in context.state.containers:
        inner = container.network.link(POD_DEVICE) if container.network else None
        if inner is not None and inner.mtu > most:
            seen.append(f"{POD_DEVICE} of {container.pod} takes {inner.mtu} bytes")
            mends.append(f"nsenter -t {container.pid} -n ip link set dev {POD_DEVICE} mtu {most}")
    if not seen:
        return None
    seen.append(f"{context.underlay.name} takes {context.underlay.mtu}, which leaves {most}")
    return Case(context.node.name, tuple(seen), (Mend(context.node.name, " && ".join(mends)),))


@cause(
    5,
    symptom='"node does not have a podCIDR", pods without addresses',
    meaning="kube-controller-manager gives nodes their parts of one network, and the pod network expects them in "
    "another one",
    references="flannel#728 flannel#1428",
    follows=Follows(everywhere=AGENTS_ROWS, hides=("network-pods-down",)),
)
def pod_cidr_mismatch(evidence: Evidence) -> Iterator[Case | UndecidedError]:
    """The CIDR of kubeadm, of the pod network, and of the settings."""
    cluster, plane = evidence.snapshot.loaded.cluster, evidence.control_plane
    wanted, leader = str(cluster.settings.pod_cidr), cluster.leader.name
    kubeadm = plane.controller_flags.get("cluster-cidr", "")
    if leader in evidence.snapshot.states and "controller_flags" in plane.unreadable:
        reason = plane.unreadable["controller_flags"]
        yield UndecidedError(f"kube-controller-manager's flags could not be read ({reason})")
    if not isinstance(evidence.snapshot.objects, str) and "network_cidrs" in plane.unreadable:
        reason = plane.unreadable["network_cidrs"]
        yield UndecidedError(f"what {cluster.settings.cni} is told could not be read ({reason})")
    seen = [f"the settings say pod_cidr {wanted}"]
    seen += [f"kube-controller-manager has --cluster-cidr={kubeadm}"] if kubeadm else []
    seen += [f"{cluster.settings.cni} is told {cidr}" for cidr in plane.network_cidrs]
    if any(cidr != wanted for cidr in plane.network_cidrs):
        environment = cluster.settings.network.agent.environment
        told = Mend(leader, f"{KUBECTL} {environment} POD_CIDR={wanted}")
        yield Case(leader, tuple(seen), (told if environment else _apply(evidence, leader),))
    elif kubeadm not in ("", wanted):
        manifest = "/etc/kubernetes/manifests/kube-controller-manager.yaml"
        edit = f"sed -i 's|--cluster-cidr=.*|--cluster-cidr={wanted}|' {manifest}"
        yield Case(leader, tuple(seen), (Mend(leader, edit),))
    yield from _podless(evidence)


def _apply(evidence: Evidence, node: str) -> Mend:
    return Mend(node, evidence.apply, "here")


def _podless(evidence: Evidence) -> Iterator[Case | UndecidedError]:
    """Nodes whose podCIDR is none of the cluster's: it cannot be changed, so the node object is made anew."""
    cluster, objects = evidence.snapshot.loaded.cluster, evidence.snapshot.objects
    if isinstance(objects, str):
        yield UndecidedError(f"the API could not be read: {objects}")
        return
    for node in objects.nodes:
        if node.pod_cidr is not None and node.pod_cidr.subnet_of(cluster.settings.pod_cidr):
            continue
        if not any(node.name == known.name for known in cluster.nodes):
            continue
        seen = f"the node object has podCIDR {node.pod_cidr or 'none'}, the cluster {cluster.settings.pod_cidr}"
        again = Mend(cluster.leader.name, f"{KUBECTL} delete node {node.name}")
        yield Case(node.name, (seen,), (again, Mend(node.name, "systemctl restart kubelet")))


# Leftovers ------------------------------------------------------------------------------------------------------------

NETWORKS_CHAINS = (*artifacts.CHAINS, *artifacts.OTHERS_CHAINS)
CLUSTER_CHAINS = ("KUBE-", "CNI-", *NETWORKS_CHAINS)


@cause_on_node(
    13,
    needs=("network", "iptables"),
    symptom="a node that was reset, or had another pod network, sends packets nowhere or joins badly",
    meaning="`kubeadm reset` leaves links, routes and rules of the pod network and of kube-proxy in the kernel, and "
    "they go on deciding about packets",
    references="kubeadm#689",
    outsiders=True,
    follows=Follows(here=("routes_to_other_nodes", "routes_by_nodes", "route_to_own_pods", "no_bridge", "no_tunnel")),
)
def leftovers_of_a_reset(evidence: Evidence, context: Context) -> Case | None:
    """Of another pod network on a member; of any on a host that is no member."""
    member = context.state.joined
    links = [link.name for link in context.state.network.links if _is_leftover(context, link.name, member=member)]
    routes = [str(route) for route in _stale_routes(context, links, member=member)]
    own_chains = context.cluster.settings.network.artifacts.chains
    of_others = tuple(prefix for prefix in NETWORKS_CHAINS if prefix not in own_chains)
    prefixes = of_others if member else CLUSTER_CHAINS
    chains = sorted(
        {name for table in context.state.iptables.tables.values() for name in table.chains if name.startswith(prefixes)}
    )
    tables = [] if member else [table for table in context.state.nft_tables if table == POLICY_TABLE]
    seen = [f"link {name}" for name in links] + [f"route {route}" for route in routes]
    seen += (
        [f"{len(chains)} chains of iptables: {', '.join(chains[:3])}{' …' if len(chains) > 3 else ''}"]
        if chains
        else []
    )
    seen += [f"nft table {table}" for table in tables]
    if not seen:
        return None
    mends = [f"ip link delete {shlex.quote(name)}" for name in links]
    mends += [f"ip route del {shlex.join(route.split())}" for route in routes]
    mends += [f"nft delete table {table}" for table in tables]
    if chains:
        mends.append(_without(prefixes, None if member else context.cluster.settings.pod_cidr))
    return Case(context.node.name, tuple(seen), (Mend(context.node.name, " && ".join(mends)),))


def _is_leftover(context: Context, name: str, *, member: bool) -> bool:
    device, links = context.vxlan_device, context.cluster.settings.network.artifacts.links
    # Of tunnels only the one that is in use.
    own = [device, *(pattern for pattern in links if not fnmatch(device, pattern))] if member else []
    known = (*artifacts.LINKS, *artifacts.OTHERS_LINKS)
    return any(fnmatch(name, pattern) for pattern in known) and not any(fnmatch(name, pattern) for pattern in own)


def _stale_routes(context: Context, links: list[str], *, member: bool) -> Iterator[object]:
    """Routes into the pod CIDR by no link that goes with them; on a member those by its own interface are host-gw's."""
    for route in context.state.network.routes_in():
        inside = route.destination.subnet_of(context.cluster.settings.pod_cidr)
        if inside and not member and route.device not in links:
            yield route


def _without(prefixes: tuple[str, ...], pods: IPv4Network | None) -> str:
    """Shell text: take lines with these chains, and those about pods, out of all tables; every other rule stays."""
    words = [f"[ :]{prefix}" for prefix in prefixes] + ([f" {re.escape(str(pods))} "] if pods else [])
    return f"iptables-save | grep -vE '{'|'.join(words)}' | iptables-restore"
