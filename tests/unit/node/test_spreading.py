"""When the demo is on one node although it need not be."""

from typing import Any

import pytest

from kubeproof.node.readiness import crowded


def node(name: str, *, ready: str = "True", **spec: Any) -> dict[str, Any]:
    status = {"conditions": [{"type": "Ready", "status": ready}]}
    return {"kind": "Node", "metadata": {"name": name}, "spec": spec, "status": status}


def pod(name: str, where: str, **metadata: Any) -> dict[str, Any]:
    return {"kind": "Pod", "metadata": {"namespace": "default", "name": name, **metadata}, "spec": {"nodeName": where}}


BOTH = [node("a"), node("b"), node("master", taints=[{"key": "x", "effect": "NoSchedule"}])]
ON_ONE = [pod("httpd-1", "a"), pod("httpd-2", "a")]
SPREAD = [pod("kuard-1", "a"), pod("kuard-2", "b")]


@pytest.mark.parametrize(
    ("objects", "found"),
    [
        ([*BOTH, *ON_ONE], {"httpd": "a"}),
        ([*BOTH, *ON_ONE, pod("kuard-1", "b"), pod("kuard-2", "b")], {"httpd": "a", "kuard": "b"}),
        ([*BOTH, *ON_ONE, *SPREAD], {"httpd": "a"}),
        ([*BOTH, *ON_ONE, pod("httpd-3", "b"), *SPREAD], {}),
        ([*BOTH, *ON_ONE, pod("httpd-3", "b", deletionTimestamp="now")], {"httpd": "a"}),
        ([*BOTH, *ON_ONE, pod("mine", "b"), pod("httpd-3", "b", namespace="other")], {"httpd": "a"}),
        ([*BOTH, pod("httpd-1", "a"), pod("kuard-1", "a")], {}),
        ([node("a"), node("b", ready="Unknown"), *ON_ONE], {}),
        ([node("a"), node("b", taints=[{"key": "node.kubernetes.io/unschedulable"}]), *ON_ONE], {}),
        (BOTH, {}),
        ([], {}),
    ],
)
def test_crowded(objects: list[dict[str, Any]], found: dict[str, str]) -> None:
    assert crowded(objects, ("httpd", "kuard")) == found
