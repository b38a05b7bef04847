"""The container runtime: it runs, now and after a boot, and the containers of a pod share its pause's namespace."""

import pytest
from testinfra.host import Host

from kubeproof.config.settings import Settings


def test_service(host: Host, settings: Settings) -> None:
    service = host.service(settings.container_runtime)
    assert (service.is_running, service.is_enabled) == (True, True)


@pytest.mark.runtime("docker")
def test_cgroup_driver(host: Host, settings: Settings) -> None:
    assert host.check_output("docker info --format '{{.CgroupDriver}}'") == settings.cgroup_driver


@pytest.mark.runtime("containerd")
def test_cgroup_driver_of_containerd(host: Host, settings: Settings) -> None:
    lines = host.check_output("containerd config dump").splitlines()
    found = {line.partition(" = ")[2] for line in lines if line.strip().startswith("SystemdCgroup")}
    assert found == {str(settings.cgroup_driver == "systemd").lower()}


@pytest.mark.runtime("docker")
def test_dockers_own_bridge_has_no_carrier(host: Host) -> None:
    assert host.interface("docker0").link[0]["operstate"] == "DOWN"


@pytest.mark.runtime("docker")
def test_containers_share_the_namespace_of_their_pause(host: Host) -> None:
    containers = [each.inspect() for each in host.docker.get_containers(status="running")]
    modes = {it["Id"]: it["HostConfig"]["NetworkMode"] for it in containers}
    kinds = {it["Id"]: it["Config"]["Labels"].get("io.kubernetes.docker.type") for it in containers}
    pauses = {f"container:{key}" for key, kind in kinds.items() if kind == "podsandbox"}
    assert {modes[key] for key, kind in kinds.items() if kind == "container"} - pauses - {"host"} == set()
    assert pauses != set(), "expected pause containers, found none"
