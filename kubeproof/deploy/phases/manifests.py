"""Objects of the cluster, each set in one file on the control plane host."""

from kubeproof.config.tables import paths
from kubeproof.deploy.context import cluster
from kubeproof.deploy.operations import kubectl, managed_files
from kubeproof.node import templates


def apply(what: str, template: str) -> None:
    """Render a template of objects onto the control plane host and apply it."""
    apply_text(what, template.removesuffix(".j2"), templates.objects(template, cluster()))


def apply_text(what: str, file: str, text: str) -> None:
    """Put objects into a file of this name on the control plane host and apply it."""
    path = f"{paths.MANIFESTS}/{file}"
    managed_files.put(name=f"Render {what}", path=path, text=text)
    kubectl.apply(name=f"Apply {what}", path=path, text=text)


def withdraw(what: str, template: str) -> None:
    path = f"{paths.MANIFESTS}/{template.removesuffix('.j2')}"
    kubectl.withdraw(name=f"Take {what} away", path=path)
