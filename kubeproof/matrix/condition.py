"""What has to be in force on every node before a case is probed, and what is still missing. Pure."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from kubeproof.matrix.cases import Json
from kubeproof.matrix.layout import TARGET_NAMESPACES


@dataclass(frozen=True)
class Wanted:
    """The API's objects: policies by resourceVersion, pods by address and hash of labels, namespaces by hash."""

    policies: Mapping[str, str]
    pods: Mapping[str, tuple[str, str]]
    namespaces: Mapping[str, str]


def labels_hash(labels: Mapping[str, str]) -> str:
    """As podnet writes it (agents/podnet/policy/objects.py)."""
    text = json.dumps(dict(labels), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def wanted(pods: list[Json], namespaces: list[Json], policies: list[Json]) -> Wanted:
    """What the API has in the namespaces that policies may be in."""
    return Wanted(
        policies={_name(item): str(item["metadata"]["resourceVersion"]) for item in policies if _is_ours(item)},
        pods={
            _name(item): (str(item["status"].get("podIP", "")), labels_hash(_labels(item)))
            for item in pods
            if _is_ours(item)
        },
        namespaces={
            item["metadata"]["name"]: labels_hash(_labels(item))
            for item in namespaces
            if item["metadata"]["name"] in TARGET_NAMESPACES
        },
    )


def missing(wanted: Wanted, state: Json) -> Iterator[str]:
    policies = {
        name: str(version)
        for name, version in state.get("policies", {}).items()
        if name.partition("/")[0] in TARGET_NAMESPACES
    }
    for name, version in wanted.policies.items():
        if name not in policies:
            yield f"policy {name} is not in force"
        elif policies[name] != version:
            yield f"policy {name} is in force as version {policies[name]}, not {version}"
    yield from (f"policy {name} is still in force" for name in policies if name not in wanted.policies)
    for name, (address, labels) in wanted.pods.items():
        if state.get("pods", {}).get(name) != {"ip": address, "labels": labels}:
            yield f"pod {name} is not known with its address and labels"
    for name, labels in wanted.namespaces.items():
        if state.get("namespaces", {}).get(name) != labels:
            yield f"namespace {name} is not known with its labels"


def inexpressible(wanted: Wanted, state: Json) -> dict[str, str]:
    """Policies of ours that the agent enforces strictly since it cannot express them -> why."""
    return {name: str(reason) for name, reason in state.get("inexpressible", {}).items() if name in wanted.policies}


def _is_ours(item: Json) -> bool:
    return item["metadata"]["namespace"] in TARGET_NAMESPACES


def _name(item: Json) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"


def _labels(item: Json) -> dict[str, str]:
    return item["metadata"].get("labels") or {}
