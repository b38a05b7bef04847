"""Whether a host's system and kernel go with the version of Kubernetes and the container runtime. Pure.

With a package of the user's own nothing is known of it, and nothing refused.
"""

from collections.abc import Iterator

from kubeproof.config.cluster import Node
from kubeproof.config.settings import Settings
from kubeproof.config.tables import cri_dockerd, systems
from kubeproof.config.tables.systems import System, system_of
from kubeproof.node.finding import Finding
from kubeproof.rules.before_deploy.inspection import Inspection, of_each_host
from kubeproof.rules.rule import error_rule
from kubeproof.state.node import NodeState

kubernetes_packages = error_rule(
    "kubernetes-packages", "somebody publishes packages of this version for this system", "which nobody publishes"
)
runtime_version = error_rule(
    "runtime-version",
    "the system's container runtime is one that kubelet of this version speaks with",
    "kubelet cannot speak with it",
)
kernel_version = error_rule("kernel-version", "kubeadm's minimum of this version of Kubernetes", "kubeadm refuses it")


@of_each_host
def findings(inspection: Inspection, _: Node, facts: NodeState) -> Iterator[Finding]:
    settings = inspection.cluster.settings
    if system := system_of(facts.system):
        yield from _repository(settings, system)
        yield from _runtime(settings, system)
    yield from _kernel(settings, facts.kernel)


def _repository(settings: Settings, system: System) -> Iterator[Finding]:
    urls = {"deb": settings.kubernetes_apt_url, "rpm": settings.kubernetes_rpm_url}
    kind = system.packages
    if not urls[kind] and not settings.era.community_packages:
        name = "kubernetes_apt_url" if kind == "deb" else "kubernetes_rpm_url"
        yield kubernetes_packages.finding(
            f"needs {kind} packages of Kubernetes {settings.era.minor}", f"set {name} to a mirror's"
        )


def _runtime(settings: Settings, system: System) -> Iterator[Finding]:
    if settings.own_runtime_package or settings.runtime_package_version:
        return
    era, runtime = settings.era, settings.runtime.name
    version = system.version(runtime)
    shown = ".".join(map(str, version))
    if runtime == "docker" and era.docker_below and version >= era.docker_below:
        yield runtime_version.finding(
            f"has Docker {shown} or newer",
            f"use containerd, Kubernetes 1.24 or newer, or pin a Docker before {era.docker_below[0]} (docker_package, "
            "runtime_package_version)",
            breaks=f"which kubelet {era.minor} cannot speak with (moby#47215)",
        )
    if runtime == "docker" and not era.dockershim and version and version < cri_dockerd.DOCKER_FROM:
        yield runtime_version.finding(
            f"has Docker {shown}",
            "use containerd, or name a package of it (docker_package)",
            breaks=f"and cri-dockerd {cri_dockerd.VERSION}, which kubelet {era.minor} needs, wants "
            f"{cri_dockerd.DOCKER_FROM[0]} or newer (cri-dockerd#346)",
        )
    if runtime == "containerd" and version and version < era.containerd_from:
        wanted = ".".join(map(str, era.containerd_from))
        yield runtime_version.finding(
            f"has containerd {shown}",
            "name a package of it (containerd_package), or use an older Kubernetes",
            breaks=f"and kubelet {era.minor} wants {wanted} or newer",
        )


def _kernel(settings: Settings, kernel: str) -> Iterator[Finding]:
    era = settings.era
    if "SystemVerification" in settings.ignore_preflight_errors:
        return
    if kernel and systems.numbers(kernel) < era.kernel_from:
        wanted = ".".join(map(str, era.kernel_from))
        yield kernel_version.finding(
            f"has the kernel {kernel}",
            "use another version, or add SystemVerification to ignore_preflight_errors",
            breaks=f"and kubeadm {era.minor} wants {wanted} or newer",
        )
