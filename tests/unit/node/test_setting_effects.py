"""Each setting has one effect on a cluster that runs, and the effect is the one that is said."""

import subprocess
from dataclasses import replace
from ipaddress import IPv4Network
from typing import Any

import pytest

from kubeproof.config.settings import EFFECTS, NAMES
from kubeproof.config.tables import paths
from kubeproof.config.tables.findings import FINDINGS
from kubeproof.deploy.facts.kubernetes import SettingsInUse
from kubeproof.networks import documents, flannel
from kubeproof.networks.network import Effect
from kubeproof.networks.plan import build
from kubeproof.networks.registry import NETWORKS
from kubeproof.node import templates
from kubeproof.node.changed_settings import InUse, findings
from tests.unit.networks import made_up
from tests.unit.node.example import cluster
from tests.unit.node.test_changed_settings import IN_USE, LEADER

MANIFESTS = {"flannel": made_up.FLANNEL, "canal": made_up.CANAL, "calico": made_up.CALICO}
OTHER: dict[str, Any] = {
    "kubernetes_version": "1.20.3",
    "image_repository": "192.0.2.9",
    "etcd_image_tag": "3.5",
    "pod_cidr": IPv4Network("10.9.0.0/16"),
    "pod_subnet_bits": 25,
    "service_cidr": IPv4Network("10.9.0.0/16"),
    "cluster_domain": "x.local",
    "node_port_range": "30000-30001",
    "api_port": 7443,
    "cgroup_driver": "cgroupfs",
    "cni_mtu": 1300,
    "cni_backend": {"flannel": "host-gw", "calico": "ipip"},
    "cni_cross_subnet": True,
    "cni_block_size": 24,
    "cni_nat_outgoing": False,
    "vxlan_vni": 7,
    "vxlan_port": 4789,
    "cluster_dns": "dnsmasq",
    "kube_proxy_mode": "ipvs",
    "conntrack_max_per_core": 0,
}
"""Another value of each setting that changed-setting refuses, by network where it is one's alone."""


def other(name: str, network: str) -> Any:
    found = OTHER.get(name)
    return found.get(network) if isinstance(found, dict) else found


def effect(name: str, network: str) -> Effect:
    found = EFFECTS[name]
    return found if isinstance(found, Effect) else found[network]


def told(network: str, **settings: Any) -> dict[str, str]:
    """What the agents have been told by a deploy with these settings."""
    text = build(MANIFESTS[network], cluster(cni=network, **settings).settings, "it", 1450).text
    manifest = NETWORKS[network].manifest
    assert manifest
    return manifest.in_use(text)


def in_use(network: str) -> dict[str, InUse]:
    networks = {network: told(network)} if network in MANIFESTS else {}
    return {**IN_USE, "master": replace(LEADER, networks=networks)}


def test_every_setting_has_one() -> None:
    assert list(EFFECTS) == list(NAMES)
    for name, found in EFFECTS.items():
        assert isinstance(found, Effect) or set(found) == set(NETWORKS), name
        for network in NETWORKS:
            one = effect(name, network)
            assert one.why
            assert one.kind != "refused" or one.why in FINDINGS, name


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_refused_is_refused_and_nothing_else(name: str, network: str) -> None:
    assert findings(cluster(cni=network), in_use(network), 1450) == []
    if name in OTHER and other(name, network) is None:
        return  # the settings have no other value
    refused = effect(name, network) == Effect("refused", "changed-setting")
    if name not in OTHER:
        assert not refused
        return
    if refused:
        found = findings(cluster(cni=network, **{name: other(name, network)}), in_use(network), 1450)
        assert [item.name for item in found if item.found.startswith(f"{name} is ")] == ["changed-setting"]


@pytest.mark.parametrize("name", ["podnet_image", "vxlan_vni", "vxlan_port", "network_policy"])
def test_podnets_are_part_of_its_pods(name: str) -> None:
    assert effect(name, "podnet").kind == "applied"
    value = {"podnet_image": "other:2", "network_policy": False}.get(name, OTHER.get(name))

    def pods(**changed: Any) -> Any:
        wanted = cluster(**changed)
        text = templates.render("podnet.yaml.j2", cluster=wanted, settings=wanted.settings)
        return [item["spec"]["template"] for item in documents.load(text, "it") if item["kind"] == "DaemonSet"]

    assert pods() != pods(**{name: value})


