"""The control plane, by `kubeadm init` from a configuration file, and who may use it."""

from io import StringIO

from pyinfra.api import deploy
from pyinfra.operations import files

from kubeproof.cluster import Cluster
from kubeproof.node import paths, templates
from kubeproof.node.images import pause_image
from kubeproof.operations import kubeadm, kubeconfig
from kubeproof.roles import cluster


@deploy("Control plane")
def initialise() -> None:
    """Initialise the control plane on this host and hand out its kubeconfig."""
    wanted = cluster()
    files.put(
        name="Write kubeadm's configuration", src=StringIO(init_config(wanted)), dest=paths.INIT_CONFIG, mode="600"
    )
    kubeadm.init(name="Initialise the control plane", cluster=wanted)
    kubeconfig.for_root(name="Give root the admin kubeconfig")
    kubeconfig.fetch(name="Copy the admin kubeconfig for the user", destination=wanted.settings.kubeconfig)


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
