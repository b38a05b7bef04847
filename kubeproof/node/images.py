"""Which images a host needs, by its role. Pure."""

from collections.abc import Sequence
from typing import Literal

from kubeproof.settings import Settings

Role = Literal["control-plane", "worker"]

ETCD_TAG = "3.4.13-0"
PAUSE_TAG = "3.2"
COREDNS_TAG = "1.7.0"
"""kubeadm 1.20's own choices (cmd/kubeadm/app/constants/constants.go), where the settings leave them to it."""

CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


def images_for(role: Role, settings: Settings, pod_network: Sequence[str]) -> tuple[str, ...]:
    """Full references of all images that pods on a host of this role start from, each once.

    ``pod_network`` are those of the pod network, which runs on every host.
    """
    wanted = [_kubernetes("kube-proxy", settings), pause_image(settings)]
    if role == "control-plane":
        wanted += [_kubernetes(name, settings) for name in CONTROL_PLANE]
        wanted.append(f"{settings.image_repository}/etcd:{settings.etcd_image_tag or ETCD_TAG}")
    wanted += pod_network
    # The DNS Deployment tolerates the control plane's taint, the demo does not.
    wanted.append(_dns(settings))
    if settings.demo and role == "worker":
        wanted += [settings.httpd_image, settings.kuard_image]
    return tuple(dict.fromkeys(image for image in wanted if image))


def pause_image(settings: Settings) -> str:
    """The image of the container that holds a pod's network namespace."""
    return f"{settings.image_repository}/pause:{settings.pause_image_tag or PAUSE_TAG}"


def _kubernetes(name: str, settings: Settings) -> str:
    return f"{settings.image_repository}/{name}:v{settings.kubernetes_version}"


def _dns(settings: Settings) -> str:
    if settings.cluster_dns == "coredns":
        return f"{settings.image_repository}/coredns:{COREDNS_TAG}"
    return settings.cluster_dns_image
