"""Each published manifest: what was meant to change has changed, object by object, and nothing else."""

import json
import re
import shutil
import subprocess
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeproof.networks import api, documents, plugins, references
from kubeproof.networks.manifest import Manifest, Pinned
from kubeproof.networks.network import NODE_ADDRESS
from kubeproof.networks.plan import build
from kubeproof.networks.registry import NETWORKS, PINNED
from kubeproof.terminal.errors import UserError
from tests.unit.networks.upstream import ABSENT, by_identity, changes, differences, manifest, objects, pinned
from tests.unit.node.example import cluster

ALL = pytest.mark.parametrize("which", PINNED, ids=lambda item: item.title)
FLANNELD = pytest.mark.parametrize(
    "which", [item for item in PINNED if item.project != "calico"], ids=lambda i: i.title
)
CALICO = pytest.mark.parametrize("which", [item for item in PINNED if item.project == "calico"], ids=lambda i: i.title)
FLANNEL = pytest.mark.parametrize(
    "which", [item for item in PINNED if item.project == "flannel"], ids=lambda i: i.title
)
CANAL = pytest.mark.parametrize("which", [item for item in PINNED if item.project == "canal"], ids=lambda i: i.title)
DEFAULT_PODS = IPv4Network("10.244.0.0/16")
PODS = IPv4Network("10.9.0.0/16")
POOL = {"name": "CALICO_IPV4POOL_CIDR", "value": "10.244.0.0/16"}
HOST_IP = {"valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}


def manifest_of(which: Pinned) -> Manifest:
    found = NETWORKS[which.project].manifest
    assert found
    return found


def changed(which: Pinned, **more: Any) -> dict[str, tuple[Any, Any]]:
    """What fitting changes; the Pool variable of Canal, which is always set, is checked and left out."""
    before = objects(which)
    settings = cluster(**{"cni": which.project, "cni_interface": "", **more}).settings
    found = changes(before, manifest_of(which).patch(before, settings, settings.cni_mtu, which.title))
    if which.project == "canal":
        pool = found.pop(f"{workload(which)}/containers/calico-node/env/CALICO_IPV4POOL_CIDR")
        assert pool == (ABSENT, {**POOL, "value": str(more.get("pod_cidr", DEFAULT_PODS))})
    return found


@ALL
def test_nothing_in_it_is_for_one_architecture(which: Pinned) -> None:
    """No selector and no image: each node gets its own out of an index."""
    assert not re.search(r"\b(amd64|arm64|x86_64)\b|kubernetes\.io/arch", manifest(which))


def config(which: Pinned) -> str:
    return f"{_path(which, 'ConfigMap', manifest_of(which).config_map)}/data"


def workload(which: Pinned) -> str:
    return f"{_path(which, 'DaemonSet', manifest_of(which).daemon_set)}/spec/template/spec"


def _path(which: Pinned, kind: str, name: str) -> str:
    """Where changes of an object are."""
    return next(path for path in by_identity(objects(which)) if re.fullmatch(rf"{kind} \S+/{name}", path))


def parsed(found: dict[str, tuple[Any, Any]], path: str) -> dict[str, tuple[Any, Any]]:
    """A changed text of JSON as the changes in it; it is taken out of what was found."""
    before, after = found.pop(path)
    return {where: (old, new) for where, old, new in differences(json.loads(before), json.loads(after))}


@FLANNELD
def test_without_wishes_nothing_changes(which: Pinned) -> None:
    assert changed(which) == {}


@FLANNELD
def test_pod_cidr(which: Pinned) -> None:
    found = changed(which, pod_cidr=PODS)
    assert parsed(found, f"{config(which)}/net-conf.json") == {"/Network": ("10.244.0.0/16", "10.9.0.0/16")}
    assert found == {}


@FLANNELD
def test_vni_and_port(which: Pinned) -> None:
    found = changed(which, vxlan_vni=7, vxlan_port=4789)
    assert parsed(found, f"{config(which)}/net-conf.json") == {
        "/Backend/VNI": (ABSENT, 7),
        "/Backend/Port": (ABSENT, 4789),
    }
    assert found == {}


@FLANNEL
def test_host_gw(which: Pinned) -> None:
    found = changed(which, cni_backend="host-gw")
    assert parsed(found, f"{config(which)}/net-conf.json") == {"/Backend/Type": ("vxlan", "host-gw")}
    assert found == {}


@FLANNEL
def test_udp(which: Pinned) -> None:
    """flanneld opens /dev/net/tun, which needs all devices of the host."""
    found = changed(which, cni_backend="udp")
    assert parsed(found, f"{config(which)}/net-conf.json") == {"/Backend/Type": ("vxlan", "udp")}
    context = f"{workload(which)}/containers/kube-flannel/securityContext"
    assert found.pop(f"{context}/privileged") == (False, True)
    assert [path for path in found if not path.startswith(f"{context}/capabilities")] == []


@FLANNEL
def test_flannels_interface_by_name(which: Pinned) -> None:
    found = changed(which, cni_interface="eth1")
    variable = {"name": "FLANNELD_IFACE", "value": "eth1"}
    assert found == {f"{workload(which)}/containers/kube-flannel/env/FLANNELD_IFACE": (ABSENT, variable)}


@FLANNEL
def test_flannels_interface_by_address(which: Pinned) -> None:
    place = f"{workload(which)}/containers/kube-flannel/env/FLANNELD_IFACE"
    assert changed(which, cni_interface=NODE_ADDRESS) == {place: (ABSENT, {"name": "FLANNELD_IFACE", **HOST_IP})}


@CANAL
def test_canals_interface_by_name(which: Pinned) -> None:
    variable = f"{workload(which)}/containers/kube-flannel/env/FLANNELD_IFACE"
    reference = {"configMapKeyRef": {"name": "canal-config", "key": "canal_iface"}}
    assert changed(which, cni_interface="eth1") == {
        f"{variable}/value": (ABSENT, "eth1"),
        f"{variable}/valueFrom": (reference, ABSENT),
    }


@CANAL
def test_canals_interface_by_address(which: Pinned) -> None:
    place = f"{workload(which)}/containers/kube-flannel/env/FLANNELD_IFACE/valueFrom"
    found = changed(which, cni_interface=NODE_ADDRESS)
    assert found == {
        f"{place}/configMapKeyRef": ({"name": "canal-config", "key": "canal_iface"}, ABSENT),
        f"{place}/fieldRef": (ABSENT, {"fieldPath": "status.hostIP"}),
    }


@FLANNEL
def test_flannels_mtu(which: Pinned) -> None:
    found = changed(which, cni_mtu=1400)
    assert parsed(found, f"{config(which)}/cni-conf.json") == {"/plugins/0/delegate/mtu": (ABSENT, 1400)}
    assert found == {}


@CANAL
def test_canals_mtu_stays_text(which: Pinned) -> None:
    assert changed(which, cni_mtu=1400) == {f"{config(which)}/veth_mtu": ("0", "1400")}


@FLANNELD
def test_images_elsewhere(which: Pinned) -> None:
    found = changed(which, cni_image_repository="mirror.example.net:5000/net")
    published = references.images(objects(which))
    assert {old for old, _ in found.values()} == set(published)
    assert all(path.endswith("/image") for path in found)
    for old, new in found.values():
        assert new == f"mirror.example.net:5000/net/{old.partition('/')[2]}"


@CALICO
@pytest.mark.parametrize(
    ("wanted", "pool", "more"),
    [
        ({"cni_backend": "ipip"}, ("Always", "Never", "26", "true"), {}),
        (
            {"cni_backend": "none", "cni_block_size": 28, "cni_nat_outgoing": False, "cni_mtu": 1400},
            ("Never", "Never", "28", "false"),
            {"data/veth_mtu": ("0", "1400")},
        ),
        (
            {"cni_backend": "ipip", "cni_cross_subnet": True, "cni_interface": "eth1.5"},
            ("CrossSubnet", "Never", "26", "true"),
            {"IP_AUTODETECTION_METHOD": "interface=^eth1\\.5$"},
        ),
        (
            {"cni_cross_subnet": True, "vxlan_vni": 7, "cni_interface": NODE_ADDRESS},
            ("Never", "CrossSubnet", "26", "true"),
            {
                "data/calico_backend": ("bird", "vxlan"),
                "FELIX_VXLANVNI": "7",
                "FELIX_VXLANPORT": "8472",
                "IP_AUTODETECTION_METHOD": "kubernetes-internal-ip",
                "livenessProbe": "-bird-live",
                "readinessProbe": "-bird-ready",
            },
        ),
    ],
)
def test_calicos_pool_and_routes(
    which: Pinned, wanted: dict[str, Any], pool: tuple[str, ...], more: dict[str, Any]
) -> None:
    found = changed(which, pod_cidr=PODS, **wanted)
    felix, data = f"{workload(which)}/containers/calico-node", f"{config(which)}"
    assert found.pop(f"{felix}/env/CALICO_IPV4POOL_CIDR") == (ABSENT, {**POOL, "value": "10.9.0.0/16"})
    names = [f"CALICO_IPV4POOL_{part}" for part in ("IPIP", "VXLAN", "BLOCK_SIZE", "NAT_OUTGOING")]
    for name, value in zip(names, pool, strict=True):
        assert found.pop(f"{data}/{name}") == (ABSENT, value)
        told = [found.pop(path) for path in list(found) if path.startswith(f"{felix}/env/{name}")]
        assert {"configMapKeyRef": {"name": "calico-config", "key": name}} in [
            new.get("valueFrom", new) for _, new in told if isinstance(new, dict)
        ]
    for name, value in more.items():
        if name.startswith("data/"):
            assert found.pop(f"{config(which)}{name.removeprefix('data')}") == value
        elif name.endswith("Probe"):
            assert found.pop(f"{felix}/{name}/exec/command/2") == (value, ABSENT)
        else:
            assert found.pop(f"{felix}/env/{name}") == (ABSENT, {"name": name, "value": value})
    assert found == {}


@ALL
def test_written_and_read_again_it_is_the_same_for_any_reader(which: Pinned) -> None:
    before = objects(which)
    text = documents.dump(before)
    assert changes(before, documents.load(text, "written")) == {}
    # Also for a reader with other rules, as far as what is in the manifests goes.
    assert changes(before, list(yaml.safe_load_all(text))) == {}
    assert list(by_identity(before)) == list(by_identity(documents.load(text, "written")))


@ALL
@pytest.mark.skipif(not shutil.which("kubectl"), reason="kubectl is not installed")
def test_kubectl_reads_the_same_before_and_after(which: Pinned, tmp_path: Path) -> None:
    read = []
    for name, text in (("before", manifest(which)), ("after", documents.dump(objects(which)))):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "manifest.yaml").write_text(text)
        (folder / "kustomization.yaml").write_text("resources: [manifest.yaml]")
        read.append(subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, check=True).stdout)
    assert read[0] == read[1]


