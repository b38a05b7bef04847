"""All packages in one transaction: unpacking and triggers of three separate ones take half as long again."""

from io import StringIO

from pyinfra.api import deploy
from pyinfra.operations import files

from kubeproof.controller import apt_key
from kubeproof.node import paths, templates
from kubeproof.operations import packages
from kubeproof.roles import cluster
from kubeproof.settings import Settings

KUBERNETES_PACKAGES = ("kubeadm", "kubelet", "kubectl")
TOOLS = ("iptables", "nftables", "conntrack", "tcpdump", "iproute2", "procps", "curl")
"""What the proof looks at a node's network with, and a reset cleans it with."""


@deploy("Packages")
def install() -> None:
    """Install Docker, the Kubernetes packages at their version, and tools; keep Kubernetes at that version."""
    settings = cluster().settings
    files.put(
        name="Trust the key of the Kubernetes packages",
        src=StringIO(apt_key(settings.kubernetes_apt_key)),
        dest=paths.APT_KEYRING,
        mode="644",
    )
    files.put(
        name="Add the source of the Kubernetes packages",
        src=StringIO(templates.render("kubernetes.list.j2", settings=settings, keyring=paths.APT_KEYRING)),
        dest=paths.APT_SOURCE,
        mode="644",
    )
    packages.install(name="Install Docker and Kubernetes", wanted=wanted_packages(settings))
    packages.hold(name="Hold the Kubernetes packages", packages=KUBERNETES_PACKAGES)


def wanted_packages(settings: Settings) -> dict[str, str]:
    """Version pattern of each package, empty for any."""
    version = settings.kubernetes_package_version or f"{settings.kubernetes_version}-*"
    return {
        settings.docker_package: "",
        **dict.fromkeys(KUBERNETES_PACKAGES, version),
        **dict.fromkeys(TOOLS, ""),
    }
