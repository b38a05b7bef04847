"""Whether a private registry has the images of the pod network, asked before any host is changed."""

import functools
import http
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException

from kubeproof.cni.plan import PodNetwork
from kubeproof.node.finding import Finding
from kubeproof.settings import Settings

REQUEST_SECONDS = 10
MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
"""Kinds of manifests that container runtimes take (OCI distribution and image specifications)."""


def missing(settings: Settings, network: PodNetwork, lacks: Callable[[str], bool] | None = None) -> list[Finding]:
    """One finding if the registry of cni_image_repository lacks images of the network; else empty.

    ``lacks`` says so of a reference. None: the registry is asked, and one that cannot be asked from here, or wants
    credentials, is left to the nodes.
    """
    if not network.text or not settings.cni_image_repository:
        return []
    registry = settings.cni_image_repository.partition("/")[0]
    says_no = lacks or functools.partial(_lacks, insecure=registry in settings.insecure_registries)
    lacking = [published for image, published in zip(network.images, network.published, strict=True) if says_no(image)]
    if not lacking:
        return []
    return [
        Finding(
            "missing-images",
            "",
            f"{settings.cni_image_repository} (cni_image_repository) lacks {', '.join(lacking)}",
            "so the pod network cannot start",
            f"in the lab add what is missing with `./inv mirror.add {' '.join(lacking)}` (from a machine that reaches "
            "these registries, or with NAME=FILE from an archive), elsewhere with skopeo copy, or use cni = 'podnet'",
        )
    ]


def url_of(image: str, scheme: str) -> str:
    """Where a registry has an image's manifest (OCI distribution specification, "Pulling manifests")."""
    name, at, digest = image.partition("@")
    registry, _, path = name.partition("/")
    path, colon, tag = path.partition(":")
    reference = digest if at else tag if colon else "latest"
    return f"{scheme}://{registry}/v2/{path}/manifests/{reference}"


def _lacks(image: str, *, insecure: bool) -> bool:
    """Whether the registry says that there is no such image; any other answer is none."""
    request = urllib.request.Request(  # noqa: S310  # http only for registries that are set as such
        url_of(image, "http" if insecure else "https"), headers={"Accept": ", ".join(MANIFEST_TYPES)}, method="HEAD"
    )
    # What is served without TLS is near, as the lab's: a proxy is not asked for it.
    handlers = [urllib.request.ProxyHandler({})] if insecure else []
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=REQUEST_SECONDS):
            return False
    except urllib.error.HTTPError as error:
        return error.code == http.HTTPStatus.NOT_FOUND
    except (OSError, HTTPException):
        return False