@ALL
def test_every_text_that_looks_like_something_else_stays_text(which: Pinned) -> None:
    plain = list(yaml.safe_load_all(manifest(which)))
    assert changes([item for item in plain if item], objects(which)) == {}


@pytest.mark.parametrize(
    ("which", "minor", "lacking"),
    [
        (("flannel", "v0.14.0"), "1.20", []),
        (("flannel", "v0.14.0"), "1.24", []),
        (("flannel", "v0.14.0"), "1.25", ["PodSecurityPolicy psp.flannel.unprivileged"]),
        (("flannel", "v0.20.2"), "1.20", []),
        (("flannel", "v0.28.9"), "1.36", []),
        (("canal", "v3.24.6"), "1.20", ["PodDisruptionBudget kube-system/calico-kube-controllers"]),
        (("canal", "v3.24.6"), "1.21", []),
        (("canal", "v3.32.1"), "1.36", []),
        (("calico", "v3.24.6"), "1.20", ["PodDisruptionBudget kube-system/calico-kube-controllers"]),
        (("calico", "v3.32.1"), "1.36", []),
    ],
)
def test_what_a_version_does_not_serve(which: tuple[str, str], minor: str, lacking: list[str]) -> None:
    found = api.unserved(objects(pinned(*which)), minor)
    assert [documents.identity(item) for item in found] == lacking


