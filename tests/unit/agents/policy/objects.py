"""API objects as short as tests want them."""

from typing import Any

from agents.podnet.policy.objects import World, read_namespace, read_pod
from agents.podnet.policy.reading import read_policy

Item = dict[str, Any]


def pod(
    name: str,
    address: str | None,
    labels: dict[str, str] | None = None,
    *,
    namespace: str = "x",
    node: str = "one",
    **more: Any,
) -> Item:
    """A running Pod; ``ports`` are containerPort entries."""
    containers = [{"name": "main", "ports": more.get("ports", [])}]
    return {
        "metadata": {"namespace": namespace, "name": name, "labels": labels or {}},
        "spec": {"nodeName": node, "containers": containers, "hostNetwork": more.get("host_network", False)},
        "status": {"phase": more.get("phase", "Running"), **({"podIP": address} if address else {})},
    }


def namespace(name: str, labels: dict[str, str] | None = None) -> Item:
    return {"metadata": {"name": name, "labels": labels or {}}}


def policy(name: str, spec: Any, *, namespace: str = "x", version: str = "1") -> Item:
    return {"metadata": {"namespace": namespace, "name": name, "resourceVersion": version}, "spec": spec}


def world(pods: list[Item], policies: list[Item], namespaces: list[Item] | None = None) -> World:
    """What the agent keeps of these; the namespace "x" is always there."""
    spaces = [namespace("x"), *(namespaces or [])]
    return World(
        {f"{item['metadata']['namespace']}/{item['metadata']['name']}": read_pod(item) for item in pods},
        {item["metadata"]["name"]: read_namespace(item) for item in spaces},
        {f"{item['metadata']['namespace']}/{item['metadata']['name']}": read_policy(item) for item in policies},
    )
