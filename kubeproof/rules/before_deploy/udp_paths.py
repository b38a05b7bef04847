"""Whether packets of the tunnel arrive, by packets that hosts really sent each other. Pure.

Hosts that no deploy has been on listen at the port themselves. On a node it is the tunnel's, and it is the raw packets
that are looked at, as they are where firewalld runs, in which the deploy opens the port later.
"""

from collections.abc import Iterator, Mapping
from typing import Literal

from kubeproof.config.cluster import Cluster, Node
from kubeproof.node.finding import Finding
from kubeproof.rules.before_deploy.inspection import Inspection, of_each_host
from kubeproof.rules.rule import Rule
from kubeproof.state.node import NodeState

Mode = Literal["listen", "watch"]
udp_path = Rule(
    "udp-path",
    "UDP packets to vxlan_port arrive, from each host at each other",
    symptom="traffic of pods across nodes is dropped",
    meaning="packets between pods of different nodes travel in UDP packets between these, and something refuses them",
    references=("flannel#1039",),
    before_deploy="either",
)
FIREWALLD = "firewalld.service"
TOGETHER_SECONDS = 1.0
"""How long two hosts have to have tried at the same time; each sends ten packets meanwhile."""


def modes(cluster: Cluster, hosts: Mapping[str, NodeState]) -> dict[str, Mode]:
    """How each host takes part; empty where there is nothing to try: no tunnel, one host, or all of them are nodes."""
    settings = cluster.settings
    found: dict[str, Mode] = {}
    for node in cluster.nodes:
        if node.name not in hosts:
            continue
        known = hosts[node.name]
        tunnel = any(link.vxlan and link.vxlan.port == settings.vxlan_port for link in known.network.links)
        if settings.vxlan_port in known.udp_ports and not tunnel:
            # A program's, which is a finding of its own.
            continue
        found[node.name] = "watch" if tunnel or FIREWALLD in hosts[node.name].services else "listen"
    new = [name for name in found if not hosts[name].kubelet_version]
    return found if settings.cni_backend == "vxlan" and new and len(found) > 1 else {}


@of_each_host
def findings(inspection: Inspection, node: Node, facts: NodeState) -> Iterator[Finding]:
    """One for each host at which packets of others do not arrive."""
    port, heard = inspection.cluster.settings.vxlan_port, inspection.arrivals.get(node.name)
    if heard is None:
        return
    if heard.trouble:
        yield udp_path.finding(
            f"could not try whether UDP {port} arrives ({heard.trouble})",
            "install perl-base or python3 there",
            breaks="so nothing is known of it",
            severity="warning",
        )
        return
    known = {node.name, *heard.hosts}
    missed = [
        name
        for name, other in inspection.arrivals.items()
        if name not in known
        and not other.trouble
        and not (facts.kubelet_version and inspection.hosts[name].kubelet_version)
    ]
    if apart := [name for name in missed if not _met(inspection, node.name, name)]:
        yield udp_path.finding(
            f"could not try whether UDP {port} arrives from {', '.join(apart)} (they did not try at the same time)",
            "run this again, with a larger patience if these hosts are slow",
            breaks="so nothing is known of it",
            severity="warning",
        )
    if missed := [name for name in missed if name not in apart]:
        yield udp_path.finding(
            f"gets no packets at UDP {port} from {', '.join(missed)}",
            f"let UDP {port} in between all nodes, in the firewalls of hosts (`nft list ruleset`) and networks",
            breaks="so pods there cannot reach pods here (flannel#1039)",
        )


def _met(inspection: Inspection, one: str, other: str) -> bool:
    """Whether two hosts surely tried at the same time, each by its own clock, which differs from the others'."""
    begins, ends, uncertain = [], [], 0.0
    for name in (one, other):
        window, clock = inspection.arrivals[name].window, inspection.clocks.get(name)
        if window is None:
            return True
        if clock is None:
            return False
        begins.append(window[0] - clock.ahead)
        ends.append(window[1] - clock.ahead)
        uncertain += clock.uncertain
    return min(ends) - max(begins) - uncertain >= TOGETHER_SECONDS
