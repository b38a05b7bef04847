"""What hosts that --limit leaves out are to the others, which a deploy changes. Pure."""

from collections.abc import Iterable, Iterator

from kubeproof.config.cluster import Cluster
from kubeproof.node.finding import Finding
from kubeproof.rules.before_deploy.inspection import Inspection
from kubeproof.rules.before_deploy.udp_paths import udp_path
from kubeproof.rules.rule import either_rule, error_rule

control_plane_left_out = error_rule(
    "control-plane-left-out",
    "where a host joins, a control plane host that --limit leaves out answers and has a control plane",
    "so no host can join the cluster",
)
left_out = either_rule(
    "left-out",
    "hosts that --limit leaves out answer what they are",
    "so they are compared with no other host: names, clocks, and what a packet in a tunnel may have",
)


def findings(inspection: Inspection) -> Iterator[Finding]:
    """Of hosts that are left out, and of the control plane host as one of them."""
    if inspection.cluster.leader.name in inspection.left_out:
        yield from _control_plane(inspection)
    for node in inspection.cluster.nodes:
        if node.name in inspection.left_out and node.name not in inspection.hosts:
            yield _silent(inspection, node.name)


def heeded(found: Iterable[Finding], cluster: Cluster, names: frozenset[str]) -> Iterator[Finding]:
    """What counts if the hosts with these names are left out: not what concerns them alone. But all others depend on
    the control plane host, and packets that do not arrive are those of one of the others, wherever that is noticed."""
    spared = names - {cluster.leader.name}
    of_several = (udp_path.id, left_out.id)
    return (item for item in found if item.name in of_several or not set(item.host.split(", ")) <= spared)


def _control_plane(inspection: Inspection) -> Iterator[Finding]:
    leader = inspection.cluster.leader.name
    joining = [
        node.name
        for node, _ in inspection.answered()
        if node.name not in inspection.left_out and not _is_node(inspection, node.name)
    ]
    if not joining:
        return
    who = f"{', '.join(joining)} {'has' if len(joining) == 1 else 'have'} to join"
    if leader not in inspection.hosts:
        yield control_plane_left_out.finding(
            f"is left out by --limit and does not answer, and {who}",
            "start it, or correct how it is reached",
            host=leader,
            breaks="so no token can be made for that",
        )
    elif not _is_node(inspection, leader):
        yield control_plane_left_out.finding(
            f"is left out by --limit and has no control plane yet, and {who}",
            f"add --limit {leader}",
            host=leader,
            breaks="so there is no cluster to join",
        )


def _is_node(inspection: Inspection, name: str) -> bool:
    """Whether kubeadm has ended there."""
    unfinished = name in inspection.in_use and inspection.in_use[name].unfinished
    return bool(inspection.hosts[name].kubelet_version) and not unfinished


def _silent(inspection: Inspection, name: str) -> Finding:
    """It may have the smallest MTU, which the network's objects are made with where no deploy has told the network."""
    settings, leader = inspection.cluster.settings, inspection.cluster.leader.name
    is_first = leader not in inspection.left_out and leader in inspection.hosts and not _is_node(inspection, leader)
    if is_first and not (settings.cni_mtu or settings.network.finds_mtu):
        return left_out.finding(
            "is left out by --limit and does not answer",
            "set cni_mtu, start it, or take it out of the inventory",
            host=name,
            breaks=f"so nobody knows which MTU {settings.cni} has to have there",
            severity="error",
        )
    return left_out.finding(
        "is left out by --limit and does not answer",
        "start it and run this again if that matters now",
        host=name,
        severity="warning",
    )
