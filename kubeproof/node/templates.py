"""Renders the files in templates/. Pure but for reading them."""

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kubeproof.config.cluster import Cluster

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"

environment = Environment(
    loader=FileSystemLoader(TEMPLATES),
    undefined=StrictUndefined,
    keep_trailing_newline=True,
    trim_blocks=True,
    lstrip_blocks=True,
    autoescape=False,  # noqa: S701  # configuration files, not HTML: values are quoted by the filter tojson
)


def render(name: str, **variables: object) -> str:
    """The text of a template. Raises jinja2.TemplateError, among others if it uses a variable that is not given."""
    return environment.get_template(name).render(**variables)


def objects(name: str, cluster: Cluster) -> str:
    """Objects of a cluster, as YAML: what a template of them is given is the same everywhere."""
    return render(name, cluster=cluster, settings=cluster.settings)
