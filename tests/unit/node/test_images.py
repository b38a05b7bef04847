import os
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from kubeproof.deploy.facts.packages import MissingImages
from kubeproof.node.images import answered, asks_kubeadm, has_present_image, images_for, list_command
from tests.unit.node.example import cluster
from tests.unit.serving import serving

SETTINGS = cluster().settings
HERE = "192.0.2.1:5000"


def test_control_plane_has_what_kubeadm_starts() -> None:
    assert images_for("control-plane", SETTINGS, (f"{HERE}/podnet:1",)) == (
        f"{HERE}/kube-proxy:v1.20.2",
        f"{HERE}/pause:3.2",
        f"{HERE}/kube-apiserver:v1.20.2",
        f"{HERE}/kube-controller-manager:v1.20.2",
        f"{HERE}/kube-scheduler:v1.20.2",
        f"{HERE}/etcd:3.4.13-0",
        f"{HERE}/podnet:1",
        f"{HERE}/coredns:1.7.0",
    )


def test_worker_has_the_demo_and_nothing_of_the_control_plane() -> None:
    assert images_for("worker", SETTINGS, (f"{HERE}/podnet:1",)) == (
        f"{HERE}/kube-proxy:v1.20.2",
        f"{HERE}/pause:3.2",
        f"{HERE}/podnet:1",
        f"{HERE}/coredns:1.7.0",
        f"{HERE}/httpd:1",
        f"{HERE}/kuard:1",
    )


def test_settings_choose() -> None:
    settings = cluster(
        demo=False, etcd_image_tag="3.4.23", pause_image_tag="3.9", cluster_dns="dnsmasq", cluster_dns_image="dns:1"
    ).settings
    assert images_for("worker", settings, ("net:1", "net:2"))[1:] == (f"{HERE}/pause:3.9", "net:1", "net:2", "dns:1")
    assert f"{HERE}/etcd:3.4.23" in images_for("control-plane", settings, ())


TOLD = """registry.k8s.io/kube-proxy:v1.31.2
registry.k8s.io/coredns/coredns:v1.11.3
registry.k8s.io/pause:3.10
registry.k8s.io/etcd:3.5.15-0
""".splitlines()


def test_tags_that_differ_between_patch_releases_are_kubeadms_to_tell() -> None:
    settings = cluster(kubernetes_version="1.31.2", image_repository="registry.k8s.io").settings
    assert asks_kubeadm("control-plane", settings) == ("etcd", "coredns")
    assert asks_kubeadm("worker", settings) == ("coredns",)
    assert not [image for image in images_for("control-plane", settings, ()) if "etcd" in image or "coredns" in image]
    assert answered(TOLD, ("etcd", "coredns"), settings) == (
        "registry.k8s.io/etcd:3.5.15-0",
        "registry.k8s.io/coredns/coredns:v1.11.3",
    )
    assert list_command(settings)[-4:] == ("--kubernetes-version", "v1.31.2", "--image-repository", "registry.k8s.io")
    assert asks_kubeadm("control-plane", SETTINGS) == ()


def test_kubeadm_that_knows_only_the_other_registry_is_corrected() -> None:
    """kubeadm 1.24 has k8s.gcr.io by default, and takes registry.k8s.io for a mirror without folders."""
    settings = cluster(kubernetes_version="1.24.1", image_repository="registry.k8s.io").settings
    assert answered(["registry.k8s.io/coredns:v1.8.6"], ("coredns",), settings) == (
        "registry.k8s.io/coredns/coredns:v1.8.6",
    )


class Registry(BaseHTTPRequestHandler):
    """Serves one manifest, as the OCI distribution specification has it."""

    digest = "sha256:" + "1" * 64

    def do_HEAD(self) -> None:  # http.server's own name
        there = self.path == "/v2/folder/app/manifests/v1" and "manifest.list.v2+json" in self.headers["Accept"]
        self.send_response(200 if there else 404)
        if there:
            self.send_header("Docker-Content-Digest", self.digest)
        self.end_headers()

    def log_message(self, *_words: object) -> None:
        """Not into the test's output."""


@pytest.fixture
def registry() -> Iterator[str]:
    with serving(HTTPServer(("127.0.0.1", 0), Registry)) as server:
        yield f"127.0.0.1:{server.server_port}"


@pytest.mark.parametrize("runtime", ["docker", "containerd"])
@pytest.mark.parametrize(
    ("here", "image", "present"),
    [
        (Registry.digest, "folder/app:v1", True),
        ("sha256:" + "2" * 64, "folder/app:v1", False),
        ("", "folder/app:v1", False),
        # not there, or not to be asked: what the host has is taken
        ("sha256:" + "2" * 64, "folder/app:v2", True),
        ("sha256:" + "2" * 64, "folder/app", True),
        ("sha256:" + "2" * 64, f"folder/app@{Registry.digest}", True),
    ],
)
def test_another_image_under_the_same_tag_is_fetched(
    registry: str, tmp_path: Path, runtime: str, here: str, image: str, present: bool
) -> None:
    settings = cluster(container_runtime=runtime, docker_package="", insecure_registries=(registry,)).settings
    reference = f"{registry}/{image}"
    for name, answer in (("docker", f"[{registry}/x@{here}]"), ("ctr", f"{reference} application/x {here} 1MiB")):
        listed = f'case "$*" in *--quiet*) echo {reference};; *) echo "{answer}";; esac'
        (tmp_path / name).write_text(f"#!/bin/sh\n{listed}\n")
        (tmp_path / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def missing(images: list[str]) -> list[str]:
        command = MissingImages().command(images=images, has_image=f"{{ {has_present_image(settings)}; }}")
        done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True, env=environment)
        return MissingImages().process(done.stdout.splitlines())

    assert missing([reference]) == ([] if present else [reference])


def test_other_registries_are_not_asked() -> None:
    assert has_present_image(cluster(insecure_registries=()).settings) == SETTINGS.runtime.has_image
    assert has_present_image(cluster(insecure_registries=("10.0.0.0/8",)).settings) == SETTINGS.runtime.has_image
