from typing import Any

import pytest

from kubeproof.node.readiness import Expectation, unready
from tests.unit.deploy.phases.fake_cluster import ready_objects

EXPECTED = Expectation(
    nodes=("master", "node1", "node2"),
    namespaces=("kube-system", "default"),
    workloads=("daemonset/kube-system/kube-proxy",),
)


def pod(name: str, node: str = "node1", **status: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"namespace": "kube-system", "name": name}
    return {"kind": "Pod", "metadata": metadata, "spec": {"nodeName": node} if node else {}, "status": status}


def ready_pod(name: str, ready: str = "True", **status: Any) -> dict[str, Any]:
    return pod(name, conditions=[{"type": "Ready", "status": ready}], **status)


def test_all_ready() -> None:
    assert unready([*ready_objects(), ready_pod("a"), pod("job", phase="Succeeded")], EXPECTED) == []


def test_no_answer() -> None:
    assert unready([], EXPECTED) == ["the API server does not answer"]


def test_node_with_its_condition() -> None:
    objects = ready_objects()
    condition = {"type": "Ready", "status": "False", "reason": "KubeletNotReady", "message": "cni config uninitialized"}
    objects[1]["status"] = {"conditions": [condition]}
    assert unready(objects, EXPECTED) == ["node node1 is not Ready: KubeletNotReady cni config uninitialized"]


def test_node_that_is_ready_and_not_yet_free_for_pods() -> None:
    objects = ready_objects()
    objects[0]["spec"] = {"taints": [{"key": "node-role.kubernetes.io/master", "effect": "NoSchedule"}]}
    objects[1]["spec"] = {"taints": [{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]}
    objects[2]["spec"] = {"taints": None}
    told = "node node1 is Ready, but still gets no pods: it has the taint node.kubernetes.io/not-ready"
    assert unready(objects, EXPECTED) == [told]
    assert unready(objects, EXPECTED.without(frozenset({"node1"}))) == []


def test_node_that_is_not_there() -> None:
    assert unready(ready_objects()[1:], EXPECTED) == ["node master is not registered"]


def test_node_that_is_known_to_be_away_is_not_waited_for() -> None:
    objects = [item for item in ready_objects() if item["metadata"]["name"] != "node1"]
    objects.append(pod("podnet-x", node="node1", phase="Running"))
    assert unready(objects, EXPECTED.without(frozenset({"node1"}))) == []
    objects[-2]["status"] = {}
    without = EXPECTED.without(frozenset({"node1"}))
    assert unready(objects, without) == ["deployment/default/kuard is not processed yet"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"numberReady": 2}, "daemonset/kube-system/kube-proxy has 2 of 3 pods ready, 3 up to date"),
        ({"updatedNumberScheduled": 1}, "daemonset/kube-system/kube-proxy has 3 of 3 pods ready, 1 up to date"),
        ({"observedGeneration": 0}, "daemonset/kube-system/kube-proxy is not processed yet"),
    ],
)
def test_daemonset(change: dict[str, int], said: str) -> None:
    objects = ready_objects()
    objects[3]["status"].update(change)
    assert unready(objects, EXPECTED) == [said]


def test_workload_that_was_not_made() -> None:
    objects = [item for item in ready_objects() if item["kind"] != "DaemonSet"]
    assert unready(objects, EXPECTED) == ["daemonset/kube-system/kube-proxy does not exist"]


def test_deployment_of_another_namespace_does_not_matter() -> None:
    objects = ready_objects()
    objects[-1]["status"]["readyReplicas"] = 0
    assert unready(objects, Expectation(nodes=(), namespaces=("kube-system",))) == []
    assert unready(objects, EXPECTED) == ["deployment/default/kuard has 0 of 3 pods ready, 3 up to date"]


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (
            ready_pod(
                "a",
                "False",
                containerStatuses=[
                    {"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
                ],
            ),
            "pod kube-system/a on node1 is not Ready: container c: ImagePullBackOff no such image",
        ),
        (
            pod(
                "b", node="", phase="Pending", conditions=[{"type": "PodScheduled", "status": "False", "message": "x"}]
            ),
            "pod kube-system/b on no node is not Ready: x",
        ),
        (pod("c", phase="Pending"), "pod kube-system/c on node1 is not Ready: Pending"),
    ],
)
def test_pod_says_why(item: dict[str, Any], said: str) -> None:
    assert unready([*ready_objects(), item], EXPECTED) == [said]


@pytest.mark.parametrize(("state", "is_up"), [({"running": {}}, True), ({"waiting": {"reason": "Error"}}, False)])
def test_static_pod_is_up_when_it_runs(state: dict[str, Any], is_up: bool) -> None:
    item = ready_pod("etcd-master", "False", containerStatuses=[{"name": "etcd", "state": state}])
    item["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "x"}
    assert (unready([*ready_objects(), item], EXPECTED) == []) is is_up


def test_pod_that_is_being_deleted_is_not_waited_for() -> None:
    item = pod("old", phase="Running")
    item["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert unready([*ready_objects(), item], EXPECTED) == []
