"""What a changed setting does to a cluster that runs: one line for each setting. Pure."""

from collections.abc import Mapping

from kubeproof.networks.effects import OF_OTHERS, Effect, applied, nothing, refused
from kubeproof.networks.registry import NETWORKS

_SOURCE = applied("the host's file of package sources and its keyring are written anew")
_RUNTIME_FILE = applied("the runtime's configuration is written anew, and it restarts")
_PACKAGE = applied("the package of that name and version is installed; runtime-conflict says what it would take away")
_EACH_TIME = nothing("each command reads it, and nothing keeps it")
_OF_NETWORKS = {
    setting: {network.name: network.effects.get(setting, OF_OTHERS) for network in NETWORKS.values()}
    for setting in dict.fromkeys(setting for network in NETWORKS.values() for setting in network.effects)
}

EFFECTS: Mapping[str, Effect | Mapping[str, Effect]] = {
    "kubernetes_version": refused(),
    "kubernetes_apt_url": _SOURCE,
    "kubernetes_apt_key": _SOURCE,
    "kubernetes_apt_key_fingerprint": nothing("a key is held against it before any host is given it"),
    "kubernetes_rpm_url": _SOURCE,
    "kubernetes_rpm_key": _SOURCE,
    "kubernetes_rpm_key_fingerprint": nothing("a key is held against it before any host is given it"),
    "kubernetes_package_version": _PACKAGE,
    "image_repository": refused(),
    "etcd_image_tag": refused(),
    "pause_image_tag": applied("it is in the runtime's configuration; with Docker before 1.24 it is refused"),
    "node_network": nothing("the nodes' addresses are held against it; changed ones are refused (changed-address)"),
    "pod_cidr": refused(),
    "pod_subnet_bits": refused(),
    "service_cidr": refused(),
    "cluster_domain": refused(),
    "node_port_range": refused(),
    "api_port": refused(),
    "container_runtime": refused("cluster-runtime"),
    "docker_package": _PACKAGE,
    "containerd_package": _PACKAGE,
    "runtime_package_version": _PACKAGE,
    "runtime_rpm_url": _SOURCE,
    "runtime_rpm_key": _SOURCE,
    "runtime_rpm_key_fingerprint": nothing("a key is held against it before any host is given it"),
    "cri_dockerd_archive": nothing("wherever it comes from, it is the same program with the same checksum"),
    "cgroup_driver": refused(),
    "insecure_registries": _RUNTIME_FILE,
    "registry_mirrors": _RUNTIME_FILE,
    "docker_log_max_size": _RUNTIME_FILE,
    "docker_log_max_file": _RUNTIME_FILE,
    "http_proxy": _RUNTIME_FILE,
    "https_proxy": _RUNTIME_FILE,
    "no_proxy": _RUNTIME_FILE,
    "selinux": applied("the host's mode is set"),
    "firewalld": applied("ports are opened, or it is turned off"),
    "cni": refused("cni-changed"),
    **_OF_NETWORKS,
    "cluster_dns": refused(),
    "cluster_dns_image": applied("dnsmasq's pods are replaced; CoreDNS has kubeadm's"),
    "demo": applied("the demo is applied or taken away"),
    "httpd_image": applied("the demo's pods are replaced"),
    "kuard_image": applied("the demo's pods are replaced"),
    "httpd_node_port": applied("the demo's Service is changed"),
    "probe_image": _EACH_TIME,
    "conntrack_max_per_core": refused(),
    "join_token_ttl_minutes": nothing("each join makes a token of its own"),
    "kubeconfig": applied("the copy is put there"),
    "ignore_preflight_errors": _EACH_TIME,
    "ignore_findings": _EACH_TIME,
    "patience": _EACH_TIME,
}
"""By setting; by pod network too where they differ."""
