"""What a changed setting does to a cluster that runs: one line for each setting. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

Kind = Literal["applied", "refused", "nothing"]


@dataclass(frozen=True)
class Effect:
    """``applied``: the next deploy brings it about. ``refused``: a finding stops the deploy before it changes anything.
    ``nothing``: nothing that runs has it, or has to have it anew.
    """

    kind: Kind
    why: str
    """What brings it about, the finding's name, or why nothing needs it."""


def _applied(why: str) -> Effect:
    return Effect("applied", why)


def _refused(finding: str = "changed-setting") -> Effect:
    return Effect("refused", finding)


def _nothing(why: str) -> Effect:
    return Effect("nothing", why)


_SOURCE = _applied("the host's file of package sources and its keyring are written anew")
_RUNTIME_FILE = _applied("the runtime's configuration is written anew, and it restarts")
_PODS = _applied("it is part of the agents' pods, which are replaced")
_PACKAGE = _applied("the package of that name and version is installed; runtime-conflict says what it would take away")
_EACH_TIME = _nothing("each command reads it, and nothing keeps it")
_NOT_HERE = _nothing("the network has none, and another value than the default is refused with the settings")
_CONFIG_MAP = {"podnet": _NOT_HERE, "flannel": _refused(), "canal": _refused()}
_MANIFEST = {"podnet": _NOT_HERE, **dict.fromkeys(("flannel", "canal"), _applied("its objects are applied"))}

EFFECTS: Mapping[str, Effect | Mapping[str, Effect]] = {
    "kubernetes_version": _refused(),
    "kubernetes_apt_url": _SOURCE,
    "kubernetes_apt_key": _SOURCE,
    "kubernetes_apt_key_fingerprint": _nothing("a key is held against it before any host is given it"),
    "kubernetes_rpm_url": _SOURCE,
    "kubernetes_rpm_key": _SOURCE,
    "kubernetes_rpm_key_fingerprint": _nothing("a key is held against it before any host is given it"),
    "kubernetes_package_version": _PACKAGE,
    "image_repository": _refused(),
    "etcd_image_tag": _refused(),
    "pause_image_tag": _applied("it is in the runtime's configuration; with Docker before 1.24 it is refused"),
    "node_network": _nothing("the nodes' addresses are held against it; changed ones are refused (changed-address)"),
    "pod_cidr": _refused(),
    "pod_subnet_bits": _refused(),
    "service_cidr": _refused(),
    "cluster_domain": _refused(),
    "node_port_range": _refused(),
    "api_port": _refused(),
    "container_runtime": _refused("cluster-runtime"),
    "docker_package": _PACKAGE,
    "containerd_package": _PACKAGE,
    "runtime_package_version": _PACKAGE,
    "runtime_rpm_url": _SOURCE,
    "runtime_rpm_key": _SOURCE,
    "runtime_rpm_key_fingerprint": _nothing("a key is held against it before any host is given it"),
    "cri_dockerd_archive": _nothing("wherever it comes from, it is the same program with the same checksum"),
    "cgroup_driver": _refused(),
    "insecure_registries": _RUNTIME_FILE,
    "registry_mirrors": _RUNTIME_FILE,
    "docker_log_max_size": _RUNTIME_FILE,
    "docker_log_max_file": _RUNTIME_FILE,
    "http_proxy": _RUNTIME_FILE,
    "https_proxy": _RUNTIME_FILE,
    "no_proxy": _RUNTIME_FILE,
    "selinux": _applied("the host's mode is set"),
    "firewalld": _applied("ports are opened, or it is turned off"),
    "cni": _refused("cni-changed"),
    "podnet_image": {"podnet": _PODS, **dict.fromkeys(("flannel", "canal"), _nothing("it is podnet's alone"))},
    "cni_manifest": _MANIFEST,
    "cni_manifest_sha256": _nothing("a manifest is held against it before it is used"),
    "cni_image_repository": {"podnet": _nothing("podnet_image names its own"), "flannel": _PODS, "canal": _PODS},
    "cni_interface": {"podnet": _NOT_HERE, "flannel": _PODS, "canal": _PODS},
    "cni_mtu": _CONFIG_MAP,
    "cni_backend": _CONFIG_MAP,
    # podnet's agent makes its link anew where one of the two differs.
    "vxlan_vni": {**_CONFIG_MAP, "podnet": _PODS},
    "vxlan_port": {**_CONFIG_MAP, "podnet": _PODS},
    "network_policy": {
        "podnet": _PODS,
        "flannel": _nothing("flannel enforces none, and True is refused with the settings"),
        "canal": _nothing("canal always enforces them, and False is refused with the settings"),
    },
    "cluster_dns": _refused(),
    "cluster_dns_image": _applied("dnsmasq's pods are replaced; CoreDNS has kubeadm's"),
    "demo": _applied("the demo is applied or taken away"),
    "httpd_image": _applied("the demo's pods are replaced"),
    "kuard_image": _applied("the demo's pods are replaced"),
    "httpd_node_port": _applied("the demo's Service is changed"),
    "probe_image": _EACH_TIME,
    "conntrack_max_per_core": _refused(),
    "join_token_ttl_minutes": _nothing("each join makes a token of its own"),
    "kubeconfig": _applied("the copy is put there"),
    "ignore_preflight_errors": _EACH_TIME,
    "ignore_findings": _EACH_TIME,
    "patience": _EACH_TIME,
}
"""By setting; by pod network too where they differ."""
