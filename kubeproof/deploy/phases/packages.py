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
IPVS_TOOLS = ("ipset", "ipvsadm")
"""What the proof looks at IPVS with, and a reset clears it with; kube-proxy's image has its own."""
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
        managed_files.put(name=f"Trust the key of the {source.of_what} packages", path=source.keyring, text=source.key)
        managed_files.put(name=f"Add the source of the {source.of_what} packages", path=source.file, text=source.text)
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


def _key(settings: Settings, name: str, beside: str, fingerprint: str) -> str:
    """The key that the setting of this name says, or the one ``beside`` the packages, whose fingerprint may be known.

    ``beside`` is a path or URL; an empty fingerprint stands for any.
    """
    own = getattr(settings, name)
    wanted = getattr(settings, f"{name}_fingerprint") or ("" if own else fingerprint)
    return armoured_key(name, own or beside, wanted)


def _kubernetes_key(settings: Settings, name: str, url: str, file: str) -> str:
    """Of the project's repository, or of a mirror, which has the key at the same place."""
    return _key(settings, name, f"{url.rstrip('/')}/{file}", COMMUNITY_KEY if url.startswith(COMMUNITY) else "")


def _apt_sources(settings: Settings) -> Iterator[Source]:
    url = settings.kubernetes_apt_url or settings.era.repository("deb")
    key = _kubernetes_key(settings, "kubernetes_apt_key", url, "Release.key")
    text = templates.render("kubernetes.list.j2", url=url, keyring=paths.APT_KEYRING)
    yield Source("Kubernetes", key, paths.APT_KEYRING, paths.APT_SOURCE, text)


def _dnf_sources(wanted: Cluster, machine: System) -> Iterator[Source]:
    settings = wanted.settings

    def text(identifier: str, title: str, url: str, keyring: str, exclude: tuple[str, ...]) -> str:
        direct = is_used(settings) and is_direct(wanted, url)
        return templates.render(
            "repository.repo.j2",
            identifier=identifier,
            title=title,
            url=url,
            keyring=keyring,
            exclude=exclude,
            direct=direct,
        )

    url = settings.kubernetes_rpm_url or settings.era.repository("rpm")
    key = _kubernetes_key(settings, "kubernetes_rpm_key", url, "repodata/repomd.xml.key")
    file = text("kubernetes", "Kubernetes", url, paths.RPM_KEYRING, HELD_BY_REPOSITORY)
    yield Source("Kubernetes", key, paths.RPM_KEYRING, paths.RPM_SOURCE, file)
    key = _key(settings, "runtime_rpm_key", machine.runtime_key, DOCKER_KEY)
    url = settings.runtime_rpm_url or machine.runtime_url
    file = text("kubeproof-runtime", "Container runtimes", url, paths.RUNTIME_KEYRING, ())
    yield Source("container runtime's", key, paths.RUNTIME_KEYRING, paths.RUNTIME_SOURCE, file)


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
        **(dict.fromkeys(IPVS_TOOLS, "") if settings.kube_proxy_mode == "ipvs" else {}),
    }