def test_a_policy_for_pods_security_is_left_out_where_it_is_gone() -> None:
    before = objects(pinned("flannel", "v0.14.0"))
    after = api.adapt(before, "1.25", "flannel v0.14.0")
    assert changes(before, list(after.objects)) == {
        "PodSecurityPolicy psp.flannel.unprivileged": (before[0], ABSENT),
    }
    assert len(after.notes) == 1
    assert "PodSecurityPolicy psp.flannel.unprivileged is policy/v1beta1, which Kubernetes 1.25" in after.notes[0]


def test_a_disruption_budget_becomes_that_of_its_time() -> None:
    before = objects(pinned("canal", "v3.24.6"))
    after = api.adapt(before, "1.20", "canal v3.24.6")
    place = "PodDisruptionBudget kube-system/calico-kube-controllers/apiVersion"
    assert changes(before, list(after.objects)) == {place: ("policy/v1", "policy/v1beta1")}
    assert after.notes[0].endswith("does not serve: applied as policy/v1beta1")


@pytest.mark.parametrize(
    ("which", "needed", "unpackaged"),
    [
        (("flannel", "v0.14.0"), ("bridge", "flannel", "host-local", "loopback", "portmap"), ("flannel",)),
        (("flannel", "v0.20.2"), ("bridge", "host-local", "loopback", "portmap"), ()),
        (("flannel", "v0.28.9"), ("bridge", "host-local", "loopback", "portmap"), ()),
        (("canal", "v3.24.6"), (), ()),
        (("canal", "v3.32.1"), (), ()),
        (("calico", "v3.24.6"), (), ()),
        (("calico", "v3.32.1"), (), ()),
    ],
)
def test_plugins_that_a_host_must_have(
    which: tuple[str, str], needed: tuple[str, ...], unpackaged: tuple[str, ...]
) -> None:
    found = plugins.needed_of_host(objects(pinned(*which)), manifest_of(pinned(*which)), "it")
    assert found == needed
    assert plugins.unpackaged(found) == unpackaged


