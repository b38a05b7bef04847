"""The control plane, by `kubeadm init` from a configuration file, and who may use it."""

from io import StringIO

from pyinfra.api import deploy
from pyinfra.operations import files

from kubeproof.node import paths
from kubeproof.node.kubeadm_config import init_config
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
    server = kubeadm.api_url(wanted)
    kubeconfig.for_root(name="Give root the admin kubeconfig", server=server)
    kubeconfig.fetch(
        name="Copy the admin kubeconfig for the user", destination=wanted.settings.kubeconfig, server=server
    )
