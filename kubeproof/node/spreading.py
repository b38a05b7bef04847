"""Whether a Deployment's pods are on one node although there are others, as after a deploy that had lost them. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Object = Mapping[str, Any]


def crowded(objects: Sequence[Object], deployments: Sequence[str], namespace: str = "default") -> dict[str, str]:
    """Deployments with several pods, all of them on one node, while another could have some -> that node's name."""
    if len(list(_workers(objects))) < 2:
        return {}
    nodes = {name: list(_nodes(objects, f"{name}-", namespace)) for name in deployments}
    return {name: where[0] for name, where in nodes.items() if len(where) > 1 and len(set(where)) == 1}


def _nodes(objects: Sequence[Object], beginning: str, namespace: str) -> Iterator[str]:
    for item in objects:
        metadata = item["metadata"]
        if item["kind"] != "Pod" or metadata.get("namespace") != namespace or "deletionTimestamp" in metadata:
            continue
        if metadata["name"].startswith(beginning) and item.get("spec", {}).get("nodeName"):
            yield item["spec"]["nodeName"]


def _workers(objects: Sequence[Object]) -> Iterator[str]:
    """Nodes that take pods: Ready, and nothing keeps pods away."""
    for item in objects:
        if item["kind"] == "Node" and not item.get("spec", {}).get("taints"):
            conditions = item.get("status", {}).get("conditions", ())
            if any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions):
                yield item["metadata"]["name"]
