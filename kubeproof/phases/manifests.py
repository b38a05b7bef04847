"""Objects of the cluster, each set in one file on the control plane host."""

from io import StringIO

from pyinfra.operations import files

from kubeproof.node import paths, templates
from kubeproof.operations import kubectl
from kubeproof.roles import cluster


def apply(what: str, template: str) -> None:
    """Render a template of objects onto the control plane host and apply it."""
    wanted = cluster()
    text = templates.render(template, cluster=wanted, settings=wanted.settings)
    apply_text(what, template.removesuffix(".j2"), text)


def apply_text(what: str, file: str, text: str) -> None:
    """Put objects into a file of this name on the control plane host and apply it."""
    path = f"{paths.MANIFESTS}/{file}"
    files.put(name=f"Render {what}", src=StringIO(text), dest=path, mode="644")
    kubectl.apply(name=f"Apply {what}", path=path)
