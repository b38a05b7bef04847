"""Control data of the Debian packages kubelet, kubeadm, kubectl, kubernetes-cni and cri-tools: pure text.

Names, relations and files are those of the Kubernetes project's own packages of the 1.20 era (kubernetes/release,
packages/deb), so that a deploy written for those finds the same here.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from textwrap import fill, wrap

REVISION = 1
"""To be raised with every change of the packages, so that apt sees a new version."""
MAINTAINER = "Kubeproof lab <lab@kubeproof.invalid>"
CNI_UPSTREAM = "1.1.1"
"""Version of Debian 12's containernetworking-plugins, which kubernetes-cni points to."""
CNI_PLUGINS = (
    *("bandwidth", "bridge", "dhcp", "firewall", "host-device", "host-local", "ipvlan", "loopback", "macvlan"),
    *("portmap", "ptp", "sbr", "static", "tuning", "vlan", "vrf"),
)
"""Programs of containernetworking-plugins 1.1.1 in /usr/lib/cni."""

_EPOCH = datetime(2021, 1, 13, tzinfo=UTC)
"""Date of Kubernetes 1.20.2: a date of one's own would make equal packages differ."""
_LINE = 79


@dataclass(frozen=True)
class Package:
    """What a binary package is made of.

    ``programs`` are built programs that go to /usr/bin; ``files`` maps absolute paths to files of lab/mirror/debian,
    ``executables`` those that are programs; ``links`` maps absolute paths to what they point to; ``conffiles`` are
    those of ``files`` that dpkg asks about.
    """

    name: str
    summary: str
    description: str
    architecture: str = ""
    upstream: str = ""
    depends: tuple[str, ...] = ()
    suggests: tuple[str, ...] = ()
    section: str = "admin"
    programs: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)
    executables: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, str] = field(default_factory=dict)
    conffiles: tuple[str, ...] = ()
    scripts: tuple[str, ...] = ()


DROP_IN = "/etc/systemd/system/kubelet.service.d/10-kubeadm.conf"

PACKAGES = (
    Package(
        name="kubelet",
        summary="Kubernetes node agent",
        description="The agent of a Kubernetes node: it starts the containers of the pods that are bound to its node.",
        depends=(
            "iptables (>= 1.4.21)",
            "kubernetes-cni (>= 0.8.6)",
            "iproute2",
            "socat",
            "util-linux",
            "mount",
            "ebtables",
            "ethtool",
            "conntrack",
        ),
        programs=("kubelet",),
        files={"/lib/systemd/system/kubelet.service": "kubelet.service"},
        scripts=("postinst", "prerm", "postrm"),
    ),
    Package(
        name="kubeadm",
        summary="Kubernetes cluster bootstrapping tool",
        description="Sets up the control plane of a Kubernetes cluster and joins nodes to it.",
        depends=("kubelet (>= 1.13.0)", "kubectl (>= 1.13.0)", "kubernetes-cni (>= 0.8.6)"),
        suggests=("cri-tools (>= 1.13.0)",),
        programs=("kubeadm",),
        files={DROP_IN: "10-kubeadm.conf"},
        conffiles=(DROP_IN,),
        scripts=("postinst", "postrm"),
    ),
    Package(
        name="kubectl",
        summary="Kubernetes command line client",
        description="Talks to the API server of a Kubernetes cluster.",
        programs=("kubectl",),
    ),
    Package(
        name="kubernetes-cni",
        summary="Kubernetes CNI plugins, from Debian's own package",
        description="Puts the plugins of Debian's containernetworking-plugins where the kubelet looks for them: "
        "symbolic links in /opt/cni/bin.",
        architecture="all",
        upstream=CNI_UPSTREAM,
        depends=(f"containernetworking-plugins (>= {CNI_UPSTREAM})",),
        links={f"/opt/cni/bin/{plugin}": f"/usr/lib/cni/{plugin}" for plugin in CNI_PLUGINS},
    ),
    Package(
        name="cri-tools",
        summary="Stand-in for crictl, which kubeadm asks about containers",
        description="Answers what kubeadm asks of crictl where the container runtime is containerd, by containerd's "
        "own client.",
        architecture="all",
        suggests=("containerd",),
        executables={"/usr/bin/crictl": "crictl"},
    ),
)


def version(package: Package, kubernetes: str) -> str:
    """Debian version such as ``1.20.2-00+kubeproof1``: matches apt's pin ``1.20.2-*``, as upstream's 1.20.2-00 does."""
    return f"{package.upstream or kubernetes}-00+kubeproof{REVISION}"


def file_name(package: Package, kubernetes: str, architecture: str) -> str:
    return f"{package.name}_{version(package, kubernetes)}_{package.architecture or architecture}.deb"


def control(package: Package, kubernetes: str, architecture: str, source_version: str, installed_kib: int) -> str:
    """The file DEBIAN/control. ``installed_kib`` is the size of the files in KiB (Debian policy 5.6.20)."""
    fields = {
        "Package": package.name,
        "Source": f"kubernetes ({source_version})",
        "Version": version(package, kubernetes),
        "Architecture": package.architecture or architecture,
        "Maintainer": MAINTAINER,
        "Installed-Size": str(installed_kib),
        "Depends": ", ".join(package.depends),
        "Suggests": ", ".join(package.suggests),
        "Section": package.section,
        "Priority": "optional",
        "Homepage": "https://kubernetes.io",
        "Description": package.summary,
    }
    lines = [f"{name}: {text}" for name, text in fields.items() if text]
    return "\n".join([*lines, *_extended(package, source_version)]) + "\n"


def changelog(package: Package, kubernetes: str, source_version: str) -> str:
    """The file changelog.Debian: one entry, dated with the upstream release."""
    entry = fill(_origin(package, source_version), _LINE, initial_indent="  * ", subsequent_indent="    ")
    return (
        f"{package.name} ({version(package, kubernetes)}) bookworm; urgency=medium\n\n"
        f"{entry}\n\n"
        f" -- {MAINTAINER}  {format_datetime(_EPOCH)}\n"
    )


def copyright_text(package: Package, source_version: str, of_source: str) -> str:
    """The file copyright: debian/copyright of the source package, with a comment in its header that says the origin."""
    header, _, rest = of_source.partition("\n\n")
    return f"{header.rstrip()}\nComment: {_origin(package, source_version)}\n\n{rest.rstrip()}\n"


def epoch_seconds() -> int:
    """Time stamp of every file in the packages, in seconds since 1970 (SOURCE_DATE_EPOCH)."""
    return int(_EPOCH.timestamp())


def _extended(package: Package, source_version: str) -> list[str]:
    paragraphs = [package.description, _origin(package, source_version)]
    text = [[f" {line}" for line in wrap(paragraph, _LINE - 1)] for paragraph in paragraphs]
    return [*text[0], " .", *text[1]]


def _origin(package: Package, source_version: str) -> str:
    if not package.programs:
        return "Made by Kubeproof for its lab; it is not the Kubernetes project's own package of this name."
    return (
        f"Built from Debian's source package kubernetes {source_version} by Kubeproof, without cloud providers "
        "(build tag providerless), with the vendored reflect2 replaced by Debian's, and changed where a newer Go than "
        "its own needs that."
    )
