"""Minor versions of Kubernetes: what kubeadm, kubelet and their images are like in each. Pure.

One table of changes (:data:`CHANGES`), each at the minor version that brought it. Nothing else in the project asks
for a version: it asks the version's :class:`Era`.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

KubeadmApi = Literal["v1beta2", "v1beta3", "v1beta4"]
Taint = Literal["node-role.kubernetes.io/master", "node-role.kubernetes.io/control-plane"]
MASTER: Taint = "node-role.kubernetes.io/master"
CONTROL_PLANE: Taint = "node-role.kubernetes.io/control-plane"

COMMUNITY = "https://pkgs.k8s.io/"
COMMUNITY_KEY = "DE15B14486CD377B9E876E1A234654DA9A296436"
"""Fingerprint of the key that signs all of them, deb and rpm (isv:kubernetes OBS Project): what Puppet's module for
Kubernetes has as its default (puppetlabs-kubernetes, manifests/repos.pp), and many others pin for 1.28 to 1.36."""
COMMUNITY_REPOSITORY = f"{COMMUNITY}core:/stable:/v{{minor}}"
"""The project's own package repository, one for each minor version (kubernetes.io/blog/2023/08/15)."""
PUBLIC_REGISTRIES = ("k8s.gcr.io", "registry.k8s.io")
"""Where the project publishes images, the frozen predecessor first (kubernetes.io/blog/2022/11/28)."""


@dataclass(frozen=True, kw_only=True)
class Era:
    """What holds for one minor version.

    ``etcd_tag`` and ``coredns_tag`` are empty where they differ between patch releases: kubeadm on the host is asked.
    Versions of other programs are compared as tuples; () is any.
    """

    minor: str
    kubeadm_api: KubeadmApi
    community_packages: bool
    """Whether the project's repository has this version; it begins with 1.24, and what was before it is gone."""
    pause_tag: str
    etcd_tag: str
    coredns_tag: str
    coredns_in_folder: bool
    """In public registries CoreDNS is coredns/coredns (kubeadm: images.GetDNSImage)."""
    taints: tuple[Taint, ...]
    """What kubeadm taints control plane nodes with. (Their labels change too, but nothing here asks for them.)"""
    dockershim: bool
    """kubelet speaks with Docker by itself."""
    docker_below: tuple[int, ...]
    """First version of Docker that is too new."""
    containerd_from: tuple[int, ...]
    """First version of containerd that kubelet works with."""
    pause_flag: bool
    """kubelet takes --pod-infra-container-image, and needs it to spare the image when it collects garbage."""
    needs_crictl: bool
    """kubeadm runs crictl for any runtime but dockershim."""
    reset_skips: tuple[str, ...]
    """Phases of `kubeadm reset` that would ask the API server."""
    needs_cgroup_v2: bool
    """kubelet refuses cgroup v1 (failCgroupV1)."""
    kernel_from: tuple[int, ...]
    """First kernel that kubeadm's SystemVerification does not refuse."""
    proxy_modes: tuple[str, ...]
    """Modes that kube-proxy has without a feature gate."""

    def repository(self, kind: str) -> str:
        """URL of the project's repository of packages of a ``kind`` (deb or rpm), or "" where there is none."""
        if not self.community_packages:
            return ""
        return f"{COMMUNITY_REPOSITORY.format(minor=self.minor)}/{kind}/"


FIRST = 20
LAST = 37
"""Minor versions that there are today; 1.37 is of August 2026 (kubernetes.io/releases)."""

_OLDEST = Era(
    minor="1.20",
    kubeadm_api="v1beta2",
    community_packages=False,
    # cmd/kubeadm/app/constants/constants.go, as of v1.20
    pause_tag="3.2",
    etcd_tag="3.4.13-0",
    coredns_tag="1.7.0",
    coredns_in_folder=False,
    taints=(MASTER,),
    dockershim=True,
    # Its API has lost a field that dockershim reads (moby#47215).
    docker_below=(25,),
    containerd_from=(),
    pause_flag=True,
    needs_crictl=True,
    reset_skips=("update-cluster-status",),
    needs_cgroup_v2=False,
    kernel_from=(),
    proxy_modes=("iptables", "ipvs"),
)

