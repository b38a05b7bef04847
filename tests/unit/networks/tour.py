"""What a cluster with meshnet meets, from its settings to its reset, where the registry lists it (test_another.py)."""

from ipaddress import IPv4Network

import pytest

from kubeproof.cli.reference_tables import manifests_table
from kubeproof.config.network_conflicts import no_enforcement
from kubeproof.config.settings import EFFECTS, Settings, parse
from kubeproof.deploy.facts.kubernetes import SettingsInUse
from kubeproof.deploy.manifest_source import wanted_manifest
from kubeproof.doctor import causes_foreign
from kubeproof.networks import artifacts, documents
from kubeproof.networks.network import Source
from kubeproof.networks.plan import build
from kubeproof.networks.registry import NETWORKS
from kubeproof.node import leftovers, removal, templates
from kubeproof.node.parts import parts
from kubeproof.proof.checks import checks_of
from kubeproof.proof.report import cni_line
from kubeproof.state.part import Asker, texts
from kubeproof.terminal.errors import UserError
from tests.unit.node.example import RAW, cluster

MANIFEST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: mesh, namespace: mesh-system}
data:
  mesh.conflist: '{"plugins": [{"type": "mesh", "ipam": {"type": "host-local"}}]}'
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: mesh, namespace: mesh-system}
spec:
  template:
    spec:
      initContainers:
      - {name: plugin, image: 'example.net/mesh:v1', volumeMounts: [{name: bin, mountPath: /bins}]}
      containers:
      - {name: meshd, image: 'example.net/mesh:v1'}
      volumes: [{name: bin, hostPath: {path: /opt/cni/bin}}]
"""


def settings(**more: object) -> Settings:
    return parse({**RAW, "cni": "meshnet", "cni_backend": "gre", **more})


def has_settings() -> None:
    assert settings().network is NETWORKS["meshnet"]
    assert settings(cni_backend="plain").backend.overhead == 0
    with pytest.raises(UserError) as error:
        settings(cni_backend="vxlan", cni_interface="eth1", network_policy=False)
    named = [line.partition(":")[0] for line in error.value.problems]
    assert named == ["cni_backend", "network_policy", "cni_interface"]
    assert "use gre or plain, or cni = 'calico' or 'canal' or 'flannel' or 'podnet'" in error.value.problems[0]
    assert no_enforcement("meshnet", None) is None
    assert "'meshnet'" in (no_enforcement("flannel", None) or "")
    effects = EFFECTS["cni_interface"]
    assert isinstance(effects, dict)
    assert effects["meshnet"].kind == "nothing"


def is_planned() -> None:
    assert wanted_manifest(settings()).title == "meshnet v1"
    plan = build(MANIFEST, settings(), "it", 1476)
    config, workload = documents.load(plan.text, "it")
    assert config["data"]["mtu"] == "1476"
    (meshd,) = workload["spec"]["template"]["spec"]["containers"]
    assert meshd["env"] == [{"name": "MESH_PODS", "value": "10.244.0.0/16"}]
    assert plan.workloads == ("daemonset/mesh-system/mesh",)
    assert plan.host_plugins == ("host-local", "loopback")
    assert "/mesh.conflist:/" in SettingsInUse().command()
    manifest = NETWORKS["meshnet"].manifest
    assert manifest
    assert manifest.in_use(plan.text) == {"cni_mtu": "1476"}


def is_proven() -> None:
    names = [check.id for check in checks_of(settings())]
    assert {"node-ready", "no-bridge", "routes-to-pods", "forward-verdicts"} <= set(names)
    assert not {"flannel-device", "cni0-address", "felix-chains", "no-tunnel"} & set(names)
    assert "no-tunnel" in [check.id for check in checks_of(settings(cni_backend="plain"))]
    assert NETWORKS["meshnet"].source_of_node("gre", own_pod=False) is Source.TUNNEL
    assert NETWORKS["meshnet"].source_of_node("plain", own_pod=False) is Source.NODE
    wanted = cluster(cni="meshnet", cni_backend="gre")
    assert cni_line(wanted) == "CNI in force: Mesh net, by gre; it enforces NetworkPolicy"
    assert all(templates.objects(name, wanted) for name in ("policy-probe.yaml.j2", "httpd.yaml.j2"))
    asked = texts(parts(Asker.DOCTOR))
    assert "mesh-system" in asked["last_lines"]
    assert "MESH-" in causes_foreign.KNOWN_CHAINS
    assert "|inet mesh" in asked["nft_rules"]


def is_reset() -> None:
    gone = leftovers.of_cluster()
    assert "/etc/cni/net.d/10-mesh.conflist" in gone.removed
    assert "/run/mesh" in gone.emptied
    assert artifacts.is_own_link("mesh.gre")
    assert "meshpod*" in artifacts.LINKS
    saved = "*filter\n:FORWARD ACCEPT [0:0]\n:MESH-FWD - [0:0]\n-A FORWARD -j MESH-FWD\nCOMMIT\n"
    removed = removal.removal(saved, removal.Owners((IPv4Network("10.244.0.0/16"),), docker=False))
    assert "-X MESH-FWD" in removed
    assert removal.OWN_NFT_TABLES.fullmatch("inet mesh")


def is_in_tables() -> None:
    assert "| Mesh net v1 |" in manifests_table(["1.20"])


for step in (has_settings, is_planned, is_proven, is_reset, is_in_tables):
    step()
    print(step.__name__)
