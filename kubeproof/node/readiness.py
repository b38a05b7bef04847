"""What is not ready yet in a cluster, from the objects that its API gives. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

Object = Mapping[str, Any]

MIRROR = "kubernetes.io/config.mirror"
"""Annotation of pods that kubelet runs from files, as kubeadm has it run the control plane."""

PASSING_TAINTS = tuple(f"node.kubernetes.io/{word}" for word in ("not-ready", "unreachable", "network-unavailable"))
"""What keeps pods from a node until the controller manager has seen that it works (well-known taints): it takes these
away a moment after the node is Ready, and pods that are placed meanwhile are all on the other nodes."""


@dataclass(frozen=True)
class Expectation:
    """What has to be ready: nodes by name, and all workloads of some namespaces."""

    nodes: tuple[str, ...]
    namespaces: tuple[str, ...]
    workloads: tuple[str, ...] = ()
    """Workloads that have to exist, as kind/namespace/name."""
    missing_nodes: frozenset[str] = frozenset()
    """Nodes that are away or left out: neither they nor what should run on them is waited for."""

    def without(self, nodes: frozenset[str]) -> "Expectation":
        return replace(self, nodes=tuple(n for n in self.nodes if n not in nodes), missing_nodes=nodes)


def unready(objects: Sequence[Object], expected: Expectation) -> list[str]:
    """A phrase for each thing that is not ready, with the condition and what was last seen; empty if all is."""
    if not objects:
        return ["the API server does not answer"]
    return [
        *_nodes(objects, expected),
        *_absent_workloads(objects, expected),
        *_workloads(objects, expected),
        *_pods(objects, expected),
    ]


def _nodes(objects: Sequence[Object], expected: Expectation) -> Iterator[str]:
    nodes = {item["metadata"]["name"]: item for item in objects if item["kind"] == "Node"}
    for name in expected.nodes:
        if name not in nodes:
            yield f"node {name} is not registered"
            continue
        condition = _condition(nodes[name], "Ready")
        if condition.get("status") != "True":
            yield f"node {name} is not Ready: {_told(condition)}"
        elif taints := [taint for taint in _taints(nodes[name]) if taint in PASSING_TAINTS]:
            yield f"node {name} is Ready, but still gets no pods: it has the taint {', '.join(taints)}"


def _taints(node: Object) -> list[str]:
    return [str(taint.get("key", "")) for taint in node.get("spec", {}).get("taints") or ()]


def _absent_workloads(objects: Sequence[Object], expected: Expectation) -> Iterator[str]:
    present = {_identity(item) for item in objects}
    for wanted in expected.workloads:
        if wanted not in present:
            yield f"{wanted} does not exist"


def _workloads(objects: Sequence[Object], expected: Expectation) -> Iterator[str]:
    for item in objects:
        if item["kind"] not in ("DaemonSet", "Deployment") or _namespace(item) not in expected.namespaces:
            continue
        status = item.get("status", {})
        if status.get("observedGeneration", 0) < item["metadata"].get("generation", 1):
            yield f"{_identity(item)} is not processed yet"
            continue
        if expected.missing_nodes:
            # Replicas may have been placed on a node that is away; the pods that can run are looked at one by one.
            continue
        wanted, updated, ready = _replicas(item, status)
        if min(updated, ready) < wanted:
            yield f"{_identity(item)} has {ready} of {wanted} pods ready, {updated} up to date"


def _replicas(item: Object, status: Mapping[str, Any]) -> tuple[int, int, int]:
    """Wanted, updated and ready pods (apps/v1)."""
    if item["kind"] == "DaemonSet":
        names = ("desiredNumberScheduled", "updatedNumberScheduled", "numberReady")
        wanted, updated, ready = (int(status.get(name, 0)) for name in names)
        return wanted, updated, ready
    return (
        int(item["spec"].get("replicas", 1)),
        int(status.get("updatedReplicas", 0)),
        int(status.get("readyReplicas", 0)),
    )


def _pods(objects: Sequence[Object], expected: Expectation) -> Iterator[str]:
    for item in unready_pods(objects, expected):
        name = f"{_namespace(item)}/{item['metadata']['name']}"
        yield f"pod {name} on {item['spec'].get('nodeName') or 'no node'} is not Ready: {_pod_state(item)}"


def unready_pods(objects: Sequence[Object], expected: Expectation) -> Iterator[Object]:
    for item in objects:
        if item["kind"] != "Pod" or _namespace(item) not in expected.namespaces:
            continue
        away = item["spec"].get("nodeName", "") in expected.missing_nodes
        if not (away or "deletionTimestamp" in item["metadata"] or _is_up(item)):
            yield item


def _is_up(pod: Object) -> bool:
    status = pod.get("status", {})
    if status.get("phase") == "Succeeded" or _condition(pod, "Ready").get("status") == "True":
        return True
    # A static pod of the control plane. Until 1.21 kubelet tells that its startup probe has passed only with the next
    # periodic sync, a minute and more later; that nodes become Ready and pods get placed shows that it works.
    containers = status.get("containerStatuses", ())
    is_static = MIRROR in pod["metadata"].get("annotations", {})
    return is_static and bool(containers) and all("running" in container.get("state", {}) for container in containers)


def _pod_state(pod: Object) -> str:
    """Why a pod is not ready: what its first waiting or ended container says, or else its conditions."""
    for container, told in troubled(pod):
        return f"container {container['name']}: {_told(told)}"
    for kind in ("PodScheduled", "Ready"):
        condition = _condition(pod, kind)
        if condition and condition.get("status") != "True":
            return _told(condition)
    return str(pod.get("status", {}).get("phase", "unknown"))


def troubled(pod: Object) -> Iterator[tuple[Object, Object]]:
    """Containers of a pod that wait or have ended otherwise than they should, each with what it says of that."""
    status = pod.get("status", {})
    for container in [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]:
        state = container.get("state", {})
        told = state.get("waiting") or state.get("terminated")
        if told and told.get("reason") != "Completed":
            yield container, told


def _condition(item: Object, kind: str) -> Mapping[str, Any]:
    conditions: Sequence[Mapping[str, Any]] = item.get("status", {}).get("conditions", ())
    return next((condition for condition in conditions if condition["type"] == kind), {})


def _told(source: Mapping[str, Any]) -> str:
    return " ".join(str(source[key]) for key in ("reason", "message") if source.get(key)) or "no condition reported"


def _namespace(item: Object) -> str:
    return str(item["metadata"].get("namespace", ""))


def _identity(item: Object) -> str:
    return f"{item['kind'].lower()}/{_namespace(item)}/{item['metadata']['name']}"


def crowded(objects: Sequence[Object], deployments: Sequence[str], namespace: str = "default") -> dict[str, str]:
    """Deployments with several pods, all of them on one node, while another could have some -> that node's name."""
    if len(list(_workers(objects))) < 2:
        return {}
    nodes = {name: list(_nodes_of(objects, f"{name}-", namespace)) for name in deployments}
    return {name: where[0] for name, where in nodes.items() if len(where) > 1 and len(set(where)) == 1}


def _nodes_of(objects: Sequence[Object], beginning: str, namespace: str) -> Iterator[str]:
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
