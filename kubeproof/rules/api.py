"""The API objects that checks are held against, parsed from one `kubectl get … -o json`. Pure."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from typing import TypeVar

from kubeproof.config.patience import patient
from kubeproof.config.tables import paths
from kubeproof.policy.model import DIRECTIONS, Namespaced, World
from kubeproof.policy.reading import read_cluster
from kubeproof.state.errors import ParseError
from kubeproof.state.jsontext import Item, read, read_each
from kubeproof.terminal.errors import UserError

T = TypeVar("T")

ASK = f"kubectl --kubeconfig {paths.ADMIN_CONF} --request-timeout=8s"
KINDS = "nodes,pods,services,endpoints,networkpolicies,namespaces"
KUBELET_SECONDS = 4
SOURCE = "kubectl get"


def command(blocks: str = "") -> str:
    """Shell text for the control plane node, where kubeadm leaves the administrator's kubeconfig.

    ``blocks`` is Agent.blocks: a kind of the pod network's own, which the API may not have yet.
    """
    known = f"{ASK} get {KINDS} -A -o json"
    return f"{known.replace(KINDS, f'{KINDS},{blocks}')} 2>/dev/null || {known}" if blocks else known


def kubelets_command(addresses: Mapping[str, IPv4Address]) -> str:
    """Shell text for the control plane host: ask each node's kubelet (name -> address) as the API server does."""
    pki = "/etc/kubernetes/pki/apiserver-kubelet-client"
    curl = f"curl --silent --show-error --insecure --noproxy '*' --cert {pki}.crt --max-time {patient(KUBELET_SECONDS)}"
    ask = f"""ask() {{ printf '%s=%s\\n' "$1" "$({curl} --key {pki}.key --write-out ' %{{http_code}}' \\
  "https://$2:10250/healthz" 2>&1 | head -n 1)"; }}"""
    return "\n".join([ask, *(f"ask {name} {address} &" for name, address in addresses.items()), "wait"])


FINISHED = ("Succeeded", "Failed")


@dataclass(frozen=True)
class NodeObject:
    """A node as the API has it. ``ready`` is the status of its Ready condition: True, False or Unknown."""

    name: str
    pod_cidr: IPv4Network | None
    internal_ip: IPv4Address | None
    ready: str
    ready_message: str
    annotations: dict[str, str] = field(default_factory=dict)
    info: Mapping[str, str] = field(default_factory=dict)
    """What kubelet tells of itself and its machine (nodeInfo): kubeletVersion, osImage and the like."""


@dataclass(frozen=True)
class Pod(Namespaced):
    """A pod. ``ip`` is None until it has one; ``host_network`` pods have their node's."""

    namespace: str
    name: str
    uid: str
    node: str
    ip: IPv4Address | None
    host_network: bool
    phase: str
    ready: bool
    terminating: bool
    labels: dict[str, str] = field(default_factory=dict)
    trouble: str = ""
    """Why a container of it does not run, as kubelet told the API."""

    @property
    def is_running(self) -> bool:
        return self.phase == "Running" and not self.terminating


@dataclass(frozen=True)
class ServicePort:
    name: str
    protocol: str
    """In lower case, as iptables writes it."""
    port: int
    node_port: int | None


@dataclass(frozen=True)
class Service(Namespaced):
    """A Service; ``cluster_ip`` is None for a headless one and for an ExternalName."""

    namespace: str
    name: str
    cluster_ip: IPv4Address | None
    ports: tuple[ServicePort, ...]
    local_traffic_only: bool
    """externalTrafficPolicy: Local."""
    session_affinity: bool

    def port_name(self, port: ServicePort) -> str:
        """As kube-proxy names a port of a Service in comments: namespace/name[:port]."""
        return f"{self.full_name}:{port.name}" if port.name else self.full_name


@dataclass(frozen=True)
class Backend:
    address: IPv4Address
    port: int

    def __str__(self) -> str:
        return f"{self.address}:{self.port}"


