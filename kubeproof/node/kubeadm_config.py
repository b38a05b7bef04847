"""kubeadm's configuration of a cluster. Pure but for reading the template."""

from kubeproof.cluster import Cluster
from kubeproof.node import templates
from kubeproof.node.images import pause_image


def init_config(cluster: Cluster) -> str:
    """kubeadm's configuration (v1beta2) with those of kubelet and kube-proxy."""
    return templates.render(
        "kubeadm-init.yaml.j2",
        settings=cluster.settings,
        node=cluster.leader,
        pause_image=pause_image(cluster.settings),
        ignored_errors=ignored_errors(cluster),
    )


def ignored_errors(cluster: Cluster) -> list[str]:
    """kubeadm's checks that must not stop it."""
    ignored = list(cluster.settings.ignore_preflight_errors)
    if cluster.settings.cluster_dns != "coredns" and "ImagePull" not in ignored:
        # kubeadm looks for the CoreDNS image although the phase that would use it is skipped. The images that are used
        # have all been pulled by the phase before.
        ignored.append("ImagePull")
    return ignored
