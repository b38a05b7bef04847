"""Which images a host needs, by its role. Pure."""

import shlex
from collections.abc import Iterable, Sequence
from typing import Literal

from kubeproof.config.settings import Settings
from kubeproof.config.tables.version_traits import PUBLIC_REGISTRIES
from kubeproof.node.image_registry import MANIFEST_TYPES

Role = Literal["control-plane", "worker"]

CONTROL_PLANE = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")


def images_for(role: Role, settings: Settings, network_images: Sequence[str]) -> tuple[str, ...]:
    """Full references of all images that pods on a host of this role start from, each once.

    ``network_images`` are those of the pod network, which runs on every host. Those whose tags only kubeadm knows are
    left out: see :func:`asks_kubeadm`.
    """
    wanted = [_kubernetes("kube-proxy", settings), pause_image(settings)]
    if role == "control-plane":
        wanted += [_kubernetes(name, settings) for name in CONTROL_PLANE]
        wanted.append(_tagged(f"{settings.image_repository}/etcd", settings.etcd_image_tag or settings.era.etcd_tag))
    wanted += network_images
    # The DNS Deployment tolerates the control plane's taint, the demo does not.
    wanted.append(_dns(settings))
    if settings.demo and role == "worker":
        wanted += [settings.httpd_image, settings.kuard_image]
    return tuple(dict.fromkeys(image for image in wanted if image))


def has_present_image(settings: Settings) -> str:
    """Shell text that fails where a host lacks "$image", or has what a registry of its own had under that tag before.

    Only registries that are served without TLS are asked, which are near and want no credentials, as a mirror whose
    images are built anew; one that does not answer changes nothing.
    """
    has, near = settings.runtime.has_image, [name for name in settings.insecure_registries if "/" not in name]
    if not near:
        return has
    accept = ", ".join(MANIFEST_TYPES)
    ask = (
        "curl --silent --fail --head --max-time 10 --noproxy '*' "
        f"--header 'Accept: {accept}' \"http://${{image%%/*}}/v2/${{name%:*}}/manifests/${{name##*:}}\""
    )
    served = f"$({ask} | tr -d '\\r' | sed -n 's/^[Dd]ocker-[Cc]ontent-[Dd]igest: *//p')"
    # What has digests is there.
    held = f'held=$({settings.runtime.digests} 2>/dev/null) && [ -n "$held" ]'
    same = f'name=${{image#*/}}; served={served}; {held} && case "$held" in *"$served"*) ;; *) false;; esac'
    patterns = "|".join(f"{shlex.quote(name)}/*:*" for name in near)
    return f'case "$image" in *@*) {has};; {patterns}) {same};; *) {has};; esac'


def asks_kubeadm(role: Role, settings: Settings) -> tuple[str, ...]:
    """Names of those images for which kubeadm on the host has to be asked, such as "etcd"."""
    wanted = []
    if role == "control-plane" and not (settings.etcd_image_tag or settings.era.etcd_tag):
        wanted.append("etcd")
    if settings.cluster_dns == "coredns" and not settings.era.coredns_tag:
        wanted.append("coredns")
    return tuple(wanted)


def list_command(settings: Settings) -> tuple[str, ...]:
    """The command by which kubeadm tells its images, a reference a line."""
    version, repository = f"v{settings.kubernetes_version}", settings.image_repository
    return ("kubeadm", "config", "images", "list", "--kubernetes-version", version, "--image-repository", repository)


def answered(lines: Iterable[str], names: Iterable[str], settings: Settings) -> tuple[str, ...]:
    """Images of these names among kubeadm's answer (a reference a line), CoreDNS from where it is."""
    found = {line.strip().rpartition(":")[0].rpartition("/")[2]: line.strip() for line in lines if ":" in line}
    images = []
    for name in names:
        if name in found:
            repository = dns_repository(settings) if name == "coredns" else ""
            images.append(f"{repository}/{name}:{found[name].rpartition(':')[2]}" if repository else found[name])
    return tuple(images)


def pause_image(settings: Settings) -> str:
    return f"{settings.image_repository}/pause:{settings.pause_image_tag or settings.era.pause_tag}"


def dns_repository(settings: Settings) -> str:
    """Where CoreDNS is, if that is not where the other images are; empty if it is."""
    public = settings.image_repository in PUBLIC_REGISTRIES
    return f"{settings.image_repository}/coredns" if public and settings.era.coredns_in_folder else ""


def _kubernetes(name: str, settings: Settings) -> str:
    return f"{settings.image_repository}/{name}:v{settings.kubernetes_version}"


def _tagged(image: str, tag: str) -> str:
    return f"{image}:{tag}" if tag else ""


def _dns(settings: Settings) -> str:
    if settings.cluster_dns == "coredns":
        return _tagged(f"{dns_repository(settings) or settings.image_repository}/coredns", settings.era.coredns_tag)
    return settings.cluster_dns_image
