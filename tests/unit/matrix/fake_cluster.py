"""A cluster in memory: an API server with little more than the objects, and clients that see what they are told to."""

import copy
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from kubeproof.config.cluster import Cluster, LoadedInventory, Node
from kubeproof.config.settings import parse
from kubeproof.matrix import condition, plan
from kubeproof.matrix import layout as layouts
from kubeproof.matrix.api import NOT_FOUND, ApiError
from kubeproof.matrix.expected import expected
from kubeproof.matrix.layout import TARGET_NAMESPACES
from kubeproof.matrix.table import Key, Mark, TruthTable
from kubeproof.policy.reading import API_VERSIONS, read_cluster
from tests.unit.samples import SETTINGS

Json = dict[str, Any]
GATEWAY = IPv4Address("192.168.200.1")
COLLECTIONS = ("namespaces", "pods", "services", "networkpolicies", "nodes", "daemonsets", "serviceaccounts")
KINDS = {"namespaces": "Namespace", "pods": "Pod", "services": "Service", "networkpolicies": "NetworkPolicy"}


def loaded(**changes: object) -> LoadedInventory:
    """The lab's three nodes."""
    settings = parse({**SETTINGS, "probe_image": "192.168.200.1:5000/probe:1", **changes})
    names = ("k8s-master", "k8s-node1", "k8s-node2")
    nodes = tuple(
        Node(name, IPv4Address(f"192.168.200.{11 + number}"), "worker" if number else "control-plane")
        for number, name in enumerate(names)
    )
    return LoadedInventory(Path("inventory/lab.py"), Cluster(settings, nodes), {})


@dataclass
class FakeApi:
    """Objects by collection, namespace and name. ``requests`` are what was asked, ``drops`` fields it does not know."""

    objects: dict[tuple[str, str, str], Json] = field(default_factory=dict)
    requests: list[tuple[str, str]] = field(default_factory=list)
    drops: tuple[str, ...] = ("endPort",)
    refuses: str = ""
    closed: bool = False
    before: Callable[[str, str], None] = lambda method, path: None
    versions: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    addresses: Iterator[int] = field(default_factory=lambda: itertools.count(20))
    node_ports: Iterator[int] = field(default_factory=lambda: itertools.count(30000))

    def request(self, method: str, path: str, body: Json | None = None, **query: str) -> Json:
        self.requests.append((method, path))
        self.before(method, path)
        if path == "/version":
            return {"major": "1", "minor": "20"}
        collection, namespace, name = _taken_apart(path)
        if method == "GET" and not name:
            return {"items": self.of(collection, namespace)}
        if method == "GET":
            return self._one(collection, namespace, name)
        if method == "POST" and body is not None:
            return self._create(collection, namespace, body, dry=bool(query.get("dryRun")))
        if method == "PATCH" and body is not None:
            return self._patch(self._one(collection, namespace, name), body)
        assert method == "DELETE"
        return self._delete(collection, namespace, name)

    def close(self) -> None:
        self.closed = True

    def of(self, collection: str, namespace: str = "") -> list[Json]:
        return [
            item for (kind, where, _), item in self.objects.items() if kind == collection and namespace in ("", where)
        ]

    def names(self, collection: str) -> set[str]:
        return {"/".join(filter(None, key[1:])) for key in self.objects if key[0] == collection}

    def _one(self, collection: str, namespace: str, name: str) -> Json:
        if (collection, namespace, name) not in self.objects:
            raise ApiError(f"{collection} {name} not found", NOT_FOUND)
        return self.objects[collection, namespace, name]

    def _create(self, collection: str, namespace: str, body: Json, *, dry: bool = False) -> Json:
        if self.refuses and collection == "networkpolicies":
            raise ApiError("is invalid", 422, (self.refuses,))
        item: Json = _without(copy.deepcopy(body), self.drops)
        item["metadata"]["resourceVersion"] = str(next(self.versions))
        if dry:
            return item
        assert namespace == item["metadata"].get("namespace", "")
        self.objects[collection, namespace, item["metadata"]["name"]] = item
        self._bring_up(collection, item)
        return item

    def _bring_up(self, collection: str, item: Json) -> None:
        """What controllers, kubelets and the API server itself add."""
        number = next(self.addresses)
        if collection == "namespaces":
            name = item["metadata"]["name"]
            self.objects["serviceaccounts", name, "default"] = {"metadata": {"name": "default", "namespace": name}}
        elif collection == "pods":
            node = self.objects["nodes", "", item["spec"]["nodeName"]]
            own = node["status"]["addresses"][0]["address"]
            address = own if item["spec"].get("hostNetwork") else node["spec"]["podCIDR"].replace("0/24", str(number))
            item["status"] = {"phase": "Running", "podIP": address, "containerStatuses": [{"ready": True}]}
        elif collection == "services":
            item["spec"]["clusterIP"] = f"10.1.7.{number}"
            for port in item["spec"]["ports"] if item["spec"].get("type") == "NodePort" else ():
                port["nodePort"] = next(self.node_ports)

    def _patch(self, item: Json, body: Json) -> Json:
        for kind, values in body["metadata"].items():
            merged = {**item["metadata"].get(kind, {}), **values}
            item["metadata"][kind] = {key: value for key, value in merged.items() if value is not None}
        return item

    def _delete(self, collection: str, namespace: str, name: str) -> Json:
        for key in list(self.objects):
            inside = collection == "namespaces" and key[1] == name
            if inside or (key[0] == collection and key[1] == namespace and name in ("", key[2])):
                del self.objects[key]
        return {}


