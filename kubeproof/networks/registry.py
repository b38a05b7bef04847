"""The pod networks that a cluster can have: another one is a module and a line here. Pure."""

from kubeproof.networks import calico, canal, flannel, podnet
from kubeproof.networks.manifest import Pinned
from kubeproof.networks.network import Network

NETWORKS: dict[str, Network] = {
    network.name: network
    for network in (
        podnet.NETWORK,
        flannel.NETWORK,
        canal.NETWORK,
        calico.NETWORK,
    )
}
"""By the value of the setting cni."""
BACKENDS = tuple(dict.fromkeys(backend.name for network in NETWORKS.values() for backend in network.backends))
"""Values of the setting cni_backend."""


PINNED = tuple(
    pinned for network in NETWORKS.values() if network.manifest is not None for pinned in network.manifest.pinned
)
"""For each project the oldest first. Sums are of the files as published at these addresses."""


def choose(project: str, minor: str) -> Pinned | None:
    """The newest manifest of a project for a Kubernetes minor such as "1.20", tried ones first; None if there is none.

    One that is not tried is only a proposal: see :func:`doubt`.
    """
    fitting = [pinned for pinned in PINNED if pinned.project == project and pinned.fits(minor)]
    tried = [pinned for pinned in fitting if pinned.is_tried(minor)]
    best = tried or fitting
    return best[-1] if best else None


def doubt(pinned: Pinned, minor: str) -> tuple[str, str] | None:
    """Why a manifest may not run with a minor, and what comes of that; None if its project names it, or it was run."""
    if pinned.is_tried(minor):
        return None
    found = f"{pinned.title} is for Kubernetes {pinned.named_for} by its project, and was not run here with {minor}"
    return found, pinned.known.get(minor, "so nobody knows whether it would run")


def by_url(url: str) -> Pinned | None:
    return next((pinned for pinned in PINNED if pinned.url == url), None)


def by_digest(sha256: str) -> Pinned | None:
    return next((pinned for pinned in PINNED if pinned.sha256 == sha256), None)
