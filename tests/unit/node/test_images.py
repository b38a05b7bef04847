from kubeproof.node.images import images_for
from tests.unit.node.example import cluster

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
