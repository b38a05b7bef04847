"""What kubeadm makes of a host: kubelet, its packages and files, the control plane, and a node that is Ready."""

import pytest
import yaml
from testinfra.host import Host

from kubeproof.config.cluster import Node
from kubeproof.config.settings import Settings
from tests.cluster.conftest import Api


def test_kubelet(host: Host) -> None:
    kubelet = host.service("kubelet")
    assert (kubelet.is_running, kubelet.is_enabled, host.socket("tcp://10250").is_listening) == (True, True, True)


@pytest.mark.parametrize("name", ["kubeadm", "kubelet", "kubectl"])
def test_packages(host: Host, settings: Settings, name: str) -> None:
    assert host.package(name).version.partition("-")[0] == settings.kubernetes_version


def test_cgroup_driver_of_kubelet(host: Host, settings: Settings) -> None:
    config = yaml.safe_load(host.file("/var/lib/kubelet/config.yaml").content_string)
    assert config["cgroupDriver"] == settings.cgroup_driver


def test_kubeconfig_is_roots_alone(host: Host) -> None:
    file = host.file("/etc/kubernetes/kubelet.conf")
    assert (file.user, oct(file.mode)) == ("root", "0o600")


@pytest.mark.role("control-plane")
@pytest.mark.parametrize("name", ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"])
def test_control_plane(host: Host, api: Api, node: Node, name: str) -> None:
    pods = [pod["status"]["phase"] for pod in api.items("pods") if pod["metadata"]["name"] == f"{name}-{node.name}"]
    assert (host.file(f"/etc/kubernetes/manifests/{name}.yaml").exists, pods) == (True, ["Running"])


@pytest.mark.role("worker")
def test_reaches_the_api(host: Host, others: list[Node], settings: Settings) -> None:
    leader = next(str(other.address) for other in others if other.role == "control-plane")
    assert host.addr(leader).port(settings.api_port).is_reachable, f"expected an answer by {leader}, found none"


def test_node_is_ready(api: Api, node: Node, settings: Settings) -> None:
    status = next(item["status"] for item in api.items("nodes") if item["metadata"]["name"] == node.name)
    ready = next(each["status"] for each in status["conditions"] if each["type"] == "Ready")
    addresses = [each["address"] for each in status["addresses"] if each["type"] == "InternalIP"]
    assert (ready, addresses) == ("True", [str(node.address)])
    assert status["nodeInfo"]["kubeletVersion"] == f"v{settings.kubernetes_version}"
