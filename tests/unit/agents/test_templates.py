"""The cluster objects around the agents: rendered with every variable defined, and of one piece."""

from ipaddress import IPv4Address, IPv4Network
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from kubeproof.config.tables.version_traits import ERAS
from kubeproof.node import templates

NAMES = ("podnet", "cluster-dns", "httpd", "kuard")
SETTINGS = SimpleNamespace(
    era=ERAS["1.20"],
    podnet_image="mirror:5000/podnet:1",
    cluster_dns_image="mirror:5000/cluster-dns:1",
    httpd_image="mirror:5000/httpd:1",
    kuard_image="mirror:5000/kuard:1",
    probe_image="mirror:5000/probe:1",
    network_policy=True,
    httpd_node_port=33000,
    api_port=6443,
    pod_cidr=IPv4Network("10.244.0.0/16"),
    service_cidr=IPv4Network("10.1.0.0/16"),
    cluster_dns_address=IPv4Address("10.1.0.10"),
    cluster_domain="cluster.local",
    vxlan_vni=1,
    vxlan_port=8472,
)
CLUSTER = SimpleNamespace(leader=SimpleNamespace(name="k8s-master", address=IPv4Address("192.168.200.11")))


def objects(name: str, settings: SimpleNamespace = SETTINGS) -> list[dict[str, Any]]:
    text = templates.render(f"{name}.yaml.j2", cluster=CLUSTER, settings=settings)
    return list(yaml.safe_load_all(text))


def one(name: str, kind: str) -> dict[str, Any]:
    (found,) = [item for item in objects(name) if item["kind"] == kind]
    return found


def environment_of(workload: dict[str, Any]) -> dict[str, str]:
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


@pytest.mark.parametrize("name", NAMES)
def test_selectors_select_and_every_value_of_the_environment_is_text(name: str) -> None:
    for item in objects(name):
        if item["kind"] in {"Deployment", "DaemonSet"}:
            labels = item["spec"]["template"]["metadata"]["labels"]
            assert item["spec"]["selector"]["matchLabels"].items() <= labels.items()
            assert all(isinstance(value, str) for value in environment_of(item).values())
        if item["kind"] == "Service":
            workload = one(name, "Deployment")
            assert item["spec"]["selector"].items() <= workload["spec"]["template"]["metadata"]["labels"].items()


def test_podnet_talks_to_the_control_plane_directly() -> None:
    daemon_set = one("podnet", "DaemonSet")
    assert environment_of(daemon_set) == {
        "KUBERNETES_SERVICE_HOST": "192.168.200.11",
        "KUBERNETES_SERVICE_PORT": "6443",
        "POD_CIDR": "10.244.0.0/16",
        "VXLAN_VNI": "1",
        "VXLAN_PORT": "8472",
        "NETWORK_POLICY": "enforce",
    }
    spec = daemon_set["spec"]["template"]["spec"]
    assert spec["hostNetwork"] is True
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["containers"][0]["securityContext"]["capabilities"] == {
        "drop": ["ALL"],
        "add": ["NET_ADMIN", "NET_RAW"],
    }


def test_podnet_may_do_no_more_than_it_needs() -> None:
    rules = one("podnet", "ClusterRole")["rules"]
    read = ["get", "list", "watch"]
    assert rules == [
        {"apiGroups": [""], "resources": ["nodes"], "verbs": [*read, "patch"]},
        {"apiGroups": [""], "resources": ["pods", "namespaces"], "verbs": read},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": read},
    ]


def test_podnet_tells_others_on_the_node_what_is_in_force() -> None:
    spec = one("podnet", "DaemonSet")["spec"]["template"]["spec"]
    (mount,) = [mount for mount in spec["containers"][0]["volumeMounts"] if mount["mountPath"] == "/run/podnet"]
    (volume,) = [volume for volume in spec["volumes"] if volume["name"] == mount["name"]]
    assert volume["hostPath"] == {"path": "/run/podnet", "type": "DirectoryOrCreate"}


def test_network_policy_can_be_switched_off() -> None:
    off = SimpleNamespace(**{**vars(SETTINGS), "network_policy": False})
    (daemon_set,) = [item for item in objects("podnet", off) if item["kind"] == "DaemonSet"]
    assert environment_of(daemon_set)["NETWORK_POLICY"] == "off"


def test_dns_service_has_the_address_that_kubelet_writes() -> None:
    service = one("cluster-dns", "Service")
    assert service["metadata"]["name"] == "kube-dns"
    assert service["spec"]["clusterIP"] == "10.1.0.10"
    ports = {(port["name"], port["protocol"], port["port"]) for port in service["spec"]["ports"]}
    assert ports == {("dns", "UDP", 53), ("dns-tcp", "TCP", 53)}


@pytest.mark.parametrize(
    ("name", "labels", "service", "port", "target"),
    [
        ("httpd", {"name": "networkpolicy-demo"}, "httpd-svc", 8080, 80),
        ("kuard", {"app": "kuard"}, "kuard", 80, 8080),
    ],
)
def test_demo(name: str, labels: dict[str, str], service: str, port: int, target: int) -> None:
    deployment = one(name, "Deployment")
    assert deployment["spec"]["replicas"] == 3
    assert deployment["spec"]["template"]["metadata"]["labels"] == labels
    found = one(name, "Service")
    assert found["metadata"]["name"] == service
    assert (found["spec"]["ports"][0]["port"], found["spec"]["ports"][0]["targetPort"]) == (port, target)
    assert found["spec"]["ports"][0].get("nodePort") == (33000 if name == "httpd" else None)


@pytest.mark.parametrize("minor", ["1.20", "1.24", "1.25"])
def test_dns_runs_on_control_plane_nodes_whatever_their_taint(minor: str) -> None:
    settings = SimpleNamespace(**{**vars(SETTINGS), "era": ERAS[minor]})
    (deployment,) = [item for item in objects("cluster-dns", settings) if item["kind"] == "Deployment"]
    tolerated = {item["key"] for item in deployment["spec"]["template"]["spec"]["tolerations"]}
    assert set(ERAS[minor].taints) <= tolerated
