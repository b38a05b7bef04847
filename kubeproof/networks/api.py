"""What of a manifest the API of a Kubernetes version serves, and what is done about the rest. Pure.

Sources: Kubernetes documentation, "Deprecated API Migration Guide" (last minors), and the release notes in which each
version of an API became available (first minors).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kubeproof.networks.documents import identity
from kubeproof.networks.manifest import number, within
from kubeproof.terminal.errors import UserError

Object = dict[str, Any]

_ALWAYS = "1.0"
_RBAC = ("ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding")
_WEBHOOKS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
_FLOWS = ("FlowSchema", "PriorityLevelConfiguration")

_KINDS: dict[str, dict[str, tuple[str, str]]] = {
    "v1": dict.fromkeys(
        (
            *("ConfigMap", "Endpoints", "Event", "LimitRange", "Namespace", "Node", "PersistentVolume"),
            *("PersistentVolumeClaim", "Pod", "PodTemplate", "ReplicationController", "ResourceQuota", "Secret"),
            *("Service", "ServiceAccount"),
        ),
        (_ALWAYS, ""),
    ),
    "apps/v1": dict.fromkeys(
        ("ControllerRevision", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"), ("1.9", "")
    ),
    "apps/v1beta2": dict.fromkeys(("DaemonSet", "Deployment", "ReplicaSet", "StatefulSet"), ("1.8", "1.15")),
    "apps/v1beta1": dict.fromkeys(("Deployment", "StatefulSet"), ("1.5", "1.15")),
    "extensions/v1beta1": {
        **dict.fromkeys(("DaemonSet", "Deployment", "ReplicaSet"), ("1.1", "1.15")),
        **dict.fromkeys(("NetworkPolicy", "PodSecurityPolicy"), ("1.3", "1.15")),
        "Ingress": ("1.1", "1.21"),
    },
    "batch/v1": {"Job": ("1.2", ""), "CronJob": ("1.21", "")},
    "batch/v1beta1": {"CronJob": ("1.8", "1.24")},
    "autoscaling/v1": {"HorizontalPodAutoscaler": ("1.2", "")},
    "autoscaling/v2": {"HorizontalPodAutoscaler": ("1.23", "")},
    "autoscaling/v2beta2": {"HorizontalPodAutoscaler": ("1.12", "1.25")},
    "autoscaling/v2beta1": {"HorizontalPodAutoscaler": ("1.8", "1.24")},
    "rbac.authorization.k8s.io/v1": dict.fromkeys(_RBAC, ("1.8", "")),
    "rbac.authorization.k8s.io/v1beta1": dict.fromkeys(_RBAC, ("1.6", "1.21")),
    "apiextensions.k8s.io/v1": {"CustomResourceDefinition": ("1.16", "")},
    "apiextensions.k8s.io/v1beta1": {"CustomResourceDefinition": ("1.7", "1.21")},
    "policy/v1": {"PodDisruptionBudget": ("1.21", "")},
    "policy/v1beta1": {"PodDisruptionBudget": ("1.5", "1.24"), "PodSecurityPolicy": ("1.10", "1.24")},
    "networking.k8s.io/v1": {"NetworkPolicy": ("1.7", ""), **dict.fromkeys(("Ingress", "IngressClass"), ("1.19", ""))},
    "networking.k8s.io/v1beta1": {"Ingress": ("1.14", "1.21"), "IngressClass": ("1.18", "1.21")},
    "scheduling.k8s.io/v1": {"PriorityClass": ("1.14", "")},
    "scheduling.k8s.io/v1beta1": {"PriorityClass": ("1.11", "1.21")},
    "admissionregistration.k8s.io/v1": {
        **dict.fromkeys(_WEBHOOKS, ("1.16", "")),
        **dict.fromkeys(("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"), ("1.30", "")),
    },
    "admissionregistration.k8s.io/v1beta1": dict.fromkeys(_WEBHOOKS, ("1.9", "1.21")),
    "apiregistration.k8s.io/v1": {"APIService": ("1.10", "")},
    "apiregistration.k8s.io/v1beta1": {"APIService": ("1.7", "1.21")},
    "coordination.k8s.io/v1": {"Lease": ("1.14", "")},
    "coordination.k8s.io/v1beta1": {"Lease": ("1.12", "1.21")},
    "discovery.k8s.io/v1": {"EndpointSlice": ("1.21", "")},
    "discovery.k8s.io/v1beta1": {"EndpointSlice": ("1.17", "1.24")},
    "node.k8s.io/v1": {"RuntimeClass": ("1.20", "")},
    "node.k8s.io/v1beta1": {"RuntimeClass": ("1.14", "1.24")},
    "storage.k8s.io/v1": {
        "StorageClass": ("1.6", ""),
        "VolumeAttachment": ("1.13", ""),
        "CSINode": ("1.17", ""),
        "CSIDriver": ("1.18", ""),
    },
    "certificates.k8s.io/v1": {"CertificateSigningRequest": ("1.19", "")},
    "flowcontrol.apiserver.k8s.io/v1": dict.fromkeys(_FLOWS, ("1.29", "")),
    "flowcontrol.apiserver.k8s.io/v1beta3": dict.fromkeys(_FLOWS, ("1.26", "1.31")),
    "flowcontrol.apiserver.k8s.io/v1beta2": dict.fromkeys(_FLOWS, ("1.23", "1.28")),
    "flowcontrol.apiserver.k8s.io/v1beta1": dict.fromkeys(_FLOWS, ("1.20", "1.25")),
}
SERVED = {(version, kind): span for version, kinds in _KINDS.items() for kind, span in kinds.items()}
"""(apiVersion, kind) -> first and last minor that serve it; last "" is the current one."""

CEL_FROM, CEL_KEY = "1.25", "x-kubernetes-validations"
"""Rules in schemas of CustomResourceDefinitions: served by default from 1.25 (CustomResourceValidationExpressions)."""

OTHER_VERSIONS = {
    # Both have the fields minAvailable, maxUnavailable and selector; they differ in what an empty selector means.
    ("policy/v1", "PodDisruptionBudget"): "policy/v1beta1",
    ("policy/v1beta1", "PodDisruptionBudget"): "policy/v1",
    # The versions have the same fields (Deprecated API Migration Guide).
    **{("rbac.authorization.k8s.io/v1beta1", kind): "rbac.authorization.k8s.io/v1" for kind in _RBAC},
    ("scheduling.k8s.io/v1beta1", "PriorityClass"): "scheduling.k8s.io/v1",
}
DROPPED = {"PodSecurityPolicy": "nothing else refers to it where no PodSecurityPolicy is enforced"}
"""Kinds that can be left out where they are not served, and why that does no harm."""


@dataclass(frozen=True)
class Adapted:
    """Objects that the API serves, and a line for each that was changed or left out for it."""

    objects: tuple[Object, ...]
    notes: tuple[str, ...]


def is_served(api_version: str, kind: str, minor: str) -> bool | None:
    """Whether a minor such as "1.20" serves a kind; None for one that is not known."""
    served = SERVED.get((api_version, kind))
    if served is None:
        return None
    return within(minor, *served)


def unserved(objects: Sequence[Object], minor: str) -> list[Object]:
    """Those that a minor does not serve, unknown kinds included; kinds that they define are."""
    own = set(_defined(objects))
    return [
        item
        for item in objects
        if (item["apiVersion"], item["kind"]) not in own and not is_served(item["apiVersion"], item["kind"], minor)
    ]


def adapt(objects: Sequence[Object], minor: str, origin: str) -> Adapted:
    """Have only what is served. Raises UserError with a line for each object that nothing can be done about."""
    lacking = {id(item) for item in unserved(objects, minor)}
    kept: list[Object] = []
    notes: list[str] = []
    problems = list(_rules_in_schemas(objects, minor, origin))
    for item in objects:
        if id(item) not in lacking:
            kept.append(item)
            continue
        api_version, kind = item["apiVersion"], item["kind"]
        other = OTHER_VERSIONS.get((api_version, kind), "")
        what = f"{identity(item)} is {api_version}, which Kubernetes {minor} does not serve"
        if is_served(api_version, kind, minor) is None:
            unknown = f"{identity(item)} is {api_version}, which is not known here"
            mend = "have the manifest bring its CustomResourceDefinition, or apply the object by yourself"
            problems.append(f"cni_manifest: {origin}: {unknown}, and which nothing in the manifest defines; {mend}")
            continue
        if other and is_served(other, kind, minor) and _means_the_same(item):
            kept.append({**item, "apiVersion": other})
            notes.append(f"{what}: applied as {other}")
        elif kind in DROPPED:
            notes.append(f"{what}: left out, {DROPPED[kind]}")
        else:
            problems.append(f"cni_manifest: {origin}: {what}; name a manifest for {minor}")
    if problems:
        raise UserError(problems)
    return Adapted(tuple(kept), tuple(notes))


def _means_the_same(item: Object) -> bool:
    """A budget's empty selector is every pod in policy/v1 and none in v1beta1."""
    if item["kind"] != "PodDisruptionBudget":
        return True
    selector = item.get("spec", {}).get("selector") or {}
    return bool(selector.get("matchLabels") or selector.get("matchExpressions"))


def _defined(objects: Sequence[Object]) -> Iterator[tuple[str, str]]:
    for item in objects:
        if item["kind"] == "CustomResourceDefinition":
            spec = item["spec"]
            versions = [version["name"] for version in spec.get("versions", ())] or [spec.get("version")]
            yield from ((f"{spec['group']}/{version}", spec["names"]["kind"]) for version in versions)


def _rules_in_schemas(objects: Sequence[Object], minor: str, origin: str) -> Iterator[str]:
    if number(minor) >= number(CEL_FROM):
        return
    named = [
        identity(item) for item in objects if item["kind"] == "CustomResourceDefinition" and _has_key(item, CEL_KEY)
    ]
    if named:
        more = f" and {len(named) - 1} more" if len(named) > 1 else ""
        yield (
            f"cni_manifest: {origin}: {named[0]}{more} has {CEL_KEY}, which Kubernetes {minor} does not know "
            f"(from {CEL_FROM}); name a manifest for {minor}"
        )


def _has_key(value: object, key: str) -> bool:
    if isinstance(value, dict):
        return key in value or any(_has_key(item, key) for item in value.values())
    return isinstance(value, list) and any(_has_key(item, key) for item in value)
