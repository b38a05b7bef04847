"""Only what a manifest asks for is compared with the objects that the cluster has."""

import copy
from typing import Any

import pytest

from kubeproof.networks import documents
from kubeproof.networks.manifest import Pinned
from kubeproof.networks.registry import PINNED
from kubeproof.node.asked_for import differences
from tests.unit.networks.upstream import manifest

WANTED = """
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: canal, namespace: kube-system, labels: {k8s-app: canal}}
spec:
  selector: {matchLabels: {k8s-app: canal}}
  template:
    metadata: {labels: {k8s-app: canal}, creationTimestamp: null}
    spec:
      hostNetwork: true
      hostPID: false
      tolerations: [{effect: NoSchedule, operator: Exists}]
      containers:
      - name: calico-node
        image: docker.io/calico/node:v3.24.6
        env: [{name: IP, value: ""}, {name: MTU, value: "1450"}]
        resources: {requests: {cpu: 0.25, memory: 1024Mi}}
      volumes: [{name: cfg, configMap: {name: c, defaultMode: 0644}}]
status: {}
"""


def filled_in(item: dict[str, Any]) -> dict[str, Any]:
    """As an API server would give it back."""
    live = copy.deepcopy(item)
    live["metadata"].update(uid="u", generation=3, resourceVersion="7", creationTimestamp="2026-01-01T00:00:00Z")
    live["metadata"]["managedFields"] = [{"manager": "kubectl", "time": "2026-01-01T00:00:00Z"}]
    live["metadata"].setdefault("annotations", {})["deprecated.daemonset.template.generation"] = "1"
    live["status"] = {"numberReady": 3}
    spec = live["spec"]["template"]["spec"]
    spec.update(dnsPolicy="ClusterFirst", restartPolicy="Always", securityContext={})
    del spec["hostPID"]
    container = spec["containers"][0]
    container.update(imagePullPolicy="IfNotPresent", terminationMessagePath="/dev/termination-log")
    container["env"] = [{"name": "IP"}, {"name": "MTU", "value": "1450"}]
    container["resources"] = {"requests": {"cpu": "250m", "memory": "1Gi"}}
    spec["volumes"][0]["configMap"]["defaultMode"] = 420
    return live


@pytest.fixture
def wanted() -> list[dict[str, Any]]:
    return documents.load(WANTED, "it")


def test_what_the_server_fills_in_is_no_difference(wanted: list[dict[str, Any]]) -> None:
    assert differences(wanted, [filled_in(wanted[0])]) == []


def changed(wanted: list[dict[str, Any]], change: str) -> list[str]:
    live = filled_in(wanted[0])
    spec = live["spec"]["template"]["spec"]
    exec(change, {"live": live, "spec": spec, "container": spec["containers"][0]})  # noqa: S102  # of the table below
    return differences(wanted, [live])


@pytest.mark.parametrize(
    ("change", "lines"),
    [
        (
            "container['image'] = 'docker.io/calico/node:v1'",
            ["containers[calico-node].image", "- docker.io/calico/node:v1", "+ docker.io/calico/node:v3.24.6"],
        ),
        ("container['env'][1]['value'] = '1400'", ["containers[calico-node].env[MTU].value", "- 1400", "+ 1450"]),
        ("container['env'][0]['value'] = '192.0.2.1'", ["containers[calico-node].env[IP].value", "- 192.0.2.1"]),
        ("container['resources']['requests']['cpu'] = '1'", ["resources.requests.cpu", "- 1", "+ 0.25"]),
        ("del spec['hostNetwork']", ["hostNetwork", "+ True"]),
        ("spec['hostPID'] = True", ["hostPID", "- True", "+ False"]),
        ("live['metadata']['labels'] = {}", ["metadata.labels.k8s-app", "+ canal"]),
    ],
)
def test_fields_that_are_asked_for(wanted: list[dict[str, Any]], change: str, lines: list[str]) -> None:
    first, *rest = changed(wanted, change)
    assert first.startswith("DaemonSet kube-system/canal: ")
    assert first.endswith(lines[0])
    assert rest == lines[1:]


@pytest.mark.parametrize(
    "change",
    [
        "container['env'].append({'name': 'X'})",
        "container['env'].pop()",
        "spec['tolerations'].append({'operator': 'Exists'})",
        "spec['tolerations'] = None",
        "spec['containers'].append({'name': 'other'})",
    ],
)
def test_lists_are_whole(wanted: list[dict[str, Any]], change: str) -> None:
    assert changed(wanted, change)


def test_objects_that_are_not_there(wanted: list[dict[str, Any]]) -> None:
    assert differences(wanted, []) == ["+ DaemonSet kube-system/canal"]
    elsewhere = filled_in(wanted[0])
    elsewhere["metadata"]["namespace"] = "default"
    assert differences(wanted, [elsewhere]) == ["+ DaemonSet kube-system/canal"]


def test_a_definitions_status_is_the_servers() -> None:
    text = """
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: pools.example.net}
spec: {group: example.net, scope: Cluster, names: {kind: Pool, plural: pools}, preserveUnknownFields: false}
status: {acceptedNames: {kind: "", plural: ""}, conditions: [], storedVersions: []}
"""
    asked = documents.load(text, "it")
    live = copy.deepcopy(asked[0])
    live["status"] = {"acceptedNames": {"kind": "Pool"}, "conditions": [{"type": "Established"}]}
    live["spec"]["names"].update(singular="pool", listKind="PoolList")
    live["spec"]["conversion"] = {"strategy": "None"}
    del live["spec"]["preserveUnknownFields"]
    assert differences(asked, [live]) == []


def test_what_controllers_add() -> None:
    text = """
{apiVersion: v1, kind: ServiceAccount, metadata: {name: a}, secrets: [{name: mine}]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: w}
webhooks: [{name: w.example.net, clientConfig: {caBundle: "", service: {name: s, namespace: n}}}]
"""
    asked = documents.load(text, "it")
    live = copy.deepcopy(asked)
    live[0]["metadata"]["namespace"] = "default"
    live[0]["secrets"].append({"name": "a-token-x7x2p"})
    live[1]["webhooks"][0]["clientConfig"]["caBundle"] = "LS0t"
    live[1]["webhooks"][0]["clientConfig"]["service"]["port"] = 443
    assert differences(asked, live) == []


@pytest.mark.parametrize("which", PINNED, ids=lambda item: item.title)
def test_published_manifests_have_what_they_ask_for(which: Pinned) -> None:
    asked = documents.load(manifest(which), which.title)
    assert differences(asked, copy.deepcopy(asked)) == []
    assert len(differences(asked, [])) == len(asked)
