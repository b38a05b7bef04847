"""Causes in the pod network of a node: rules, devices, configurations, policies. Pure."""

import re
import shlex
from collections.abc import Iterator
from fnmatch import fnmatch
from ipaddress import IPv4Network

from kubeproof.config.settings import conflicts_with
from kubeproof.doctor.causes_running import AGENTS_ROWS, POD_ROWS
from kubeproof.doctor.diagnosis import Case, Follows, cause, cause_on_node
from kubeproof.doctor.evidence import Evidence
from kubeproof.doctor.rows import case_of
from kubeproof.networks import artifacts
from kubeproof.networks.registry import NETWORKS
from kubeproof.rules.before_deploy.network_obstacles import cni_leftovers
from kubeproof.rules.context import BRIDGE, Context, UndecidedError
from kubeproof.rules.devices import cni0_address
from kubeproof.rules.policies import policies_in_force
from kubeproof.rules.result import Remedy
from kubeproof.rules.rule import KUBECTL
from kubeproof.state.policies import POLICY_TABLE


@cause_on_node(
    cni0_address,
    follows=Follows(
        here=(*(row for row in AGENTS_ROWS if row not in POD_ROWS), "pod-veths", "subnet-of-node-object"),
        hides=("network-agent-ready",),
    ),
)
def bridge_of_another_subnet(_: Evidence, context: Context) -> Case | None:
    """As when the node object was made anew, and has another podCIDR: agents wait until it has ended."""
    present = [item.ip for item in context.state.network.addresses_of(BRIDGE)]
    if "bridge" not in context.cluster.settings.backend.aspects or not present or context.gateway in present:
        return None
    return case_of(cni0_address.check(context))


@cause(policies_in_force, follows=Follows(here=("policies-in-force",), traffic=False))
def policies_not_enforced(evidence: Evidence) -> Iterator[Case | UndecidedError]:
    """The network cannot, or is told not to, or its rules are not there."""
    cluster = evidence.snapshot.loaded.cluster
    leader, settings = cluster.leader.name, cluster.settings
    if not settings.enforces_policy:
        if policies := evidence.snapshot.api.policies:
            able = settings.network.enforces
            why = "network_policy is False" if able else f"{settings.cni} enforces none"
            seen = f"{why}, and the cluster has {len(policies)}: {', '.join(sorted(policies))}"
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
    warning = (
        "the remedy takes the cluster, and all that is in it, away, and makes a new one: save what is needed first"
    )
    # Written first: what the new settings lack is then refused before anything is taken away.
    reset = evidence.apply.replace(" apply", " reset")
    return Case(leader, (seen, warning), (_here(leader, f"{written}{reset} && {evidence.apply}"),))


def _here(node: str, command: str) -> Remedy:
    return Remedy(node, command, "here")


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
        told = Remedy(leader, f"{KUBECTL} {network.agent.environment} NETWORK_POLICY=enforce")
        yield Case(name, tuple(seen), (told,))
    else:
        pods = f"-n kube-system delete pod -l {'='.join(network.agent.label)} --field-selector spec.nodeName={name}"
        yield Case(name, tuple(seen), (Remedy(leader, f"{KUBECTL} {pods}"),))


@cause(
    "kubeadm, the pod network and the node objects have the pod CIDR of the settings",
    symptom='"node does not have a podCIDR", pods without addresses',
    meaning="kube-controller-manager gives nodes their parts of one network, and the pod network expects them in "
    "another one",
    references=("flannel#728", "flannel#1428"),
    follows=Follows(everywhere=AGENTS_ROWS, hides=("network-agent-ready", "cni0-address")),
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
        told = Remedy(leader, f"{KUBECTL} {environment} POD_CIDR={wanted}")
        yield Case(leader, tuple(seen), (told if environment else evidence.applying(leader),))
    elif kubeadm not in ("", wanted):
        manifest = "/etc/kubernetes/manifests/kube-controller-manager.yaml"
        edit = f"sed -i 's|--cluster-cidr=.*|--cluster-cidr={wanted}|' {manifest}"
        yield Case(leader, tuple(seen), (Remedy(leader, edit),))
    yield from _podless(evidence)


def _podless(evidence: Evidence) -> Iterator[Case]:
    """Nodes whose podCIDR is none of the cluster's: it cannot be changed, so the node object is made anew."""
    cluster = evidence.snapshot.loaded.cluster
    if cluster.settings.network.agent.blocks:
        return  # podCIDRs mean nothing to it
    for node in evidence.snapshot.api.nodes:
        if node.pod_cidr is not None and node.pod_cidr.subnet_of(cluster.settings.pod_cidr):
            continue
        if not any(node.name == known.name for known in cluster.nodes):
            continue
        seen = f"the node object has podCIDR {node.pod_cidr or 'none'}, the cluster {cluster.settings.pod_cidr}"
        again = Remedy(cluster.leader.name, f"{KUBECTL} delete node {node.name}")
        yield Case(node.name, (seen,), (again, Remedy(node.name, "systemctl restart kubelet")))


# Leftovers ------------------------------------------------------------------------------------------------------------

NETWORKS_CHAINS = (*artifacts.CHAINS, *artifacts.OTHERS_CHAINS)
CLUSTER_CHAINS = ("KUBE-", "CNI-", *NETWORKS_CHAINS)
OWN_ROWS = ("route-to-own-pods", "no-bridge", "no-tunnel")


@cause_on_node(
    cni_leftovers,
    outsiders=True,
    follows=Follows(here=("routes-to-other-nodes", "routes-by-nodes", "routes-to-blocks", *OWN_ROWS)),
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
    seen = [artifacts.titled(name) for name in links] + [f"route {route}" for route in routes]
    seen += (
        [f"{len(chains)} chains of iptables: {', '.join(chains[:3])}{' …' if len(chains) > 3 else ''}"]
        if chains
        else []
    )
    seen += [f"nft table {table}" for table in tables]
    if not seen:
        return None
    remedies = [f"ip link delete {shlex.quote(name)}" for name in links]
    remedies += [f"ip route del {shlex.join(route.split())}" for route in routes]
    remedies += [f"nft delete table {table}" for table in tables]
    if chains:
        remedies.append(_without(prefixes, None if member else context.cluster.settings.pod_cidr))
    return Case(context.node.name, tuple(seen), (Remedy(context.node.name, " && ".join(remedies)),))


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
