"""All packages in one transaction: unpacking and triggers of three separate ones take half as long again."""

from collections.abc import Iterator
from dataclasses import dataclass

from pyinfra import host
from pyinfra.api import deploy

from kubeproof.access.deadlines import RETRIES
from kubeproof.config.cluster import Cluster
from kubeproof.config.settings import Settings
from kubeproof.config.tables import paths
from kubeproof.config.tables.systems import DOCKER_KEY, System
from kubeproof.config.tables.version_traits import COMMUNITY, COMMUNITY_KEY
from kubeproof.deploy import context
from kubeproof.deploy.context import cluster, system
from kubeproof.deploy.local_files import armoured_key
from kubeproof.deploy.operations import managed_files, packages
from kubeproof.node import templates
from kubeproof.node.proxies import is_direct, is_used

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
    settings, machine, facts = cluster().settings, system(), context.machine()
    for source in host.loop(sources(cluster(), machine)):
        managed_files.put(
            name=f"Trust the key of the {source.of_what} packages",
            path=source.keyring,
            text=source.key,
        )
        managed_files.put(
            name=f"Add the source of the {source.of_what} packages",
            path=source.file,
            text=source.text,
        )
    packages.install(
        name=f"Install {settings.runtime.title} and Kubernetes",
        wanted=wanted_packages(settings, machine, apparmor=bool(facts.apparmor)),
        manager=machine.manager,
        # An archive that hangs or is just being changed may answer the next time.
        _retries=RETRIES,
    )
    packages.hold(name="Hold the Kubernetes packages", packages=KUBERNETES_PACKAGES, manager=machine.manager)


def sources(wanted: Cluster, machine: System) -> tuple[Source, ...]:
    """The repositories that a host's system needs beside its own."""
    return tuple(_apt_sources(wanted.settings) if machine.manager == "apt" else _dnf_sources(wanted, machine))


def _beside(url: str, file: str) -> str:
    """Where the project's repository has its key, and mirrors of it."""
    return f"{url.rstrip('/')}/{file}"


def _apt_sources(settings: Settings) -> Iterator[Source]:
    url = settings.kubernetes_apt_url or settings.era.repository("deb")
    pin = settings.kubernetes_apt_key_fingerprint or _known(COMMUNITY_KEY, url, settings.kubernetes_apt_key)
    key = armoured_key("kubernetes_apt_key", settings.kubernetes_apt_key or _beside(url, "Release.key"), pin)
    text = templates.render("kubernetes.list.j2", url=url, keyring=paths.APT_KEYRING)
    yield Source("Kubernetes", key, paths.APT_KEYRING, paths.APT_SOURCE, text)


def _dnf_sources(wanted: Cluster, machine: System) -> Iterator[Source]:
    settings = wanted.settings
    url = settings.kubernetes_rpm_url or settings.era.repository("rpm")
    pin = settings.kubernetes_rpm_key_fingerprint or _known(COMMUNITY_KEY, url, settings.kubernetes_rpm_key)
    key = armoured_key(
        "kubernetes_rpm_key", settings.kubernetes_rpm_key or _beside(url, "repodata/repomd.xml.key"), pin
    )
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
    runtime_pin = settings.runtime_rpm_key_fingerprint or ("" if settings.runtime_rpm_key else DOCKER_KEY)
    runtime_key = armoured_key("runtime_rpm_key", settings.runtime_rpm_key or machine.runtime_key, runtime_pin)
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


def _known(fingerprint: str, url: str, own_key: str) -> str:
    """The fingerprint that the project's own key has; empty where another key is named, or another repository's."""
    return "" if own_key or not url.startswith(COMMUNITY) else fingerprint


def wanted_packages(settings: Settings, machine: System, *, apparmor: bool = False) -> dict[str, str]:
    """Version pattern of each package, empty for any. Where AppArmor is on, no container starts without its parser,
    which Debian only recommends."""
    version = settings.kubernetes_package_version or f"{settings.kubernetes_version}-*"
    runtime = settings.own_runtime_package or machine.package(settings.runtime.name)
    crictl = settings.era.needs_crictl and bool(settings.runtime.cri_socket)
    return {
        runtime: settings.runtime_package_version,
        **dict.fromkeys(KUBERNETES_PACKAGES, version),
        **({"cri-tools": ""} if crictl else {}),
        **({"apparmor": ""} if apparmor and machine.manager == "apt" else {}),
        **dict.fromkeys(machine.tools, ""),
    }
