"""Which settings a running cluster cannot take, and what is said of them."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from kubeproof.config.cluster import Node
from kubeproof.node.changed_settings import DEFAULT, InUse, findings
from tests.unit.node.example import NODES, cluster

KUBELET = {"cgroupDriver": "systemd", "clusterDomain": "cluster.local"}
SERVER = "https://192.0.2.11:6443"
LEADER = InUse(
    arguments={
        "cluster-cidr": "10.244.0.0/16",
        "node-cidr-mask-size": "24",
        "service-cluster-ip-range": "10.96.0.0/12",
        "service-node-port-range": "30000-33000",
    },
    images={"kube-apiserver": "192.0.2.1:5000/kube-apiserver:v1.20.2", "etcd": "192.0.2.1:5000/etcd:3.4.23"},
    kubelet=KUBELET,
    server=SERVER,
    node_ip="192.0.2.11",
    deployments=("coredns",),
    proxy_mode="iptables",
    conntrack=DEFAULT,
)
IN_USE = {
    "master": LEADER,
    "node1": InUse(kubelet=KUBELET, server=SERVER, node_ip="192.0.2.12"),
    "node2": InUse(kubelet=KUBELET, server=SERVER, node_ip="192.0.2.13"),
}


def test_a_cluster_of_these_settings_has_no_findings() -> None:
    assert findings(cluster(), IN_USE) == []
    assert findings(cluster(etcd_image_tag="3.4.23"), IN_USE) == []


def test_hosts_without_a_cluster_have_none() -> None:
    assert findings(cluster(api_port=1), {name: InUse() for name in IN_USE}) == []
    assert findings(cluster(api_port=1), {}) == []


@pytest.mark.parametrize(
    ("changed", "host", "found"),
    [
        ({"pod_cidr": IPv4Network("10.9.0.0/16")}, "master", "pod_cidr is 10.244.0.0/16"),
        ({"pod_subnet_bits": 25}, "master", "pod_subnet_bits is 24"),
        ({"service_cidr": IPv4Network("10.9.0.0/16")}, "master", "service_cidr is 10.96.0.0/12"),
        ({"node_port_range": "1-2"}, "master", "node_port_range is 30000-33000"),
        ({"image_repository": "x"}, "master", "image_repository is 192.0.2.1:5000"),
        ({"kubernetes_version": "1.20.3"}, "master", "kubernetes_version is 1.20.2"),
        ({"etcd_image_tag": "3.5"}, "master", "etcd_image_tag is 3.4.23"),
        ({"cluster_dns": "dnsmasq"}, "master", "cluster_dns is coredns"),
        ({"kube_proxy_mode": "ipvs"}, "master", "kube_proxy_mode is iptables"),
        ({"conntrack_max_per_core": 0}, "master", f"conntrack_max_per_core is {DEFAULT}"),
        ({"api_port": 7443}, "master, node1, node2", "api_port is 6443"),
        ({"cgroup_driver": "cgroupfs"}, "master, node1, node2", "cgroup_driver is systemd"),
        ({"cluster_domain": "x.local"}, "master, node1, node2", "cluster_domain is cluster.local"),
    ],
)
def test_each_setting_is_told_with_the_old_value(changed: dict[str, Any], host: str, found: str) -> None:
    (finding,) = findings(cluster(**changed), IN_USE)
    assert (finding.name, finding.host, finding.severity) == ("changed-setting", host, "error")
    assert finding.found.startswith(f"{found} in the running cluster and ")
    (value,) = changed.values()
    assert finding.found.endswith(f"and {value} in the settings")
    assert "`./inv reset` and then `./inv apply`" in finding.remedy
    assert "\n" not in str(finding)


def test_another_leader_is_told_once() -> None:
    master, node1, node2 = NODES
    swapped = replace(cluster(), nodes=(replace(node1, role="control-plane"), replace(master, role="worker"), node2))
    (finding,) = findings(swapped, IN_USE)
    assert finding.host == "node1, master, node2"
    assert "address of the control plane host is 192.0.2.11 in the running cluster and 192.0.2.12" in finding.found


def test_another_address_of_a_worker() -> None:
    moved = replace(cluster(), nodes=(*NODES[:2], Node("node2", IPv4Address("192.0.2.99"), "worker")))
    (finding,) = findings(moved, IN_USE)
    assert "address of node2 is 192.0.2.13 in the running cluster and 192.0.2.99 in the settings" in finding.found


def test_another_minor_version_is_told_elsewhere() -> None:
    assert findings(cluster(kubernetes_version="1.21.0"), IN_USE) == []


def test_a_host_on_which_kubeadm_was_interrupted_begins_anew() -> None:
    unfinished = {"master": replace(LEADER, unfinished=True)}
    assert findings(cluster(pod_cidr=IPv4Network("10.9.0.0/16"), api_port=1), unfinished) == []


def test_two_dns_servers_are_no_former_setting() -> None:
    both = {"master": replace(LEADER, deployments=("coredns", "kube-dns"))}
    assert findings(cluster(cluster_dns="dnsmasq"), both) == []