@dataclass(frozen=True)
class ApiObjects:
    nodes: tuple[NodeObject, ...] = ()
    pods: tuple[Pod, ...] = ()
    services: tuple[Service, ...] = ()
    endpoints: dict[tuple[str, str, str], frozenset[Backend]] = field(default_factory=dict)
    """Ready endpoints by namespace, Service name and port name."""
    policies: dict[str, str] = field(default_factory=dict)
    """resourceVersion of each NetworkPolicy by ``namespace/name``."""
    kubelets: Mapping[str, str] = field(default_factory=dict)
    """What each node's kubelet answered the control plane host: body and HTTP status, or what curl said."""
    world: World | None = field(default_factory=World)
    """What policies are about, without pods where there is no policy; None where they could not be understood."""
    isolated: Mapping[str, tuple[str, ...]] | None = None
    """Names of the policies that isolate a pod, by the pod's; None where that could not be decided."""
    blocks: Mapping[str, tuple[IPv4Network, ...]] = field(default_factory=dict)
    """The blocks of addresses of each node, where the pod network gives it some."""
    odd: tuple[str, ...] = ()
    """Objects that could not be read, and why; they are missing above."""

    def isolating(self, pod: Pod) -> tuple[str, ...]:
        """Policies that isolate a pod in any direction; all of its namespace where nobody can say."""
        if self.isolated is not None:
            return self.isolated.get(pod.full_name, ())
        return tuple(sorted(name for name in self.policies if name.partition("/")[0] == pod.namespace))

    def node(self, name: str) -> NodeObject | None:
        return next((node for node in self.nodes if node.name == name), None)

    def service(self, full_name: str) -> Service | None:
        return next((service for service in self.services if service.full_name == full_name), None)

    def backends(self, service: Service, port: ServicePort) -> frozenset[Backend]:
        return self.endpoints.get((service.namespace, service.name, port.name), frozenset())

    def pods_with_own_address(self, node: str) -> tuple[Pod, ...]:
        """Running pods of a node that are in the pod network (not hostNetwork), by name."""
        pods = (pod for pod in self.pods if pod.node == node and not pod.host_network and pod.is_running and pod.ip)
        return tuple(sorted(pods, key=lambda pod: pod.full_name))

    def labelled(self, namespace: str, label: str, value: str) -> tuple[Pod, ...]:
        """Running and ready pods with a label, by name."""
        pods = (
            pod
            for pod in self.pods
            if pod.namespace == namespace and pod.labels.get(label) == value and pod.is_running and pod.ready
        )
        return tuple(sorted(pods, key=lambda pod: pod.name))


def parse_objects(text: str) -> ApiObjects:
    """Parse a v1 List of nodes, pods, services and endpoints; of those with addresses of both families, IPv4's.

    An object that cannot be read is in ``odd``. Raises ParseError for a text that is no such list.
    """
    top = Item(SOURCE, "top", read(SOURCE, text))
    odd: list[str] = []
    listed = top.json("items") if "items" in top else ""
    by_kind: dict[str, list[Item]] = {}
    for kind, found_item in read_each(SOURCE, listed, lambda item: [(item.text("kind"), item)], odd):
        by_kind.setdefault(kind, []).append(found_item)

    def each(kind: str, make: Callable[[Item], T]) -> Iterator[T]:
        for item in by_kind.get(kind, []):
            try:
                yield make(item)
            except ParseError as error:
                odd.append(f"{kind} {_name(item)}: {error}")

    world = _world(json.loads(text)) if "NetworkPolicy" in by_kind else World()
    endpoints: dict[tuple[str, str, str], frozenset[Backend]] = {}
    for found in each("Endpoints", _backends):
        for key, backends in found:
            endpoints[key] = endpoints.get(key, frozenset()) | backends
    blocks: dict[str, tuple[IPv4Network, ...]] = {}
    for node, block in filter(None, each("BlockAffinity", _block)):
        blocks[node] = tuple(sorted({*blocks.get(node, ()), block}))
    return ApiObjects(
        nodes=tuple(each("Node", _node)),
        pods=tuple(each("Pod", _pod)),
        services=tuple(each("Service", _service)),
        endpoints=endpoints,
        policies=dict(each("NetworkPolicy", _version)),
        world=world,
        isolated=_isolated(world) if world else None,
        blocks=blocks,
        odd=tuple(odd),
    )


def _world(answer: object) -> World | None:
    try:
        return read_cluster(answer).world
    except UserError:
        return None


def _isolated(world: World) -> dict[str, tuple[str, ...]]:
    isolating = {
        name: {policy.full_name for direction in DIRECTIONS for policy in world.isolating(pod, direction)}
        for name, pod in world.pods.items()
    }
    return {name: tuple(sorted(policies)) for name, policies in isolating.items() if policies}


def _name(item: Item) -> str:
    try:
        metadata = item.item("metadata")
        return "/".join(filter(None, (metadata.text_or_none("namespace"), metadata.text_or_none("name"))))
    except ParseError:
        return "without a name"


def _ipv4(item: Item, key: str, all_of_them: Iterable[str]) -> str | None:
    """The IPv4 one of a field that has one value and a list of a value for each family; None if there is none."""
    values = [item.text_or_none(key) or "", *all_of_them]
    return next((value for value in values if value not in ("", "None") and ":" not in value), None)


