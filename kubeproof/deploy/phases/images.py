"""Images are fetched before they are needed, on all hosts at once, so that nothing later waits for the network."""

from pyinfra.api import deploy

from kubeproof.access.deadlines import RETRIES
from kubeproof.config.tables.runtimes import references
from kubeproof.deploy.context import cluster, network_plan, node
from kubeproof.deploy.operations import runtime
from kubeproof.deploy.operations.runtime import Asked
from kubeproof.node.images import asks_kubeadm, has_present_image, images_for


@deploy("Images")
def pull() -> None:
    settings, role = cluster().settings, node().role
    names = asks_kubeadm(role, settings)
    runtime.pull(
        name="Pull images",
        images=references(settings.runtime, images_for(role, settings, network_plan().images)),
        has_image=f"{{ {has_present_image(settings)}; }}",
        fetch=settings.runtime.pull,
        asked=Asked(names, settings) if names else None,
        _retries=RETRIES,
    )
