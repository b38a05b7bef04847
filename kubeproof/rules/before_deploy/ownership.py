"""Whether a host that is a node is a node of this cluster, as it is set. Pure.

kubeadm refuses to join nodes whose kubelet is newer than the control plane, or several versions older.
"""

from collections.abc import Iterator

from kubeproof.config.cluster import Node
from kubeproof.config.settings import Settings
from kubeproof.config.tables import version_traits
from kubeproof.node import changed_settings
from kubeproof.node.between_hosts import tunnel_mtu
from kubeproof.node.finding import Finding
from kubeproof.rules.before_deploy.inspection import Inspection, of_each_host
from kubeproof.rules.rule import error_rule
from kubeproof.state.node import NodeState

cluster_runtime = error_rule(
    "cluster-runtime", "a node's container runtime is the one that is set", "but clusters are not converted"
)
foreign_cluster = error_rule(
    "foreign-cluster", "no cluster that Kubeproof did not make", "which is neither changed nor taken away"
)
cluster_version = error_rule(
    "cluster-version",
    "a node is of the Kubernetes version that is set: clusters are not upgraded",
    "but clusters are not upgraded",
)
changed_setting = error_rule(
    "changed-setting",
    "no setting differs from the running cluster's that only a new cluster can have",
    "one half of the cluster would follow the new value, the other half the old one",
)
changed_address = error_rule(
    "changed-address",
    "nodes have the addresses that the running cluster knows them by",
    "nodes look for each other where they are not",
)


def findings(inspection: Inspection) -> Iterator[Finding]:
    """What a deploy and a reset have to leave alone alike."""
    yield from _of_host(inspection)
    mtu = tunnel_mtu(inspection.cluster, inspection.hosts)
    yield from changed_settings.findings(inspection.cluster, inspection.in_use, mtu)


@of_each_host
def _of_host(inspection: Inspection, _: Node, facts: NodeState) -> Iterator[Finding]:
    """A cluster that is not this project's; a node of another version, or with another runtime, than is set."""
    settings = inspection.cluster.settings
    if facts.foreign:
        yield foreign_cluster.finding(
            f"holds a cluster that Kubeproof did not make ({facts.foreign[0]})",
            "run `kubeadm reset` there yourself first, or take the host out of the inventory",
        )
    if facts.kubelet_version and version_traits.minor_of(facts.kubelet_version) != settings.era.minor:
        yield cluster_version.finding(
            f"is a node of Kubernetes {facts.kubelet_version}, and kubernetes_version is of {settings.era.minor}",
            "set it as it was, or `./inv reset` before it is changed",
        )
    elif facts.kubelet_version:
        yield from _runtime(settings, facts.cri_socket)


def _runtime(settings: Settings, cri_socket: str) -> Iterator[Finding]:
    wanted = settings.runtime.cri_socket.removeprefix("unix:")
    known = bool(cri_socket) or settings.era.dockershim
    if known and cri_socket.lstrip("/") != wanted.lstrip("/"):
        shown = f"/{cri_socket.lstrip('/')}" if cri_socket else "Docker"
        yield cluster_runtime.finding(
            f"is a node whose kubelet speaks with {shown}, and container_runtime is {settings.runtime.name}",
            "set it as it was, or `./inv reset` before it is changed",
        )
