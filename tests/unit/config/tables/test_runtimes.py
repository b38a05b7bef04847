"""The table of container runtimes."""

import subprocess

import pytest

from kubeproof.config.tables.runtimes import NAMES, full_reference, references, runtime_of
from kubeproof.config.tables.version_traits import ERAS


@pytest.mark.parametrize(
    ("name", "minor", "socket", "reset"),
    [
        ("docker", "1.20", "", "/var/run/dockershim.sock"),
        ("docker", "1.23", "", "/var/run/dockershim.sock"),
        ("docker", "1.24", "unix:///run/cri-dockerd.sock", "unix:///run/cri-dockerd.sock"),
        ("containerd", "1.20", "unix:///run/containerd/containerd.sock", "unix:///run/containerd/containerd.sock"),
        ("containerd", "1.37", "unix:///run/containerd/containerd.sock", "unix:///run/containerd/containerd.sock"),
    ],
)
def test_sockets(name: str, minor: str, socket: str, reset: str) -> None:
    runtime = runtime_of(name, ERAS[minor])
    assert (runtime.cri_socket, runtime.reset_socket) == (socket, reset)
    assert runtime.cri_dockerd == (name == "docker" and minor == "1.24")


@pytest.mark.parametrize("name", NAMES)
def test_commands_are_shell_that_a_shell_takes(name: str) -> None:
    runtime = runtime_of(name, ERAS["1.24"])
    for text in (runtime.has_image, runtime.pull, runtime.list_pods, runtime.remove_pods, runtime.look):
        subprocess.run(["sh", "-n", "-c", text], check=True)


@pytest.mark.parametrize(
    ("written", "full"),
    [
        ("podnet:1", "docker.io/library/podnet:1"),
        ("me/podnet", "docker.io/me/podnet:latest"),
        ("registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.9"),
        ("192.0.2.1:5000/a", "192.0.2.1:5000/a:latest"),
        ("localhost/a:1", "localhost/a:1"),
        ("r.example/a@sha256:00", "r.example/a@sha256:00"),
    ],
)
def test_references(written: str, full: str) -> None:
    assert full_reference(written) == full
    assert references(runtime_of("containerd", ERAS["1.20"]), (written,)) == (full,)
    assert references(runtime_of("docker", ERAS["1.20"]), (written,)) == (written,)
