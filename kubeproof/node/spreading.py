"""Whether the demo's pods are on one node although there are others, as after a deploy that had lost them. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Object = Mapping[str, Any]


def crowded(objects: Sequence[Object], deployments: Sequence[str], namespace: str = "default") -> str:
    """Name of the node that has all pods of these Deployments while another could have some; empty if none has."""
    nodes = {pod["spec"]["nodeName"] for pod in _pods(objects, deployments, namespace)}
    return nodes.pop() if len(nodes) == 1 and len(list(_workers(objects))) > 1 else ""


def _pods(objects: Sequence[Object], deployments: Sequence[str], namespace: str) -> Iterator[Object]:
    beginnings = tuple(f"{name}-" for name in deployments)
    for item in objects:
        metadata = item["metadata"]
        if item["kind"] != "Pod" or metadata.get("namespace") != namespace or "deletionTimestamp" in metadata:
            continue
        if metadata["name"].startswith(beginnings) and item.get("spec", {}).get("nodeName"):
            yield item


def _workers(objects: Sequence[Object]) -> Iterator[str]:
    """Nodes that take pods: Ready, and nothing keeps pods away."""
    for item in objects:
        if item["kind"] == "Node" and not item.get("spec", {}).get("taints"):
            conditions = item.get("status", {}).get("conditions", ())
            if any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions):
                yield item["metadata"]["name"]
