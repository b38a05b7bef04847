"""What of versions, runtimes and systems goes together. Pure: refusals are lines for people, empty if all is well."""

from collections.abc import Iterator, Mapping

from kubeproof.reading import problem
from kubeproof.tables import cri_dockerd, eras, systems
from kubeproof.tables.eras import ERAS, Era
from kubeproof.tables.runtimes import Runtime
from kubeproof.tables.systems import System

_OWN_MIRROR = "name your apt mirror's in a group_data file of your inventory's name (see inventory/example.py)"

KEYS = {
    "kubernetes_apt_key": "kubernetes_apt_url",
    "kubernetes_rpm_key": "kubernetes_rpm_url",
    "runtime_rpm_key": "runtime_rpm_url",
}
"""The settings of keys, and those of the repositories beside which they are looked for if they are empty."""


def of_settings(values: Mapping[str, object]) -> Iterator[str]:
    """A line for each setting that does not go with others; what is wrong by itself is not in ``values``."""
    yield from _packages(values)
    yield from _package_version(values)
    yield from _insecure_networks(values)
    yield from _unpinned_keys(values)


def _packages(values: Mapping[str, object]) -> Iterator[str]:
    """Where packages come from: the project's repository does not have every version."""
    match values:
        case {"kubernetes_version": str() as version} if not ERAS[eras.minor_of(version)].community_packages:
            pass
        case _:
            return
    if values.get("kubernetes_rpm_url"):
        return
    for name in ("kubernetes_apt_url", "kubernetes_apt_key"):
        if values.get(name) == "":
            yield problem(name, "has no value", "", _OWN_MIRROR)


def _package_version(values: Mapping[str, object]) -> Iterator[str]:
    match values:
        case {"kubernetes_version": str() as version, "kubernetes_package_version": str() as package} if package:
            if not package.startswith(f"{version}-"):
                advice = f"use {version}-… or leave it empty for the newest of that version"
                yield problem("kubernetes_package_version", f"is not of Kubernetes {version}", package, advice)


def _insecure_networks(values: Mapping[str, object]) -> Iterator[str]:
    """Docker takes networks of registries, containerd has a folder for each registry by its name."""
    match values:
        case {"container_runtime": "containerd", "insecure_registries": tuple() as registries}:
            for registry in registries:
                if "/" in registry:
                    yield problem(
                        "insecure_registries",
                        "has a network, which containerd cannot take",
                        registry,
                        "name its registries as host:port",
                    )


def _unpinned_keys(values: Mapping[str, object]) -> Iterator[str]:
    """A key that decides what root installs, fetched so that anybody on the way can replace it."""
    for key, repository in KEYS.items():
        source = values.get(key) or values.get(repository)
        pin = f"{key}_fingerprint"
        if isinstance(source, str) and source.startswith("http://") and values.get(pin) == "":
            advice = f"set it to what `gpg --show-keys` tells of the true key, or give {key} as https:// or a path"
            yield problem(pin, f"is empty although the key comes by plain HTTP from {source}", "", advice)


def of_system(era: Era, runtime: str, system: System, *, own_package: bool) -> Iterator[str]:
    """Why a system's package of a runtime does not go with a version of Kubernetes.

    With a package of the user's own nothing is known of it, and nothing refused.
    """
    if own_package:
        return
    version = system.version(runtime)
    shown = ".".join(map(str, version))
    if runtime == "docker" and era.docker_below and version >= era.docker_below:
        yield (
            f"has Docker {shown} or newer, which kubelet {era.minor} cannot speak with (moby#47215); use "
            f"containerd, Kubernetes 1.24 or newer, or pin a Docker before {era.docker_below[0]} (docker_package, "
            "runtime_package_version)"
        )
    if runtime == "docker" and not era.dockershim and version and version < cri_dockerd.DOCKER_FROM:
        yield (
            f"has Docker {shown}, and cri-dockerd {cri_dockerd.VERSION}, which kubelet {era.minor} needs, wants "
            f"{cri_dockerd.DOCKER_FROM[0]} or newer (cri-dockerd#346); use containerd, or name a package of it "
            "(docker_package)"
        )
    if runtime == "containerd" and version and version < era.containerd_from:
        wanted = ".".join(map(str, era.containerd_from))
        yield (
            f"has containerd {shown}, and kubelet {era.minor} wants {wanted} or newer; name a package of it "
            "(containerd_package), or use an older Kubernetes"
        )


def of_node(era: Era, runtime: Runtime, kubelet: str, cri_socket: str) -> Iterator[str]:
    """Why a host that is a node already does not go with the settings: clusters are not upgraded or converted.

    kubeadm refuses to join nodes whose kubelet is newer than the control plane, or several versions older.
    """
    if not kubelet:
        return
    minor = eras.minor_of(kubelet)
    if minor != era.minor:
        yield (
            f"is a node of Kubernetes {kubelet}, and kubernetes_version is of {era.minor}; set it as it was: clusters "
            "are not upgraded, they are reset before it is changed"
        )
        return
    socket = runtime.cri_socket.removeprefix("unix:")
    known = bool(cri_socket) or era.dockershim
    if known and cri_socket.lstrip("/") != socket.lstrip("/"):
        shown = f"/{cri_socket.lstrip('/')}" if cri_socket else "Docker"
        yield (
            f"is a node whose kubelet speaks with {shown}, and container_runtime is {runtime.name}; set it as it was, "
            "and reset before you change it"
        )


def of_kernel(era: Era, kernel: str, cgroups: str, *, verified: bool) -> Iterator[str]:
    """Why a running kernel does not go with a version of Kubernetes.

    ``kernel`` is of uname -r, ``cgroups`` the kind of file system at /sys/fs/cgroup; empty where it is not known.
    ``verified`` tells whether kubeadm's SystemVerification counts.
    """
    if verified and kernel and systems.numbers(kernel) < era.kernel_from:
        wanted = ".".join(map(str, era.kernel_from))
        yield (
            f"has the kernel {kernel}, and kubeadm {era.minor} wants {wanted} or newer; use another version, or add "
            "SystemVerification to ignore_preflight_errors"
        )
    if era.needs_cgroup_v2 and cgroups and cgroups != systems.CGROUP_V2:
        yield (
            f"has cgroup v1, which kubelet {era.minor} refuses; boot it with systemd.unified_cgroup_hierarchy=1, or "
            "use an older Kubernetes"
        )


def of_repository(era: Era, system: System, urls: Mapping[str, str]) -> Iterator[str]:
    """Why there are no Kubernetes packages for a system. ``urls`` has the user's own repository by kind (deb, rpm)."""
    kind = system.packages
    if not urls[kind] and not era.community_packages:
        name = "kubernetes_apt_url" if kind == "deb" else "kubernetes_rpm_url"
        yield f"needs {kind} packages of Kubernetes {era.minor}, which nobody publishes; set {name} to a mirror's"