def _node(item: Item) -> NodeObject:
    metadata, spec, status = item.item("metadata"), item.item("spec"), item.item("status")
    ready = _condition(status, "Ready")
    internal = [entry for entry in status.items("addresses") if entry.text("type") == "InternalIP"]
    pod_cidr = _ipv4(spec, "podCIDR", spec.texts("podCIDRs"))
    return NodeObject(
        name=metadata.text("name"),
        pod_cidr=spec.as_network("podCIDR", pod_cidr) if pod_cidr else None,
        internal_ip=next((entry.address("address") for entry in internal if ":" not in entry.text("address")), None),
        ready=ready.text("status") if ready else "Unknown",
        ready_message=(ready.text_or_none("message") or "") if ready else "the node object has no Ready condition",
        annotations=metadata.mapping("annotations"),
        info=status.mapping("nodeInfo"),
    )


def _block(item: Item) -> tuple[str, IPv4Network] | None:
    """A node's claim to a block of Calico's, if it holds and is of IPv4 (libcalico-go, BlockAffinitySpec)."""
    spec = item.item("spec")
    cidr, held = spec.text("cidr"), spec.text("state") == "confirmed" and spec.text_or_none("deleted") != "true"
    return (spec.text("node"), spec.as_network("cidr", cidr)) if held and ":" not in cidr else None


def _version(item: Item) -> tuple[str, str]:
    metadata = item.item("metadata")
    return f"{metadata.text('namespace')}/{metadata.text('name')}", metadata.text("resourceVersion")


def _condition(status: Item, kind: str) -> Item | None:
    return next((entry for entry in status.items("conditions") if entry.text("type") == kind), None)


def _pod(item: Item) -> Pod:
    metadata, spec, status = item.item("metadata"), item.item("spec"), item.item("status")
    ready = _condition(status, "Ready")
    ip = _ipv4(status, "podIP", (entry.text("ip") for entry in status.items("podIPs")))
    return Pod(
        namespace=metadata.text("namespace"),
        name=metadata.text("name"),
        uid=metadata.text("uid"),
        node=spec.text_or_none("nodeName") or "",
        ip=status.as_address("podIP", ip) if ip else None,
        host_network=spec.truth("hostNetwork"),
        phase=status.text_or_none("phase") or "",
        ready=ready is not None and ready.text("status") == "True",
        terminating="deletionTimestamp" in metadata,
        labels=metadata.mapping("labels"),
        trouble=_trouble(status),
    )


def _trouble(status: Item) -> str:
    """What the first container that is not ready waits for or ended with, and how often it was started anew."""
    for kind in ("initContainerStatuses", "containerStatuses"):
        for container in status.items(kind):
            state = container.item("state")
            for end in ("waiting", "terminated"):
                words = [state.item(end).text_or_none(part) or "" for part in ("reason", "message")]
                if any(words) and words[0] not in ("Completed", "PodInitializing", "ContainerCreating"):
                    restarts = container.number_or_none("restartCount")
                    again = f" (restarted {restarts} times)" if restarts else ""
                    return f"container {container.text('name')}: {': '.join(filter(None, words))}{again}"
    return ""


def _service(item: Item) -> Service:
    metadata, spec = item.item("metadata"), item.item("spec")
    cluster_ip = _ipv4(spec, "clusterIP", spec.texts("clusterIPs"))
    return Service(
        namespace=metadata.text("namespace"),
        name=metadata.text("name"),
        cluster_ip=spec.as_address("clusterIP", cluster_ip) if cluster_ip else None,
        ports=tuple(_service_port(port) for port in spec.items("ports")),
        local_traffic_only=spec.text_or_none("externalTrafficPolicy") == "Local",
        session_affinity=spec.text_or_none("sessionAffinity") == "ClientIP",
    )


def _service_port(item: Item) -> ServicePort:
    return ServicePort(
        name=item.text_or_none("name") or "",
        protocol=(item.text_or_none("protocol") or "TCP").lower(),
        port=item.number("port"),
        node_port=item.number_or_none("nodePort") or None,
    )


def _backends(item: Item) -> list[tuple[tuple[str, str, str], frozenset[Backend]]]:
    metadata, found = item.item("metadata"), []
    for subset in item.items("subsets"):
        addresses = [entry.address("ip") for entry in subset.items("addresses") if ":" not in entry.text("ip")]
        for port in subset.items("ports"):
            key = (metadata.text("namespace"), metadata.text("name"), port.text_or_none("name") or "")
            found.append((key, frozenset(Backend(address, port.number("port")) for address in addresses)))
    return found


def missing_kinds(objects: ApiObjects) -> str | None:
    """What an API of a running cluster cannot lack; None if all is there."""
    odd = "".join(f"; not understood: {line}" for line in objects.odd)
    if not objects.nodes:
        return f"the API has no node{odd}"
    if objects.service("default/kubernetes") is None:
        return f"the API has no Service default/kubernetes{odd}"
    return None
