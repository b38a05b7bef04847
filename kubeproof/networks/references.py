"""References of images: which a manifest has, and what they are called in another repository. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any

Object = dict[str, Any]

WORKLOADS = ("DaemonSet", "Deployment", "ReplicaSet", "ReplicationController", "StatefulSet", "Job")
OS_LABELS = ("kubernetes.io/os", "beta.kubernetes.io/os")


def in_repository(image: str, repository: str) -> str:
    """What an image is called there: the registry's name is replaced, path, tag and digest stay.

    docker.io/calico/cni:v3.24.5 in registry.example.net:5000 is registry.example.net:5000/calico/cni:v3.24.5. With an
    empty repository it is the image as published.
    """
    return f"{repository}/{without_registry(image)}" if repository else image


def without_registry(image: str) -> str:
    """Path, tag and digest. As Docker reads it, the part before the first slash is a registry if it has a dot or a
    colon or is localhost (distribution, reference/normalize.go, splitDockerDomain)."""
    first, slash, rest = image.partition("/")
    is_registry = bool(slash) and ("." in first or ":" in first or first == "localhost")
    return rest if is_registry else image


def pod_specs(objects: Sequence[Object]) -> Iterator[Object]:
    """The specs of all workloads' pods that may run on Linux."""
    for item in objects:
        spec = _pod_spec(item)
        selector = (spec or {}).get("nodeSelector") or {}
        if spec is not None and "windows" not in (selector.get(label) for label in OS_LABELS):
            yield spec


def _pod_spec(item: Object) -> Object | None:
    if item["kind"] in WORKLOADS:
        item = item["spec"]["template"]
    elif item["kind"] == "CronJob":
        item = item["spec"]["jobTemplate"]["spec"]["template"]
    elif item["kind"] != "Pod":
        return None
    spec: Object = item["spec"]
    return spec


def host_paths(objects: Sequence[Object]) -> tuple[tuple[str, str], ...]:
    """Path and type of each hostPath that kubelet checks on every node before it starts a pod of a DaemonSet."""
    specs = pod_specs([item for item in objects if item["kind"] == "DaemonSet"])
    sources = [volume.get("hostPath") or {} for spec in specs for volume in spec.get("volumes") or ()]
    return tuple(dict.fromkeys((source["path"], source["type"]) for source in sources if source.get("type")))


def containers(objects: Sequence[Object]) -> Iterator[Object]:
    """All containers of all workloads, init containers first."""
    for spec in pod_specs(objects):
        yield from (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))


def images(objects: Sequence[Object]) -> tuple[str, ...]:
    """References of all images of all workloads, each once."""
    return tuple(dict.fromkeys(container["image"] for container in containers(objects)))