@pytest.mark.parametrize("network", MANIFESTS)
@pytest.mark.parametrize(
    ("name", "value"),
    [("cni_interface", "eth1"), ("cni_interface", "eth2"), ("cni_image_repository", "registry.example.net")],
)
def test_those_of_manifests_that_are_applied_are_part_of_the_pods(network: str, name: str, value: str) -> None:
    assert effect(name, network).kind == "applied"

    def pods(**changed: Any) -> Any:
        text = build(MANIFESTS[network], cluster(cni=network, **changed).settings, "it", 1450).text
        return [item["spec"]["template"] for item in documents.load(text, "it") if item["kind"] == "DaemonSet"]

    assert pods(**{name: "eth0" if name == "cni_interface" else ""}) != pods(**{name: value})


def test_what_agents_were_told() -> None:
    assert told("flannel") == {"cni_backend": "vxlan", "vxlan_vni": "1", "vxlan_port": "8472", "cni_mtu": ""}
    assert told("flannel", cni_backend="host-gw", cni_mtu=1400) == {"cni_backend": "host-gw", "cni_mtu": "1400"}
    assert told("canal", vxlan_vni=5) == {
        "cni_backend": "vxlan",
        "vxlan_vni": "5",
        "vxlan_port": "8472",
        "cni_mtu": "1450",
    }
    pool = {"cni_cross_subnet": "False", "cni_block_size": "26", "cni_nat_outgoing": "True"}
    assert told("calico") == {"cni_backend": "vxlan", **pool, "cni_mtu": "1450"}
    assert told("calico", cni_backend="ipip", cni_cross_subnet=True)["cni_cross_subnet"] == "True"
    assert told("calico", cni_backend="none")["cni_backend"] == "none"
    for text in ("", "kind: ConfigMap", "a: [", made_up.FLANNEL.replace('"Backend"', '"Other"')):
        assert flannel.NETWORK.manifest
        assert flannel.NETWORK.manifest.in_use(text) == {}


def test_a_former_mtu_is_told_when_it_is_taken_back() -> None:
    used = {"master": replace(LEADER, networks={"flannel": told("flannel", cni_mtu=1400)})}
    (found,) = findings(cluster(cni="flannel"), used, 1450)
    assert "cni_mtu is 1400 in the running cluster and None in the settings" in found.found
    used = {"master": replace(LEADER, networks={"canal": told("canal", cni_mtu=1400)})}
    (found,) = findings(cluster(cni="canal"), used, 1450)
    assert "cni_mtu is 1400 in the running cluster and 1450 in the settings" in found.found
    assert findings(cluster(cni="canal"), used, None) == []


def test_the_pause_image_of_dockershim() -> None:
    used = {"node1": replace(IN_USE["node1"], pause_image="192.0.2.1:5000/pause:3.2")}
    assert findings(cluster(pause_image_tag="3.2"), used) == []
    (found,) = findings(cluster(pause_image_tag="3.3"), used)
    assert "pause_image_tag is 3.2 in the running cluster and 3.3" in found.found
    assert findings(cluster(pause_image_tag="3.3", container_runtime="containerd", docker_package=""), used) == []


def test_the_fact_reads_what_was_applied(tmp_path: Any) -> None:
    """By the tools of a host, from a manifest as a deploy puts it there."""
    for network, text in MANIFESTS.items():
        settings = cluster(cni=network, cni_backend="vxlan", vxlan_vni=9, cni_mtu=1400).settings
        (tmp_path / f"{network}.yaml").write_text(build(text, settings, "it", 1450).text)
    command = SettingsInUse().command().replace(paths.MANIFESTS, str(tmp_path))
    output = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=True).stdout
    found = SettingsInUse().process(output.splitlines()).networks
    assert {name: (used.get("vxlan_vni"), used["cni_mtu"]) for name, used in found.items()} == {
        "flannel": ("9", "1400"),
        "canal": ("9", "1400"),
        "calico": (None, "1400"),
    }
