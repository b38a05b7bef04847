"""Raw values that are right, for tests to change; and test cases kept as YAML files."""

from pathlib import Path
from typing import Any

import pytest
import yaml

SETTINGS: dict[str, object] = {
    "kubernetes_version": "1.20.2",
    "kubernetes_apt_url": "http://192.168.200.1:3142/kubernetes/",
    "kubernetes_apt_key": "/var/lib/example/Release.key",
    "kubernetes_apt_key_fingerprint": "",
    "kubernetes_rpm_url": "",
    "kubernetes_rpm_key": "",
    "kubernetes_rpm_key_fingerprint": "",
    "kubernetes_package_version": "",
    "image_repository": "192.168.200.1:5000",
    "etcd_image_tag": "3.4.23",
    "pause_image_tag": "",
    "node_network": "192.168.200.0/24",
    "pod_cidr": "10.244.0.0/16",
    "pod_subnet_bits": 24,
    "service_cidr": "10.1.0.0/16",
    "cluster_domain": "cluster.local",
    "node_port_range": "30000-33000",
    "api_port": 6443,
    "container_runtime": "docker",
    "docker_package": "docker.io",
    "containerd_package": "",
    "runtime_package_version": "",
    "runtime_rpm_url": "",
    "runtime_rpm_key": "",
    "runtime_rpm_key_fingerprint": "",
    "cri_dockerd_archive": "",
    "cgroup_driver": "systemd",
    "insecure_registries": ["192.168.200.1:5000"],
    "registry_mirrors": [],
    "docker_log_max_size": "10m",
    "docker_log_max_file": 3,
    "http_proxy": "",
    "https_proxy": "",
    "no_proxy": [],
    "selinux": "permissive",
    "firewalld": "ports",
    "cni": "podnet",
    "podnet_image": "192.168.200.1:5000/podnet:2c5e84a0753c",
    "cni_manifest": "",
    "cni_manifest_sha256": "",
    "cni_image_repository": "",
    "cni_interface": "node-address",
    "cni_mtu": None,
    "cni_backend": "vxlan",
    "vxlan_vni": 1,
    "vxlan_port": 8472,
    "cluster_dns": "coredns",
    "cluster_dns_image": "",
    "demo": True,
    "httpd_image": "192.168.200.1:5000/httpd:1",
    "kuard_image": "192.168.200.1:5000/kuard:1",
    "probe_image": "192.168.200.1:5000/probe:1",
    "network_policy": None,
    "httpd_node_port": 33000,
    "kube_proxy_mode": "iptables",
    "conntrack_max_per_core": None,
    "join_token_ttl_minutes": 10,
    "kubeconfig": "~/.kube/kubeproof",
    "ignore_preflight_errors": [],
    "ignore_findings": [],
}


def cases(folder: Path, pattern: str) -> list[Any]:
    """A parameter for each YAML file, named after it."""
    return [pytest.param(yaml.safe_load(file.read_text()), id=file.stem) for file in sorted(folder.glob(pattern))]
