"""Objects of the cluster, each set from one template."""

from io import StringIO

from pyinfra.operations import files

from kubeproof.node import paths, templates
from kubeproof.operations import kubectl
from kubeproof.roles import cluster


def apply(what: str, template: str) -> None:
    """Render a template of objects onto the control plane host and apply it."""
    wanted = cluster()
    path = f"{paths.MANIFESTS}/{template.removesuffix('.j2')}"
    text = templates.render(template, cluster=wanted, settings=wanted.settings)
    files.put(name=f"Render {what}", src=StringIO(text), dest=path, mode="644")
    kubectl.apply(name=f"Apply {what}", path=path)
