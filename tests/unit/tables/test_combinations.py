"""What goes together, and in which words the rest is refused."""

import pytest

from kubeproof.tables import combinations
from kubeproof.tables.eras import ERAS
from kubeproof.tables.runtimes import runtime_of
from kubeproof.tables.systems import SYSTEMS, numbers, system_of

CONTAINERD = "///run/containerd/containerd.sock"


@pytest.mark.parametrize(
    ("minor", "runtime", "kubelet", "socket", "said"),
    [
        ("1.20", "docker", "", "", ""),
        ("1.20", "docker", "1.20.2", "", ""),
        ("1.20", "containerd", "1.20.15", CONTAINERD, ""),
        ("1.31", "docker", "1.20.2", "", "is a node of Kubernetes 1.20.2, and kubernetes_version is of 1.31"),
        ("1.20", "docker", "1.31.0", CONTAINERD, "clusters are not upgraded, they are reset before it is changed"),
        ("1.20", "containerd", "1.20.2", "", "speaks with Docker, and container_runtime is containerd"),
        ("1.20", "docker", "1.20.2", CONTAINERD, "speaks with /run/containerd/containerd.sock"),
        ("1.31", "docker", "1.31.2", "///run/cri-dockerd.sock", ""),
        ("1.31", "docker", "1.31.2", CONTAINERD, "container_runtime is docker"),
        ("1.35", "docker", "1.35.2", "", ""),
    ],
)
def test_a_host_that_is_a_node_already(minor: str, runtime: str, kubelet: str, socket: str, said: str) -> None:
    era = ERAS[minor]
    found = "; ".join(combinations.of_node(era, runtime_of(runtime, era), kubelet, socket))
    assert (said in found) if said else not found


@pytest.mark.parametrize("own", [True, False])
def test_nothing_is_known_of_a_package_of_the_users_own(own: bool) -> None:
    found = list(combinations.of_system(ERAS["1.20"], "docker", SYSTEMS["debian 13"], own_package=own))
    assert bool(found) == (not own)


@pytest.mark.parametrize(("minor", "said"), [("1.23", []), ("1.24", ["has Docker 20, and cri-dockerd"])])
def test_cri_dockerd_wants_a_newer_docker_than_debian_12_has(minor: str, said: list[str]) -> None:
    found = list(combinations.of_system(ERAS[minor], "docker", SYSTEMS["debian 12"], own_package=False))
    assert [line[: len("has Docker 20, and cri-dockerd")] for line in found] == said


def test_a_kernel_may_be_allowed() -> None:
    era = ERAS["1.32"]
    assert list(combinations.of_kernel(era, "4.18.0-553.el8", "cgroup2fs", verified=True))
    assert not list(combinations.of_kernel(era, "4.18.0-553.el8", "cgroup2fs", verified=False))
    assert not list(combinations.of_kernel(era, "4.19.1", "cgroup2fs", verified=True))
    assert not list(combinations.of_kernel(ERAS["1.35"], "", "", verified=True))


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("debian 12", "debian 12"),
        ("ubuntu 24.04", "ubuntu 24.04"),
        ("rhel 9.4", "rhel 9"),
        ("rocky 8.10", "rhel 8"),
        ("almalinux 9", "rhel 9"),
        ("rhel 10.0", None),
        ("debian 11", None),
        ("ubuntu 20.04", None),
        ("", None),
    ],
)
def test_systems(written: str, key: str | None) -> None:
    found = system_of(written)
    assert (found.key if found else None) == key


def test_versions_as_numbers() -> None:
    assert numbers("4.18.0-553.el8_10.x86_64") == (4, 18, 0)
    assert numbers("6.1") == (6, 1)
    assert numbers("unknown") == ()
