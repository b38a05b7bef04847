"""Whether this lab can have the pod network that is set, asked before anything of the lab is made."""

from kubeproof.config.settings import Settings
from kubeproof.deploy import manifest_source
from kubeproof.node import image_registry
from kubeproof.terminal.errors import UserError
from lab.mirror import additions
from lab.settings import LabSettings


def check(lab: LabSettings, settings: Settings) -> None:
    """Raise UserError if its manifest cannot be used, or if the lab's registry will lack images of it."""
    network = manifest_source.plan_network(settings)
    if settings.cni_image_repository == lab.registry:
        added = set(additions.shelf(lab).images.values())
        findings = image_registry.missing(settings, network, lambda image: image not in added)
        if findings:
            raise UserError(map(str, findings))