@ALL
def test_what_the_deploy_takes_from_it(which: Pinned) -> None:
    settings = cluster(cni=which.project, kubernetes_version=f"{which.first}.0").settings
    network = build(manifest(which), settings, which.title)
    assert network.images == references.images(documents.load(network.text, "it"))
    namespace = "kube-flannel" if which.version in ("v0.20.2", "v0.28.9") else "kube-system"
    assert network.namespaces == (namespace,)
    assert (
        network.workloads
        == {
            "flannel": (f"daemonset/{namespace}/kube-flannel-ds",),
            "canal": ("daemonset/kube-system/canal", "deployment/kube-system/calico-kube-controllers"),
            "calico": ("daemonset/kube-system/calico-node", "deployment/kube-system/calico-kube-controllers"),
        }[which.project]
    )
    assert network.ports == {"flannel v0.28.9": (8081,), "canal v3.24.6": (9099,), "canal v3.32.1": (9099,)}.get(
        which.title, ()
    )


def test_rules_that_an_api_server_does_not_know_are_refused() -> None:
    settings = cluster(cni="canal", kubernetes_version="1.24.0").settings
    with pytest.raises(UserError, match=r"x-kubernetes-validations, which Kubernetes 1.24 does not know"):
        build(manifest(pinned("canal", "v3.32.1")), settings, "canal v3.32.1")


@ALL
def test_no_object_is_too_large_for_an_apply(which: Pinned) -> None:
    """kubectl apply keeps each object in an annotation of its own, and those have 256 KiB at most."""
    assert max(len(json.dumps(item)) for item in objects(which)) < 256 * 1024
