"""Objects beside pods and policies that explain an answer: Services, what makes pods, and policies of other kinds.

What of them cannot be read is left out: nothing of theirs is checked as the API server checks it. Pure.
"""

from collections.abc import Iterator, Mapping
from ipaddress import AddressValueError, IPv4Address

from kubeproof.config.reading import closest
from kubeproof.policy import names
from kubeproof.policy.fields import Field
from kubeproof.policy.model import PROTOCOLS, OtherPolicy, Service, ServicePort, Workload

WORKLOADS = (
    *("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job", "CronJob"),
    *("DeploymentConfig", "Rollout"),
)
"""Kinds that make pods; the last two are OpenShift's and Argo's."""
ELSEWHERE = ("HelmRelease", "HelmChart", "Application", "ApplicationSet", "Kustomization", "Terraform")
"""Kinds that stand for objects which are elsewhere (Flux, k3s, Argo CD)."""
DECIDING = ("EgressFirewall", "AuthorizationPolicy", "ServerAuthorization", "HostEndpoint", "NetworkPolicy")
"""Ends of the names of kinds that decide on connections: Calico's, Cilium's, Antrea's, OVN's, Istio's, Linkerd's."""
NOT_DECIDING = ("Staged", "MultiNetworkPolicy")
"""Beginnings of those that only look like it: trials, and policies of networks beside the pod network."""


def is_other_group(group: str) -> bool:
    """Whether a group is of another program than Kubernetes, which has kinds of the same names."""
    return "." in group and not group.endswith("k8s.io")


def decides(kind: str) -> bool:
    """Whether objects of a kind that is not Kubernetes' own NetworkPolicy decide on connections too."""
    written = kind.casefold()
    ends = written.endswith(tuple(end.casefold() for end in DECIDING))
    return ends and not written.startswith(tuple(start.casefold() for start in NOT_DECIDING))


def meant(kind: str, group: str) -> str | None:
    """The kind that was meant by one that does not exist: networkpolicy, Pods, NetworkPolcy of networking.k8s.io."""
    known = {"NetworkPolicy": "networking.k8s.io", "Pod": "", "Namespace": "", "Node": "", "Service": "", "List": ""}
    if kind in known:
        return None
    written = "".join(char for char in kind.casefold() if char.isalnum())
    for name, of_group in known.items():
        singular = name.casefold()
        plurals = (f"{singular}s", f"{singular[:-1]}ies")
        if written == singular or (written in plurals and group == of_group):
            return name
    return closest(kind, ["NetworkPolicy"]) if group == "networking.k8s.io" else None


def other_policy(placed: Field, kind: str, group: str) -> OtherPolicy:
    namespace = placed.get("metadata").get("namespace").value
    return OtherPolicy(placed.place, kind, group, namespace if isinstance(namespace, str) and namespace else None)


def workload(placed: Field, kind: str, namespace: str) -> Workload | None:
    """None for one without a name."""
    spec = placed.get("spec")
    template = spec.get("jobTemplate").get("spec").get("template") if kind == "CronJob" else spec.get("template")
    name = placed.get("metadata").get("name").value
    labels = _texts(template.get("metadata").get("labels").value)
    return Workload(kind, namespace, name, labels) if isinstance(name, str) else None


def service(placed: Field, namespace: str) -> Service | None:
    """None for one without a name."""
    spec, balancer = placed.get("spec"), placed.get("status").get("loadBalancer")
    name, external = placed.get("metadata").get("name").value, spec.get("externalName").value
    if not isinstance(name, str):
        return None
    inner = [spec.get("clusterIP").value, *_list(spec.get("clusterIPs").value)]
    ingress = [entry.get("ip") for entry in _list(balancer.get("ingress").value) if isinstance(entry, Mapping)]
    outer = [spec.get("loadBalancerIP").value, *_list(spec.get("externalIPs").value), *ingress]
    is_external = spec.get("type").value == "ExternalName"
    return Service(
        namespace,
        name,
        tuple(_addresses(inner)),
        tuple(_addresses(outer)),
        {} if is_external else _texts(spec.get("selector").value),
        tuple(_ports(spec.get("ports").value)),
        headless="None" in inner,
        external=str(external or "a name outside") if is_external else "",
    )


def untrue(placed: Field, kind: str, group: str) -> str | None:
    """Why an object is none of a cluster's as it stands; None if it is one."""
    if kind in ("Kustomization", "Component") and group == "kustomize.config.k8s.io":
        return "is a kustomization, from which objects are made first; give the output of kubectl kustomize FOLDER"
    if kind == "Status" and not group:
        message = placed.get("message").value
        said = f" ({message})" if isinstance(message, str) and message else ""
        return f"is an API server's answer{said}, and no object; ask it again"
    if kind == "Table" and group == "meta.k8s.io":
        return "is a table for people to read, and no object; ask for -o yaml"
    if kind == "Template" and (group in ("", "template.openshift.io")) and placed.get("objects").given:
        return "is a template of objects; give the output of oc process --local"
    name = None if is_other_group(group) else meant(kind, group)
    return f"is of a kind that does not exist; write kind: {name}" if name else None


def without_kind(placed: Field) -> str:
    """What to say of a document without a kind, by its file's name and its fields."""
    file = placed.place.partition(" document ")[0].rpartition("/")[2].casefold()
    fields = placed.value if isinstance(placed.value, Mapping) else {}
    if file.startswith("kustomization") or (fields.keys() & {"resources", "bases", "patchesStrategicMerge"}):
        return "is a kustomization, from which objects are made first; give the output of kubectl kustomize FOLDER"
    if file.startswith(("values", "chart.")):
        return "is a part of a Helm chart, which has no objects in it; give the output of helm template"
    return "has no kind; give a Kubernetes object with apiVersion, kind and metadata"


def _ports(entries: object) -> Iterator[ServicePort]:
    for entry in _list(entries):
        if not isinstance(entry, Mapping):
            continue
        protocol = next((name for name in PROTOCOLS if name == (entry.get("protocol") or "TCP")), None)
        number, target = _port(entry.get("port")), entry.get("targetPort")
        if protocol is not None and number is not None:
            named = target if isinstance(target, str) and target else _port(target)
            yield ServicePort(str(entry.get("name") or ""), protocol, number, named, _port(entry.get("nodePort")))


def _port(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 1 <= value <= names.MAX_PORT else None


def _addresses(values: list[object]) -> Iterator[IPv4Address]:
    for value in dict.fromkeys(value for value in values if isinstance(value, str)):
        try:
            yield IPv4Address(value)
        except AddressValueError:
            continue


def _texts(value: object) -> dict[str, str]:
    pairs = value.items() if isinstance(value, Mapping) else ()
    return {key: text for key, text in pairs if isinstance(key, str) and isinstance(text, str)}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []
