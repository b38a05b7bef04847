"""Images are fetched before they are needed, on all hosts at once, so that nothing later waits for the network."""

from pyinfra.api import deploy

from kubeproof.node.images import images_for
from kubeproof.operations import docker
from kubeproof.roles import cluster, node, pod_network


@deploy("Images")
def pull() -> None:
    """Pull the images that this host's role needs."""
    docker.pull(name="Pull images", images=images_for(node().role, cluster().settings, pod_network().images))
