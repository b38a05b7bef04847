"""References of images: which a manifest has, and what they are called in another repository. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any

Object = dict[str, Any]

WORKLOADS = ("DaemonSet", "Deployment", "ReplicaSet", "ReplicationController", "StatefulSet", "Job")


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
    """The specs of all workloads' pods."""
    for item in objects:
        if item["kind"] in WORKLOADS:
            yield item["spec"]["template"]["spec"]
        elif item["kind"] == "CronJob":
            yield item["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        elif item["kind"] == "Pod":
            yield item["spec"]


def containers(objects: Sequence[Object]) -> Iterator[Object]:
    """All containers of all workloads, init containers first."""
    for spec in pod_specs(objects):
        yield from (*(spec.get("initContainers") or ()), *(spec.get("containers") or ()))


def images(objects: Sequence[Object]) -> tuple[str, ...]:
    """References of all images of all workloads, each once."""
    return tuple(dict.fromkeys(container["image"] for container in containers(objects)))
