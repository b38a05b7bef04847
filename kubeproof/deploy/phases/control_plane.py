"""The control plane, by `kubeadm init` from a configuration file, and who may use it."""

from pyinfra.api import deploy

from kubeproof.config.tables import paths
from kubeproof.deploy.context import cluster
from kubeproof.deploy.operations import kubeadm, kubeconfig, managed_files
from kubeproof.node.kubeadm_config import init_config


@deploy("Control plane")
def initialise() -> None:
    """Initialise the control plane on this host and hand out its kubeconfig."""
    wanted = cluster()
    managed_files.put(
        name="Write kubeadm's configuration", path=paths.INIT_CONFIG, text=init_config(wanted), mode="600"
    )
    kubeadm.init(name="Initialise the control plane", cluster=wanted)
    server = wanted.api_url
    kubeconfig.for_root(name="Give root the admin kubeconfig", server=server)
    kubeconfig.fetch(
        name="Copy the admin kubeconfig for the user", destination=wanted.settings.kubeconfig, server=server
    )
