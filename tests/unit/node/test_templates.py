import json
from typing import Any

import pytest
import yaml
from jinja2 import UndefinedError

from kubeproof.config.tables import paths
from kubeproof.config.tables.runtimes import NAMES
from kubeproof.config.tables.version_traits import BORDERS, PROXY_MODES
from kubeproof.node import templates
from kubeproof.node.joining import Credentials
from kubeproof.node.kubeadm_config import ignored_errors, init_config, join_config
from tests.unit.node.example import cluster


def documents(text: str) -> dict[str, dict[str, Any]]:
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


class TestInitConfiguration:
    def test_what_the_settings_say(self) -> None:
        found = documents(init_config(cluster(conntrack_max_per_core=0, etcd_image_tag="3.4.23")))
        init = found["InitConfiguration"]
        assert init["localAPIEndpoint"] == {"advertiseAddress": "192.0.2.11", "bindPort": 6443}
        assert init["bootstrapTokens"] == [{"ttl": "10m0s"}]
        assert init["nodeRegistration"]["name"] == "master"
        assert init["nodeRegistration"]["kubeletExtraArgs"]["node-ip"] == "192.0.2.11"
        assert "taints" not in init["nodeRegistration"]
        assert found["ClusterConfiguration"] == {
            "apiVersion": "kubeadm.k8s.io/v1beta2",
            "kind": "ClusterConfiguration",
            "kubernetesVersion": "v1.20.2",
            "imageRepository": "192.0.2.1:5000",
            "networking": {"podSubnet": "10.244.0.0/16", "serviceSubnet": "10.96.0.0/12", "dnsDomain": "cluster.local"},
            "apiServer": {"extraArgs": {"service-node-port-range": "30000-33000"}},
            "controllerManager": {"extraArgs": {"node-cidr-mask-size": "24"}},
            "etcd": {"local": {"imageTag": "3.4.23"}},
        }
        assert found["KubeletConfiguration"]["cgroupDriver"] == "systemd"
        assert found["KubeletConfiguration"]["clusterDNS"] == ["10.96.0.10"]
        assert found["KubeProxyConfiguration"]["mode"] == "iptables"
        assert found["KubeProxyConfiguration"]["clusterCIDR"] == "10.244.0.0/16"
        assert found["KubeProxyConfiguration"]["conntrack"] == {"maxPerCore": 0}

    def test_what_is_left_to_kubeadm(self) -> None:
        found = documents(init_config(cluster()))
        assert "etcd" not in found["ClusterConfiguration"]
        assert "conntrack" not in found["KubeProxyConfiguration"]

    @pytest.mark.parametrize("mode", PROXY_MODES)
    def test_the_mode_of_kube_proxy(self, mode: str) -> None:
        assert documents(init_config(cluster(kube_proxy_mode=mode)))["KubeProxyConfiguration"]["mode"] == mode

    def test_image_pull_is_ignored_only_without_coredns(self) -> None:
        assert ignored_errors(cluster()) == []
        assert ignored_errors(cluster(cluster_dns="dnsmasq", ignore_preflight_errors=("NumCPU",))) == [
            "NumCPU",
            "ImagePull",
        ]


MADE = Credentials("abcdef.0123456789abcdef", "sha256:00")


def test_join_configuration() -> None:
    wanted = cluster()
    join = documents(join_config(wanted, wanted.nodes[1], MADE))["JoinConfiguration"]
    assert join == {
        "apiVersion": "kubeadm.k8s.io/v1beta2",
        "kind": "JoinConfiguration",
        "discovery": {
            "bootstrapToken": {
                "apiServerEndpoint": "192.0.2.11:6443",
                "token": "abcdef.0123456789abcdef",
                "caCertHashes": ["sha256:00"],
            }
        },
        "nodeRegistration": {
            "name": "node1",
            "kubeletExtraArgs": {"node-ip": "192.0.2.12", "pod-infra-container-image": "192.0.2.1:5000/pause:3.2"},
            "ignorePreflightErrors": [],
        },
    }


