"""All packages in one transaction: unpacking and triggers of three separate ones take half as long again."""

from collections.abc import Iterator
from dataclasses import dataclass

from pyinfra import host
from pyinfra.api import deploy

from kubeproof.cluster import Cluster
from kubeproof.controller import armoured_key
from kubeproof.machines import system
from kubeproof.node import paths, templates
from kubeproof.node.proxies import is_direct, is_used
from kubeproof.operations import packages, placing
from kubeproof.roles import cluster
from kubeproof.settings import Settings
from kubeproof.tables.systems import System

KUBERNETES_PACKAGES = ("kubeadm", "kubelet", "kubectl")
HELD_BY_REPOSITORY = (*KUBERNETES_PACKAGES, "kubernetes-cni", "cri-tools")


@dataclass(frozen=True)
class Source:
    """A repository of packages on a host: the key that signs it, and the file that names it."""

    of_what: str
    key: str
    keyring: str
    file: str
    text: str


@deploy("Packages")
def install() -> None:
    """Install the runtime, the Kubernetes packages at their version, and tools; keep Kubernetes at that version."""
    settings, machine = cluster().settings, system()
    for source in host.loop(sources(cluster(), machine)):
        placing.put(
            name=f"Trust the key of the {source.of_what} packages",
            path=source.keyring,
            text=source.key,
        )
        placing.put(
            name=f"Add the source of the {source.of_what} packages",
            path=source.file,
            text=source.text,
        )
    packages.install(
        name=f"Install {settings.runtime.title} and Kubernetes",
        wanted=wanted_packages(settings, machine),
        manager=machine.manager,
    )
    packages.hold(name="Hold the Kubernetes packages", packages=KUBERNETES_PACKAGES, manager=machine.manager)


def sources(wanted: Cluster, machine: System) -> tuple[Source, ...]:
    """The repositories that a host's system needs beside its own."""
    return tuple(_apt_sources(wanted.settings) if machine.manager == "apt" else _dnf_sources(wanted, machine))


def _apt_sources(settings: Settings) -> Iterator[Source]:
    url = settings.kubernetes_apt_url or settings.era.repository("deb")
    key = armoured_key("kubernetes_apt_key", settings.kubernetes_apt_key or f"{url}Release.key")
    text = templates.render("kubernetes.list.j2", url=url, keyring=paths.APT_KEYRING)
    yield Source("Kubernetes", key, paths.APT_KEYRING, paths.APT_SOURCE, text)


def _dnf_sources(wanted: Cluster, machine: System) -> Iterator[Source]:
    settings = wanted.settings
    url = settings.kubernetes_rpm_url or settings.era.repository("rpm")
    key = armoured_key("kubernetes_rpm_key", settings.kubernetes_rpm_key or f"{url}repodata/repomd.xml.key")
    text = templates.render(
        "repository.repo.j2",
        identifier="kubernetes",
        title="Kubernetes",
        url=url,
        keyring=paths.RPM_KEYRING,
        exclude=HELD_BY_REPOSITORY,
        direct=is_used(settings) and is_direct(wanted, url),
    )
    yield Source("Kubernetes", key, paths.RPM_KEYRING, paths.RPM_SOURCE, text)
    runtime_url = settings.runtime_rpm_url or machine.runtime_url
    runtime_key = armoured_key("runtime_rpm_key", settings.runtime_rpm_key or machine.runtime_key)
    text = templates.render(
        "repository.repo.j2",
        identifier="kubeproof-runtime",
        title="Container runtimes",
        url=runtime_url,
        keyring=paths.RUNTIME_KEYRING,
        exclude=(),
        direct=is_used(settings) and is_direct(wanted, runtime_url),
    )
    yield Source("container runtime's", runtime_key, paths.RUNTIME_KEYRING, paths.RUNTIME_SOURCE, text)


def wanted_packages(settings: Settings, machine: System) -> dict[str, str]:
    """Version pattern of each package, empty for any."""
    version = settings.kubernetes_package_version or f"{settings.kubernetes_version}-*"
    runtime = settings.own_runtime_package or machine.package(settings.runtime.name)
    crictl = settings.era.needs_crictl and bool(settings.runtime.cri_socket)
    return {
        runtime: settings.runtime_package_version,
        **dict.fromkeys(KUBERNETES_PACKAGES, version),
        **({"cri-tools": ""} if crictl else {}),
        **dict.fromkeys(machine.tools, ""),
    }
