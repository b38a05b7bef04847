"""A user's files of NetworkPolicies, made ready for the probe pods' namespaces."""

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from kubeproof.config.reading import closest
from kubeproof.matrix.cases import Json
from kubeproof.matrix.layout import TARGET_NAMESPACES
from kubeproof.policy import documents, reading
from kubeproof.state.kubernetes_yaml import Report
from kubeproof.terminal.errors import UserError

DEFAULT_NAMESPACE = TARGET_NAMESPACES[0]
"""Of a policy that names none: the files are for these namespaces, so `default` is not meant."""


def read(paths: Sequence[Path]) -> list[Json]:
    """All NetworkPolicies of the files, as objects for the API. Raises UserError with every problem, one line each."""
    reading.read_files(paths, policies_only=True)
    found = [policy for document in documents.of_files(paths, Report()) for policy in _policies(document.value)]
    if not found:
        raise UserError(f"{', '.join(map(str, paths))}: no NetworkPolicy in it, name a file that has one")
    placed = [_placed(policy) for policy in found]
    if problems := list(_unknown_namespaces(placed)):
        raise UserError(problems)
    return placed


def _policies(value: Any) -> Iterator[Json]:
    """A document's objects; a List holds many. Everything has been checked."""
    if isinstance(value, dict) and str(value.get("kind", "")).endswith("List"):
        yield from value.get("items") or ()
    elif value:
        yield value


def _placed(policy: Json) -> Json:
    """With apiVersion and kind, which items of a NetworkPolicyList need not have, and with a namespace."""
    placed = copy.deepcopy(policy)
    metadata = placed["metadata"]
    placed |= {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    placed["metadata"] = {
        **{key: metadata[key] for key in ("name", "labels", "annotations") if metadata.get(key)},
        "namespace": metadata.get("namespace") or DEFAULT_NAMESPACE,
    }
    placed.pop("status", None)
    return placed


def _unknown_namespaces(policies: Sequence[Json]) -> Iterator[str]:
    for policy in policies:
        metadata = policy["metadata"]
        namespace, name = metadata["namespace"], metadata["name"]
        if namespace in TARGET_NAMESPACES:
            continue
        meant = closest(namespace, TARGET_NAMESPACES) if namespace.startswith("kubeproof") else None
        meant = meant or next((full for full in TARGET_NAMESPACES if full.endswith(f"-{namespace}")), None)
        use = meant or ", ".join(TARGET_NAMESPACES)
        yield f"NetworkPolicy {namespace}/{name}: no probe pods are in that namespace, use {use}"