def _taken_apart(path: str) -> tuple[str, str, str]:
    """Collection, namespace and name of a path."""
    parts = [part for part in path.split("/") if part]
    words = parts[2:] if parts[0] == "api" else parts[3:]
    namespace = ""
    if words[0] == "namespaces" and len(words) > 2:
        namespace, words = words[1], words[2:]
    assert words[0] in COLLECTIONS, path
    return words[0], namespace, words[1] if len(words) > 1 else ""


def _without(value: Any, names: Sequence[str]) -> Any:
    if isinstance(value, dict):
        return {key: _without(item, names) for key, item in value.items() if key not in names}
    return [_without(item, names) for item in value] if isinstance(value, list) else value


def api() -> FakeApi:
    """An API server of a cluster with podnet and DNS."""
    made = FakeApi()
    for number, node in enumerate(loaded().cluster.nodes):
        made.objects["nodes", "", node.name] = {
            "metadata": {"name": node.name},
            "spec": {"podCIDR": f"10.244.{number}.0/24"},
            "status": {"addresses": [{"type": "InternalIP", "address": str(node.address)}]},
        }
    made.objects["daemonsets", "kube-system", "podnet"] = {"metadata": {"name": "podnet", "namespace": "kube-system"}}
    dns = {
        "metadata": {"name": "kube-dns-1", "namespace": "kube-system", "labels": {"k8s-app": "kube-dns"}},
        "spec": {"nodeName": "k8s-node1", "containers": [{"name": "dns"}]},
    }
    made._create("pods", "kube-system", dns)
    return made


@dataclass
class FakeClients:
    """Clients of all pods: they see what the engine says of the API's objects, but for ``lies`` and dead channels."""

    loaded: LoadedInventory
    api: FakeApi
    clients: Sequence[str]
    lies: Callable[[Key, int], str | None] = lambda key, count: None
    """(cell, how many times it was probed) -> an outcome instead of the right one."""
    dead: frozenset[str] = frozenset()
    state: str = "in force"
    """What nodes say: in force, late (the old state for a few questions), never, off, or nothing."""
    no_sctp: frozenset[str] = frozenset()
    asked: list[Mapping[str, Json]] = field(default_factory=list)
    probed: dict[Key, int] = field(default_factory=dict)
    questions: int = 0
    closed: bool = False
    attempts: dict[tuple[str, str, str, int], plan.Attempt] = field(default_factory=dict)
    layout: layouts.Layout | None = None
    truth: TruthTable | None = None

    def open(self) -> Mapping[str, str]:
        return {}

    def close(self) -> None:
        self.closed = True

    def ask(self, requests: Mapping[str, Json]) -> dict[str, Json]:
        self.asked.append(requests)
        if any(request["do"] == "probe" for request in requests.values()):
            self.look()
        return {client: self._answer(client, request) for client, request in requests.items()}

    def _answer(self, client: str, request: Json) -> Json:
        assert client in self.clients
        if client in self.dead:
            return {"problem": f"channel to {client}: ended (Connection closed; log: x.log)"}
        match request["do"]:
            case "hello":
                return {"pod": client, "sctp": "raw sockets are refused" if client in self.no_sctp else ""}
            case "state":
                return self._state()
            case _:
                return self._probe(client, request)

    def _state(self) -> Json:
        self.questions += 1
        if self.state == "nothing":
            return {"state": None}
        if self.state == "off":
            return {"state": {"enforced": False}}
        wanted = condition.wanted(*(self.api.of(name) for name in ("pods", "namespaces", "networkpolicies")))
        late = self.state == "never" or (self.state == "late" and self.questions < 30)
        return {
            "state": {
                "enforced": True,
                "policies": {} if late else dict(wanted.policies),
                "pods": {name: {"ip": ip, "labels": labels} for name, (ip, labels) in wanted.pods.items()},
                "namespaces": dict(wanted.namespaces),
                "inexpressible": {},
            }
        }

    def look(self) -> None:
        """What is true of the API's objects now."""
        if not self.attempts:
            found = layouts.read(self.loaded.cluster, *(self.api.of(name) for name in ("pods", "services", "nodes")))
            self.layout = replace(found, outside=GATEWAY)
            for item in plan.plan(self.layout):
                self.attempts[item.client, item.key.combination.protocol, item.address, item.port] = item
        assert self.layout is not None
        self.truth = expected(self._world(), self.layout, self.attempts.values())

    def _probe(self, client: str, request: Json) -> Json:
        assert self.truth is not None
        results = []
        for probe in request["probes"]:
            attempt = self.attempts[client, probe["protocol"], probe["address"], probe["port"]]
            count = self.probed[attempt.key] = self.probed.get(attempt.key, 0) + 1
            right = "open" if self.truth.cells[attempt.key].mark is Mark.ALLOWED or self.state == "off" else "blocked"
            outcome = self.lies(attempt.key, count) or right
            answered = {"pod": attempt.pod, "client": "10.0.0.1"} if outcome == "open" else {}
            results.append({"id": probe["id"], "outcome": outcome, "detail": "", **answered})
        return {"results": results}

    def _world(self) -> Any:
        items = [
            {**item, "kind": kind, "apiVersion": API_VERSIONS[kind]}
            for name, kind in KINDS.items()
            if kind in API_VERSIONS
            for item in self.api.of(name)
        ]
        return read_cluster({"kind": "List", "apiVersion": "v1", "items": items}).world


def policy(name: str, namespace: str = TARGET_NAMESPACES[0], **spec: Any) -> Json:
    """A policy that denies all ingress of its namespace, unless ``spec`` says something else."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"], **spec},
    }
