"""A cluster to render and compute with."""

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

from kubeproof.config.cluster import Cluster, Node
from kubeproof.config.settings import parse

RAW: dict[str, object] = {
    "kubernetes_version": "1.20.2",
    "kubernetes_apt_url": "http://192.0.2.1:3142/kubernetes/",
    "kubernetes_apt_key": "/key.asc",
    "kubernetes_apt_key_fingerprint": "",
    "kubernetes_rpm_url": "",
    "kubernetes_rpm_key": "",
    "kubernetes_rpm_key_fingerprint": "",
    "kubernetes_package_version": "",
    "image_repository": "192.0.2.1:5000",
    "etcd_image_tag": "",
    "pause_image_tag": "",
    "node_network": "192.0.2.0/24",
    "pod_cidr": "10.244.0.0/16",
    "pod_subnet_bits": 24,
    "service_cidr": "10.96.0.0/12",
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
    "insecure_registries": ["192.0.2.1:5000"],
    "registry_mirrors": [],
    "docker_log_max_size": "10m",
    "docker_log_max_file": 3,
    "http_proxy": "",
    "https_proxy": "",
    "no_proxy": [],
    "selinux": "permissive",
    "firewalld": "ports",
    "cni": "podnet",
    "podnet_image": "192.0.2.1:5000/podnet:1",
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
    "httpd_image": "192.0.2.1:5000/httpd:1",
    "kuard_image": "192.0.2.1:5000/kuard:1",
    "probe_image": "192.0.2.1:5000/probe:1",
    "network_policy": None,
    "httpd_node_port": 33000,
    "conntrack_max_per_core": None,
    "join_token_ttl_minutes": 10,
    "kubeconfig": "~/.kube/kubeproof",
    "ignore_preflight_errors": [],
    "ignore_findings": [],
    "patience": 1.0,
}

NODES = (
    Node("master", IPv4Address("192.0.2.11"), "control-plane"),
    Node("node1", IPv4Address("192.0.2.12"), "worker"),
    Node("node2", IPv4Address("192.0.2.13"), "worker"),
)


def cluster(**changes: Any) -> Cluster:
    """A cluster of three nodes with some settings changed."""
    return Cluster(replace(parse(RAW), **changes), NODES)
