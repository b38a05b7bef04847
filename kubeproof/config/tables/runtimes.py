"""Container runtimes: packages, services, sockets, files, and the commands by which images and pods are handled. Pure.

Three of them: Docker as kubelet itself speaks with it (dockershim, until 1.23), Docker behind cri-dockerd, containerd.
"""

from dataclasses import dataclass
from typing import Literal

from kubeproof.config.tables.paths import CONTAINERD_REGISTRIES, CRI_DOCKERD_SERVICE, PROXY_ENVIRONMENT
from kubeproof.config.tables.version_traits import Era
from kubeproof.state.collector import CTR

Name = Literal["docker", "containerd"]

DIRECTORIES: dict[Name, tuple[str, ...]] = {
    "docker": ("/var/lib/containerd", "/var/lib/docker"),
    "containerd": ("/var/lib/containerd",),
}
"""Where each keeps images and containers."""

DOCKERSHIM_SOCKET = "/var/run/dockershim.sock"
CRI_DOCKERD_SOCKET = "unix:///run/cri-dockerd.sock"
CONTAINERD_SOCKET = "unix:///run/containerd/containerd.sock"


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """What a container runtime is on a host. Commands are shell text."""

    name: Name
    title: str
    service: str
    stop_units: tuple[str, ...]
    """Units in the order in which they are stopped: a socket first, or it would start its service again."""
    cri_socket: str
    """What kubeadm is told; empty where it finds the runtime by itself."""
    reset_socket: str
    """What `kubeadm reset` is told."""
    cri_dockerd: bool
    config: str
    """The file that the deploy writes its configuration to."""
    drop_in: str
    """The folder of drop-ins of its service."""
    directories: tuple[str, ...]
    digests: str
    """Shell text that prints what registries called the manifest of "$image" when it was fetched."""
    has_image: str
    """Succeeds if the image in "$image" is there."""
    pull: str
    """Fetches the image that follows."""
    list_pods: str
    """Prints something if there are containers of pods, and nothing if not."""
    remove_pods: str
    look: str
    group: str
    """Group that its package makes, or empty."""


_REMOVE_DOCKER_PODS = "docker ps --all --quiet --filter name=k8s_ | xargs -r docker rm --force --volumes"
"""dockershim and cri-dockerd name the containers of pods k8s_* (pkg/kubelet/dockershim/naming.go)."""
_REMOVE_CONTAINERD_PODS = f"""
# What has gone by itself meanwhile fails here, and must not keep the rest.
set +e
find /sys/fs/cgroup -path '*kubepods*' -name cgroup.procs -exec cat {{}} + 2>/dev/null | sort -u | xargs -r kill -KILL
for kind in container sandbox; do
    for id in $({CTR} containers list --quiet "labels.\\"io.cri-containerd.kind\\"==$kind"); do
        {CTR} tasks delete --force "$id" >/dev/null
    done
done
for id in $({CTR} containers list --quiet); do {CTR} containers delete "$id"; done
for netns in /run/netns/cni-*; do
    umount "$netns"
    rm -f "$netns"
done
if [ -d /run/netns ] && [ -z "$(ls -A /run/netns)" ]; then
    while mountpoint -q /run/netns; do umount /run/netns || break; done
    rmdir /run/netns
fi
systemctl try-restart containerd.service
"""
"""First all processes of pods, by their control groups, since kubelet is stopped. Sandboxes last: with the task of one
containerd leaves the shim alone that the pod's other containers run in. Namespaces of pods go by hand, as the CRI
plugin is not asked; it learns by the restart that they are gone. Their folder is the plugin's own mount (pkg/netns)."""

_BY_PROXY = f"sh -c 'set -a; [ ! -e {PROXY_ENVIRONMENT} ] || . {PROXY_ENVIRONMENT}; exec \"$@\" >/dev/null' sh"
"""containerd's client fetches by itself and not through its service, so it needs the proxy's addresses too."""

_DOCKER = Runtime(
    name="docker",
    title="Docker",
    service="docker.service",
    stop_units=("docker.socket", "docker.service", "containerd.service"),
    cri_socket="",
    reset_socket=DOCKERSHIM_SOCKET,
    cri_dockerd=False,
    config="/etc/docker/daemon.json",
    drop_in="/etc/systemd/system/docker.service.d",
    directories=DIRECTORIES["docker"],
    digests="docker image inspect --format '{{.RepoDigests}}' \"$image\"",
    has_image='docker image inspect "$image" >/dev/null 2>&1',
    pull="docker pull --quiet",
    list_pods="docker ps --all --quiet --filter name=k8s_",
    remove_pods=_REMOVE_DOCKER_PODS,
    look="docker ps -a",
    group="docker",
)
_CRI_DOCKERD = Runtime(
    **{
        **vars(_DOCKER),
        "stop_units": (CRI_DOCKERD_SERVICE, *_DOCKER.stop_units),
        "cri_socket": CRI_DOCKERD_SOCKET,
        "reset_socket": CRI_DOCKERD_SOCKET,
        "cri_dockerd": True,
    }
)
_CONTAINERD = Runtime(
    name="containerd",
    title="containerd",
    service="containerd.service",
    stop_units=("containerd.service",),
    cri_socket=CONTAINERD_SOCKET,
    reset_socket=CONTAINERD_SOCKET,
    cri_dockerd=False,
    config="/etc/containerd/config.toml",
    drop_in="/etc/systemd/system/containerd.service.d",
    directories=DIRECTORIES["containerd"],
    digests=f"{CTR} images list | awk -v image=\"$image\" '$1 == image {{print $3}}'",
    has_image=f'{CTR} images list --quiet 2>/dev/null | grep --quiet --fixed-strings --line-regexp "$image"',
    pull=f"{_BY_PROXY} {CTR} images pull --hosts-dir {CONTAINERD_REGISTRIES}",
    list_pods=f"{CTR} containers list --quiet",
    remove_pods=_REMOVE_CONTAINERD_PODS,
    look=f"{CTR} containers list",
    group="",
)

ALL_LIST_PODS = (
    _DOCKER.list_pods,
    # Without its socket the client would wait for it.
    f"[ ! -S /run/containerd/containerd.sock ] || timeout 10 {_CONTAINERD.list_pods}",
)
"""What shows whether a host has containers of pods, whatever its runtime."""
NAMES: tuple[Name, ...] = ("docker", "containerd")


def runtime_of(name: str, era: Era) -> Runtime:
    if name == "containerd":
        return _CONTAINERD
    return _DOCKER if era.dockershim else _CRI_DOCKERD


def full_reference(image: str) -> str:
    """An image's reference as containerd writes it: with registry, and library for Docker's own images.

    >>> full_reference("podnet:1"), full_reference("r.example:5000/a"), full_reference("localhost/x:1")
    ('docker.io/library/podnet:1', 'r.example:5000/a:latest', 'localhost/x:1')
    """
    first, slash, _ = image.partition("/")
    if not slash:
        image = f"docker.io/library/{image}"
    elif not ("." in first or ":" in first or first == "localhost"):
        image = f"docker.io/{image}"
    return image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"


def references(runtime: Runtime, images: tuple[str, ...]) -> tuple[str, ...]:
    """Images as the commands of a runtime want them."""
    return images if runtime.name == "docker" else tuple(full_reference(image) for image in images)
