"""Whether a host that is a node is a node of this cluster, as it is set. Pure.

kubeadm refuses to join nodes whose kubelet is newer than the control plane, or several versions older.
"""

from collections.abc import Iterator, Mapping

from kubeproof.config.settings import Settings
from kubeproof.config.tables import version_traits
from kubeproof.node.finding import Finding
from kubeproof.node.preflight.inspection import Inspection
from kubeproof.state.node import NodeState


def findings(inspection: Inspection) -> Iterator[Finding]:
    """What a deploy and a reset have to leave alone alike."""
    yield from foreign(inspection.hosts)
    yield from changed(inspection.cluster.settings, inspection.hosts)


def foreign(hosts: Mapping[str, NodeState]) -> Iterator[Finding]:
    """Clusters that are not this project's: they are neither changed nor taken away."""
    for name, facts in hosts.items():
        if facts.foreign:
            yield Finding(
                "foreign-cluster",
                name,
                f"holds a cluster that Kubeproof did not make ({facts.foreign[0]})",
                "which is neither changed nor taken away",
                "run `kubeadm reset` there yourself first, or take the host out of the inventory",
            )


def changed(settings: Settings, hosts: Mapping[str, NodeState]) -> Iterator[Finding]:
    """Nodes of another version, or with another runtime, than the settings say."""
    for name, facts in hosts.items():
        if not facts.kubelet_version:
            continue
        if version_traits.minor_of(facts.kubelet_version) != settings.era.minor:
            yield Finding(
                "cluster-version",
                name,
                f"is a node of Kubernetes {facts.kubelet_version}, and kubernetes_version is of {settings.era.minor}",
                "but clusters are not upgraded",
                "set it as it was, or `./inv reset` before it is changed",
            )
        else:
            yield from _runtime(settings, name, facts.cri_socket)


def _runtime(settings: Settings, host: str, cri_socket: str) -> Iterator[Finding]:
    wanted = settings.runtime.cri_socket.removeprefix("unix:")
    known = bool(cri_socket) or settings.era.dockershim
    if known and cri_socket.lstrip("/") != wanted.lstrip("/"):
        shown = f"/{cri_socket.lstrip('/')}" if cri_socket else "Docker"
        yield Finding(
            "cluster-runtime",
            host,
            f"is a node whose kubelet speaks with {shown}, and container_runtime is {settings.runtime.name}",
            "but clusters are not converted",
            "set it as it was, or `./inv reset` before it is changed",
        )
