"""kubeadm's configuration of a cluster and of a join, as the version's API has it. Pure but for reading templates."""

from kubeproof.config.cluster import Cluster, Node
from kubeproof.config.settings import Settings
from kubeproof.config.tables import paths
from kubeproof.node import templates
from kubeproof.node.images import dns_repository, pause_image
from kubeproof.node.joining import Credentials


def init_config(cluster: Cluster) -> str:
    """kubeadm's configuration with those of kubelet and kube-proxy."""
    return templates.render(
        "kubeadm-init.yaml.j2",
        settings=cluster.settings,
        node=cluster.leader,
        cri_socket=cluster.settings.runtime.cri_socket,
        pause_image=pause_image(cluster.settings),
        dns_repository=dns_repository(cluster.settings),
        ignored_errors=ignored_errors(cluster),
    )


def join_config(cluster: Cluster, node: Node, made: Credentials) -> str:
    """kubeadm's configuration of a worker; holds its token."""
    return templates.render(
        "kubeadm-join.yaml.j2",
        era=cluster.settings.era,
        patience=cluster.settings.patience,
        node=node,
        endpoint=f"{cluster.leader.address}:{cluster.settings.api_port}",
        token=made.token,
        ca_hash=made.ca_hash,
        cri_socket=cluster.settings.runtime.cri_socket,
        pause_image=pause_image(cluster.settings),
        ignored_errors=list(cluster.settings.ignore_preflight_errors),
    )


def init_command(cluster: Cluster, config: str) -> tuple[str, ...]:
    command = ("kubeadm", "init", "--config", config, "--skip-token-print")
    return command if cluster.settings.cluster_dns == "coredns" else (*command, "--skip-phases", "addon/coredns")


def ignored_errors(cluster: Cluster) -> list[str]:
    ignored = list(cluster.settings.ignore_preflight_errors)
    if cluster.settings.cluster_dns != "coredns" and "ImagePull" not in ignored:
        # kubeadm looks for the CoreDNS image although the phase that would use it is skipped. The images that are used
        # have all been pulled by the phase before.
        ignored.append("ImagePull")
    return ignored


def reset_command(settings: Settings) -> tuple[str, ...]:
    """`kubeadm reset` of a host of which the whole cluster goes."""
    # There is no one left to be told, and asking a dead API server costs a minute.
    skips = [word for phase in settings.era.reset_skips for word in ("--skip-phases", phase)]
    kubeconfig = f"{paths.STATE}/none"
    socket = settings.runtime.reset_socket
    return ("kubeadm", "reset", "--force", *skips, "--kubeconfig", kubeconfig, "--cri-socket", socket)
