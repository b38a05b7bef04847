"""A cluster to render and compute with."""

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

from kubeproof.config.cluster import Cluster, Node
from kubeproof.config.settings import parse
from tests.unit.samples import SETTINGS

RAW: dict[str, object] = {
    **SETTINGS,
    "kubernetes_apt_url": "http://192.0.2.1:3142/kubernetes/",
    "kubernetes_apt_key": "/key.asc",
    "image_repository": "192.0.2.1:5000",
    "etcd_image_tag": "",
    "node_network": "192.0.2.0/24",
    "service_cidr": "10.96.0.0/12",
    "insecure_registries": ["192.0.2.1:5000"],
    "podnet_image": "192.0.2.1:5000/podnet:1",
    "httpd_image": "192.0.2.1:5000/httpd:1",
    "kuard_image": "192.0.2.1:5000/kuard:1",
    "probe_image": "192.0.2.1:5000/probe:1",
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