CHANGES: dict[int, dict[str, Any]] = {
    # v1beta1 is gone; images of CoreDNS move to coredns/coredns; its tags and etcd's differ between patch releases.
    21: {"pause_tag": "3.4.1", "etcd_tag": "", "coredns_tag": "", "coredns_in_folder": True},
    # kubernetes#101129: v1beta3.
    22: {"kubeadm_api": "v1beta3", "pause_tag": "3.5"},
    # kubernetes#105888: the phase of reset is gone.
    23: {"pause_tag": "3.6", "reset_skips": ()},
    # Dockershim is gone, with kubelet's --network-plugin and --cni-…; both taints (KEP 2067).
    24: {
        "pause_tag": "3.7",
        "community_packages": True,
        "dockershim": False,
        "docker_below": (),
        "taints": (MASTER, CONTROL_PLANE),
    },
    # The taint master is gone; so is PodSecurityPolicy. registry.k8s.io is kubeadm's default.
    25: {"pause_tag": "3.8", "taints": (CONTROL_PLANE,)},
    # kubelet speaks CRI v1 only, which containerd has since 1.6 (kubernetes.io/blog/2022/11/18).
    26: {"pause_tag": "3.9", "containerd_from": (1, 6)},
    # kubernetes#125029: v1beta4, extraArgs as a list. kubernetes#124685: kubeadm needs no crictl. KEP 3866: nftables,
    # which is an alpha of 1.29, is beta and on.
    31: {
        "kubeadm_api": "v1beta4",
        "pause_tag": "3.10",
        "needs_crictl": False,
        "proxy_modes": ("iptables", "ipvs", "nftables"),
    },
    # system-validators#48: kernels before 4.19 are refused …
    32: {"kernel_from": (4, 19)},
    # … and kubernetes#131919: only warned of.
    34: {"pause_tag": "3.10.1", "kernel_from": ()},
    # kubernetes#133779: kubelet knows the flag no more. kubernetes.io/blog/2025/12/17: cgroup v1 is refused.
    35: {"pause_flag": False, "needs_cgroup_v2": True},
    # KEP 4033: kubelet asks the runtime for its cgroup driver, which containerd tells since 2.0.
    # `kubeadm config images list` of 1.36.2 and of 1.37.1 names pause 3.10.2 (kubeclipper#947).
    36: {"pause_tag": "3.10.2", "containerd_from": (2, 0)},
}
"""What a minor version (1.N by its N) changes, with where it is said."""


def _eras() -> dict[str, Era]:
    known = {item.name for item in fields(Era)}
    eras, era = {}, _OLDEST
    for number in range(FIRST, LAST + 1):
        changes = CHANGES.get(number, {})
        if not known >= changes.keys():
            raise ValueError(f"1.{number}: {sorted(changes.keys() - known)}")
        era = replace(era, minor=f"1.{number}", **changes)
        eras[era.minor] = era
    return eras


ERAS = _eras()
"""Each minor version's, such as "1.20", in their order."""
PROXY_MODES = ERAS[f"1.{LAST}"].proxy_modes
"""Modes of kube-proxy that some version has."""
BORDERS = tuple(f"1.{number}" for number in sorted({FIRST, *CHANGES, *(n - 1 for n in CHANGES), LAST}))
"""Minor versions on both sides of each change, the first and the last."""


def minor_of(version: str) -> str:
    """Major and minor version of MAJOR.MINOR.PATCH, such as "1.20"."""
    return version.rpartition(".")[0]


def refusal(version: str) -> str:
    """Why a version (MAJOR.MINOR.PATCH) cannot be had; empty if it can."""
    minor = minor_of(version)
    if minor in ERAS:
        return ""
    major, _, number = minor.partition(".")
    late = (int(major), int(number)) > (1, LAST)
    return "is newer than any that is known here" if late else "is older than any that is known here"