@pytest.mark.parametrize("minor", BORDERS)
@pytest.mark.parametrize("runtime", NAMES)
def test_every_era_has_its_api_socket_and_arguments(minor: str, runtime: str) -> None:
    wanted = cluster(kubernetes_version=f"{minor}.1", container_runtime=runtime)
    era = wanted.settings.era
    found = documents(init_config(wanted))
    api = f"kubeadm.k8s.io/{era.kubeadm_api}"
    join = documents(join_config(wanted, wanted.nodes[1], MADE))["JoinConfiguration"]
    assert {found["InitConfiguration"]["apiVersion"], found["ClusterConfiguration"]["apiVersion"]} == {api}
    assert join["apiVersion"] == api
    for registration in (found["InitConfiguration"]["nodeRegistration"], join["nodeRegistration"]):
        assert registration.get("criSocket", "") == wanted.settings.runtime.cri_socket
        arguments = as_mapping(registration["kubeletExtraArgs"], era.kubeadm_api)
        assert ("pod-infra-container-image" in arguments) == era.pause_flag
        assert "node-ip" in arguments
    server = as_mapping(found["ClusterConfiguration"]["apiServer"]["extraArgs"], era.kubeadm_api)
    assert server == {"service-node-port-range": "30000-33000"}


def as_mapping(arguments: Any, api: str) -> dict[str, str]:
    """extraArgs in the form that the API has: a mapping until v1beta3, then a list."""
    if api != "v1beta4":
        assert isinstance(arguments, dict)
        return arguments
    assert all(set(item) == {"name", "value"} for item in arguments)
    return {item["name"]: item["value"] for item in arguments}


@pytest.mark.parametrize(
    ("version", "repository", "where"),
    [
        ("1.20.2", "registry.k8s.io", None),
        ("1.21.0", "registry.k8s.io", "registry.k8s.io/coredns"),
        ("1.21.0", "mirror.example.net/k8s", None),
        ("1.37.0", "registry.k8s.io", "registry.k8s.io/coredns"),
    ],
)
def test_coredns_is_looked_for_where_public_registries_have_it(
    version: str, repository: str, where: str | None
) -> None:
    wanted = cluster(kubernetes_version=version, image_repository=repository)
    found = documents(init_config(wanted))["ClusterConfiguration"].get("dns", {})
    assert found.get("imageRepository") == where


def test_docker_configuration() -> None:
    assert json.loads(templates.render("daemon.json.j2", settings=cluster().settings, enforcing=False)) == {
        "exec-opts": ["native.cgroupdriver=systemd"],
        "storage-driver": "overlay2",
        "log-driver": "json-file",
        "log-opts": {"max-size": "10m", "max-file": "3"},
        "insecure-registries": ["192.0.2.1:5000"],
        "registry-mirrors": [],
    }


def test_hosts_and_apt_source() -> None:
    assert templates.render("hosts.j2", cluster=cluster()) == "192.0.2.11 master\n192.0.2.12 node1\n192.0.2.13 node2\n"
    source = templates.render("kubernetes.list.j2", url="http://192.0.2.1:3142/kubernetes/", keyring=paths.APT_KEYRING)
    assert source == "deb [signed-by=/etc/apt/keyrings/kubernetes.asc] http://192.0.2.1:3142/kubernetes/ /\n"


@pytest.mark.parametrize("name", ["podnet", "cluster-dns", "httpd", "kuard"])
def test_objects_are_what_kubectl_takes(name: str) -> None:
    wanted = cluster(cluster_dns="dnsmasq", cluster_dns_image="dns:1")
    text = templates.objects(f"{name}.yaml.j2", wanted)
    for document in yaml.safe_load_all(text):
        assert {"apiVersion", "kind", "metadata"} <= set(document)


def test_variable_that_is_not_given() -> None:
    with pytest.raises(UndefinedError):
        templates.render("hosts.j2")


@pytest.mark.parametrize("template", ["podnet.yaml.j2", "cluster-dns.yaml.j2", "httpd.yaml.j2", "kuard.yaml.j2"])
def test_probes_that_start_a_process_leave_a_host_under_load_the_time_for_it(template: str) -> None:
    pods = [
        item["spec"]["template"]["spec"]
        for item in yaml.safe_load_all(templates.objects(template, cluster()))
        if item and item["kind"] in ("DaemonSet", "Deployment")
    ]
    assert pods
    probes = [item for pod in pods for part in pod["containers"] for name, item in part.items() if "Probe" in name]
    # More than ten seconds were seen in an emulated virtual machine.
    assert all(probe.get("timeoutSeconds", 1) >= 30 for probe in probes if "exec" in probe)
