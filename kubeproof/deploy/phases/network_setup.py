"""The pod network: an agent on every node, which starts there as soon as the node has joined."""

from pyinfra.api import deploy

from kubeproof.deploy.context import cluster, network_plan
from kubeproof.deploy.operations import managed_files
from kubeproof.deploy.phases import manifests


@deploy("Pod network")
def require_plugins() -> None:
    """Make sure that this host has the CNI plugins that the network does not bring itself. Packages come before it."""
    wanted = network_plan().host_plugins
    if wanted:
        managed_files.require(name="Find the CNI plugins", plugins=wanted)


@deploy("Pod network")
def apply() -> None:
    name, network = cluster().settings.cni, network_plan()
    if network.text:
        manifests.apply_text(name, f"{name}.yaml", network.text)
    else:
        manifests.apply(name, f"{name}.yaml.j2")
