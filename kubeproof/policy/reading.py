"""Objects of the API as files and clusters have them, made into the model; checked as the API server checks them.

The rules are those of Kubernetes' pkg/apis/networking/validation and k8s.io/apimachinery, with two differences for
what people write: fields that do not exist and values that no label can have are refused, as since 1.25 and 1.27.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

from kubeproof.policy import documents, names, surroundings
from kubeproof.policy.fields import Field, is_ipv6, shown
from kubeproof.policy.model import (
    DIRECTIONS,
    NAME_LABEL,
    PROTOCOLS,
    Cidr,
    ContainerPort,
    Direction,
    IpBlock,
    Namespace,
    Node,
    OtherPolicy,
    Peer,
    Pod,
    Policy,
    PortSpec,
    Protocol,
    Rule,
    Service,
    Workload,
    World,
)
from kubeproof.policy.selectors import EVERYTHING, OPERATORS, Operator, Requirement, Selector
from kubeproof.state.kubernetes_yaml import Document, Report, one_line, template_mark
from kubeproof.terminal.errors import UserError

DEFAULT_NAMESPACE = "default"
"""Of objects in files that name none, as kubectl has it."""
NETWORKING = "networking.k8s.io"
API_VERSIONS = {"Namespace": "v1", "Pod": "v1", "NetworkPolicy": f"{NETWORKING}/v1", "Node": "v1"}
FINISHED = ("Succeeded", "Failed")
IP_ADDRESSES = ("InternalIP", "ExternalIP")
"""Types of a node's addresses that are addresses; the others are names."""
CLUSTER = "the cluster"


@dataclass(frozen=True)
class Objects:
    """What was read. ``notes`` are worth showing: what was left out, and what can never match.

    ``unplaced`` are the places of policies that name no namespace; ``written`` says that people wrote the objects, so
    that they lack what a server adds, and some may be missing.
    """

    namespaces: tuple[Namespace, ...] = ()
    pods: tuple[Pod, ...] = ()
    policies: tuple[Policy, ...] = ()
    nodes: tuple[Node, ...] = ()
    notes: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()
    workloads: tuple[Workload, ...] = ()
    others: tuple[OtherPolicy, ...] = ()
    unplaced: tuple[str, ...] = ()
    written: bool = False

    @cached_property
    def world(self) -> World:
        missing = sorted({pod.namespace for pod in self.pods} - {namespace.name for namespace in self.namespaces})
        unknown = [Namespace(name, {NAME_LABEL: name}, known=False) for name in missing] if self.written else []
        return World.of((*self.namespaces, *unknown), self.pods, self.policies)


def read_files(paths: Sequence[Path], *, policies_only: bool = False) -> Objects:
    """Read YAML or JSON files with any number of documents and Lists.

    Kinds that do not matter are left out with a note; with ``policies_only`` anything but a NetworkPolicy is a problem.
    Raises UserError with the problems of all files, one line each.
    """
    objects, problems = read_what_can_be(paths, policies_only=policies_only)
    if problems:
        raise UserError(problems)
    return objects


def read_what_can_be(paths: Sequence[Path], *, policies_only: bool = False) -> tuple[Objects, list[str]]:
    """The same, without the objects that have problems, and the problems."""
    report = Report()
    return _read(documents.of_files(paths, report), report, policies_only=policies_only), report.problems


def read_documents(values: Iterable[object], source: str, *, policies_only: bool = False) -> Objects:
    """The same for documents that are parsed already; ``source`` names them in messages. Raises UserError."""
    found = (Document(f"{source} document {number}", value) for number, value in enumerate(values, start=1))
    return _without_problems(found, policies_only=policies_only)


def read_cluster(answer: object) -> Objects:
    """The answer to `kubectl get … -o json`. What only later API versions know is left out. Raises UserError."""
    return _without_problems([Document(CLUSTER, answer)], strict=False)


def _without_problems(found: Iterable[Document], *, policies_only: bool = False, strict: bool = True) -> Objects:
    report = Report()
    objects = _read(found, report, policies_only=policies_only, strict=strict)
    if report.problems:
        raise UserError(report.problems)
    return objects


def _read(found: Iterable[Document], report: Report, *, policies_only: bool = False, strict: bool = True) -> Objects:
    collected = _Collected()
    for document in found:
        for item in _items(Field(report, document.place, "", document.value, strict)):
            _read_object(item, collected, policies_only=policies_only)
    return collected.objects(report.notes, written=strict)


@dataclass
class _Collected:
    namespaces: list[Namespace] = field(default_factory=list)
    pods: list[Pod] = field(default_factory=list)
    policies: list[Policy] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    services: list[Service] = field(default_factory=list)
    workloads: list[Workload] = field(default_factory=list)
    others: list[OtherPolicy] = field(default_factory=list)
    unplaced: list[str] = field(default_factory=list)
    places: dict[tuple[str, str], str] = field(default_factory=dict)

    def objects(self, notes: Iterable[str], *, written: bool) -> Objects:
        kept: dict[str, Any] = {name: tuple(found) for name, found in vars(self).items() if name != "places"}
        return Objects(**kept, notes=tuple(notes), written=written)


@dataclass(frozen=True)
class _Item:
    """One object; those in a PodList need not repeat kind and apiVersion."""

    field: Field
    kind: str | None
    api_version: str | None


def _items(document: Field) -> Iterator[_Item]:
    """The objects of a document: itself, or those that a List holds."""
    kind, version = document.get("kind").text(), document.get("apiVersion").text()
    if kind is None or not kind.endswith("List"):
        yield _Item(document, kind, version)
        return
    of_kind = kind.removesuffix("List") or None
    for item in document.get("items").items():
        if of_kind is None or item.get("kind").given:
            yield _Item(item, item.get("kind").text(), item.get("apiVersion").text())
        else:
            yield _Item(item, of_kind, version)


def _read_object(item: _Item, collected: _Collected, *, policies_only: bool) -> None:
    placed = _placed(item)
    group = (item.api_version or "").rpartition("/")[0]
    if not placed.members():
        if not placed.given or placed.value == {}:
            placed.problem("is empty; remove it")
    elif item.kind is None:
        if not placed.get("kind").given:
            placed.problem(surroundings.without_kind(placed))
    elif template_mark(item.kind) or template_mark(item.api_version or ""):
        placed.get("kind" if template_mark(item.kind) else "apiVersion").wrong("")
    elif policies_only and (item.kind != "NetworkPolicy" or surroundings.is_other_group(group)):
        kind = f"{item.kind} of {group}" if item.kind == "NetworkPolicy" else item.kind
        placed.problem(f"is a {kind}, where only NetworkPolicies are expected; remove it")
    elif item.kind not in API_VERSIONS or surroundings.is_other_group(group):
        _beside(item.kind, group, placed, collected)
    elif _has_version(item, placed) and _is_first(item.kind, placed, collected):
        _take(item.kind, placed, collected)


def _take(kind: str, placed: Field, collected: _Collected) -> None:
    """Read an object of a kind that is judged by; one with problems is not kept."""
    problems = len(placed.report.problems)
    kinds: dict[str, tuple[Callable[[Field], Any], list[Any]]] = {
        "Namespace": (_namespace, collected.namespaces),
        "Pod": (_pod, collected.pods),
        "NetworkPolicy": (_policy, collected.policies),
        "Node": (_node, collected.nodes),
    }
    read, found = kinds[kind]
    item = read(placed)
    if len(placed.report.problems) == problems:
        found.append(item)
        if kind == "NetworkPolicy" and not placed.get("metadata").get("namespace").value:
            collected.unplaced.append(placed.place)


def _beside(kind: str, group: str, placed: Field, collected: _Collected) -> None:
    """Take an object of a kind that NetworkPolicy does not know."""
    namespace = placed.get("metadata").get("namespace").value
    namespace = namespace if isinstance(namespace, str) and namespace else DEFAULT_NAMESPACE
    if kind == "List":
        placed.problem("is a List in a List; take its items out of it")
    elif wrong := surroundings.untrue(placed, kind, group):
        placed.problem(wrong)
    elif surroundings.decides(kind):
        collected.others.append(surroundings.other_policy(placed, kind, group))
    elif kind == "Service" and not group:
        service = surroundings.service(placed, namespace)
        collected.services += [service] if service else []
    elif kind in surroundings.WORKLOADS:
        workload = surroundings.workload(placed, kind, namespace)
        collected.workloads += [workload] if workload else []
    elif kind in surroundings.ELSEWHERE:
        placed.note("stands for objects that are not here, and that may have a part in it; give them too")
    else:
        placed.note("left out, it has no part in NetworkPolicy")


def _placed(item: _Item) -> Field:
    """The object with its kind and name in its place, as far as they can be read."""
    metadata = item.field.get("metadata")
    namespace, name = metadata.get("namespace").value, metadata.get("name").value
    parts = [namespace or DEFAULT_NAMESPACE, name] if item.kind in ("Pod", "NetworkPolicy") else [name]
    named = "/".join(str(part) for part in parts if isinstance(part, str)) if isinstance(name, str) else ""
    subject = " ".join(filter(None, [item.kind, named]))
    path = f" {item.field.path}" if item.field.path else ""
    place = one_line(f"{item.field.place}{path}{f' ({subject})' if subject else ''}")
    return Field(item.field.report, place, "", item.field.value, item.field.strict)


def _has_version(item: _Item, placed: Field) -> bool:
    wanted = API_VERSIONS[str(item.kind)]
    if item.api_version == wanted:
        return True
    if item.api_version is None:
        if not placed.get("apiVersion").given:
            placed.problem(f"apiVersion: is missing; write apiVersion: {wanted}")
    else:
        placed.problem(f"apiVersion: {shown(item.api_version)} is not that of a {item.kind} here; use {wanted}")
    return False


def _is_first(kind: str, placed: Field, collected: _Collected) -> bool:
    metadata = placed.get("metadata")
    namespace = (metadata.get("namespace").value or DEFAULT_NAMESPACE) if kind in ("Pod", "NetworkPolicy") else ""
    name = metadata.get("name").value
    if not isinstance(name, str) or not isinstance(namespace, str):
        return True
    first = collected.places.setdefault((kind, f"{namespace}/{name}"), placed.place)
    if first != placed.place:
        placed.problem(f"is there twice, first in {first.partition(' (')[0]}; remove one of them")
    return first == placed.place


def _named(placed: Field, valid: Callable[[str], bool], wrong: str) -> str:
    """metadata.name; empty if it cannot be used."""
    name = placed.get("metadata").get("name")
    if not placed.get("metadata").members():
        return ""
    if name.value in (None, ""):
        name.problem("is missing; write the object's name")
        return ""
    return name.checked(valid, wrong) or ""


def _checked_metadata(placed: Field) -> None:
    metadata = placed.get("metadata")
    if not metadata.given or metadata.value == {}:
        metadata.problem("is missing; write metadata with a name below it")


def _namespace_of(placed: Field) -> str:
    namespace = placed.get("metadata").get("namespace")
    if namespace.value == "":
        return DEFAULT_NAMESPACE
    return namespace.checked(names.is_dns_label, names.NO_DNS_LABEL) or DEFAULT_NAMESPACE


def _labels(labels: Field) -> dict[str, str]:
    found = {}
    for key, member in labels.members().items():
        if not names.is_label_key(key):
            labels.problem(f"{shown(key)} {names.NO_LABEL_KEY}")
        # Null is the empty text to the API server, in a map of texts.
        value = "" if not member.given else member.checked(names.is_label_value, names.NO_LABEL_VALUE)
        found[key] = value or ""
    return found


def _namespace(placed: Field) -> Namespace:
    _checked_metadata(placed)
    name = _named(placed, names.is_dns_label, names.NO_DNS_LABEL)
    metadata = placed.get("metadata")
    labels = _labels(metadata.get("labels"))
    # What a server has stored (it gave it a uid) has all labels already: before 1.21 not this one.
    if placed.strict and not metadata.get("uid").given:
        if labels.get(NAME_LABEL, name) != name:
            placed.note(f"API servers since 1.21 set its label {NAME_LABEL} to {name}, whatever is written")
        labels[NAME_LABEL] = name
    return Namespace(name, labels)


def _node(placed: Field) -> Node:
    _checked_metadata(placed)
    name = _named(placed, names.is_dns_subdomain, names.NO_DNS_SUBDOMAIN)
    entries = placed.get("status").get("addresses").items()
    read = [entry.get("address").address() for entry in entries if entry.get("type").value in IP_ADDRESSES]
    spec = placed.get("spec")
    cidrs = [_cidr(given) for given in (spec.get("podCIDR"), *spec.get("podCIDRs").items())]
    pod_cidr = next((cidr for cidr in cidrs if isinstance(cidr, IPv4Network)), None)
    return Node(name, tuple(address for address in read if address is not None), pod_cidr)


def _pod(placed: Field) -> Pod:
    _checked_metadata(placed)
    spec, status = placed.get("spec"), placed.get("status")
    spec.members()
    status.members()
    addresses = [status.get("podIP"), *(entry.get("ip") for entry in status.get("podIPs").items())]
    read = [given.address() for given in addresses]
    # Init containers that are always restarted run beside the others (since 1.28).
    sidecars = [item for item in spec.get("initContainers").items() if item.get("restartPolicy").value == "Always"]
    containers = [*spec.get("containers").items(), *sidecars]
    return Pod(
        namespace=_namespace_of(placed),
        name=_named(placed, names.is_dns_subdomain, names.NO_DNS_SUBDOMAIN),
        labels=_labels(placed.get("metadata").get("labels")),
        ip=next((address for address in read if address is not None), None),
        node=spec.get("nodeName").text() or None,
        host_network=spec.get("hostNetwork").truth(),
        ports=tuple(port for container in containers for port in _container_ports(container)),
        active=status.get("phase").text() not in FINISHED,
        host_ports=tuple(port for container in containers for port in _host_ports(container)),
        ipv6=any(isinstance(given.value, str) and is_ipv6(given.value) for given in addresses),
    )


def _container_ports(container: Field) -> Iterator[ContainerPort]:
    for entry in container.get("ports").items():
        name = entry.get("name").checked(names.is_port_name, names.NO_PORT_NAME) if entry.get("name").value else None
        protocol = _protocol(entry.get("protocol"))
        number = entry.get("containerPort").number(1, names.MAX_PORT)
        if entry.may_have_fields and not entry.get("containerPort").given:
            entry.get("containerPort").problem(f"is missing; write a number, 1 to {names.MAX_PORT}")
        if name and number:
            yield ContainerPort(name, protocol, number)


def _host_ports(container: Field) -> Iterator[tuple[Protocol, int]]:
    for entry in container.get("ports").items():
        number = entry.get("hostPort").value
        # 0 is what Go writes for none.
        if number != 0 and (port := entry.get("hostPort").number(1, names.MAX_PORT)):
            yield _protocol(entry.get("protocol")), port


def _policy(placed: Field) -> Policy:
    placed.only("apiVersion", "kind", "metadata", "spec", "status")
    _checked_metadata(placed)
    _labels(placed.get("metadata").get("labels"))
    spec = placed.get("spec")
    spec.only("podSelector", "policyTypes", "ingress", "egress")
    ingress, egress = (
        tuple(_rule(item, peers) for item in spec.get(name).items())
        for name, peers in (("ingress", "from"), ("egress", "to"))
    )
    return Policy(
        namespace=_namespace_of(placed),
        name=_named(placed, names.is_dns_subdomain, names.NO_DNS_SUBDOMAIN),
        # Missing is empty to the API server, whatever the reference says of "required".
        pod_selector=_selector(spec.get("podSelector")) or EVERYTHING,
        types=_types(spec.get("policyTypes"), has_egress=bool(egress)),
        ingress=ingress,
        egress=egress,
    )


def _types(given: Field, *, has_egress: bool) -> tuple[Direction, ...]:
    """In which directions it isolates; the defaults are SetDefaults_NetworkPolicy's."""
    items = given.items()
    if len(items) > len(DIRECTIONS):
        given.problem("has more than two items; use Ingress, Egress or both")
    for item in items:
        if item.value not in DIRECTIONS:
            item.wrong("is no policy type; use Ingress or Egress")
    if not items:
        return DIRECTIONS if has_egress else ("Ingress",)
    return tuple(direction for direction in DIRECTIONS if direction in [item.value for item in items])


def _rule(given: Field, peers: str) -> Rule:
    if not given.given:
        given.problem("is empty; write {} for a rule that allows everything")
    given.only(peers, "ports")
    return Rule(
        tuple(_peer(item) for item in given.get(peers).items()),
        tuple(_port(item) for item in given.get("ports").items()),
    )


def _peer(given: Field) -> Peer:
    given.only("podSelector", "namespaceSelector", "ipBlock")
    pods, namespaces, block = (given.get(name) for name in ("podSelector", "namespaceSelector", "ipBlock"))
    if given.may_have_fields and not (pods.given or namespaces.given or block.given):
        given.problem(
            "names no peer; write podSelector: {} for all pods of the namespace, or leave the list out for all"
        )
    if block.given and (pods.given or namespaces.given):
        given.problem("has ipBlock beside a selector; make them two items of the list")
    return Peer(_selector(pods), _selector(namespaces), _block(block))


def _selector(given: Field) -> Selector | None:
    if not given.given:
        return None
    given.only("matchLabels", "matchExpressions")
    expressions = given.get("matchExpressions").items()
    return Selector(_labels(given.get("matchLabels")), tuple(_requirement(item) for item in expressions))


def _requirement(given: Field) -> Requirement:
    given.only("key", "operator", "values")
    key, values = given.get("key"), given.get("values")
    if given.may_have_fields and not key.given:
        key.problem("is missing; write the label's key")
    read = tuple(_value(item) for item in values.items())
    operator = _operator(given.get("operator"), wanted=given.may_have_fields)
    if operator in ("In", "NotIn") and not values.value:
        values.problem(f"is missing or empty, which {operator} cannot do with; list at least one")
    elif operator in ("Exists", "DoesNotExist") and read:
        values.problem(f"is given, which {operator} cannot use; remove it")
    return Requirement(key.checked(names.is_label_key, names.NO_LABEL_KEY) or "", operator or "Exists", read)


def _operator(given: Field, *, wanted: bool) -> Operator | None:
    known = next((name for name in OPERATORS if name == given.value), None)
    if known is None and given.given:
        given.wrong(f"is no operator; use {', '.join(OPERATORS)}")
    elif known is None and wanted:
        given.problem(f"is missing; use {', '.join(OPERATORS)}")
    return known


def _value(item: Field) -> str:
    # Servers before 1.27 take any text; what no label can have matches nothing.
    valid = names.is_label_value if item.strict else lambda _: True
    return item.checked(valid, names.NO_LABEL_VALUE) or ""


def _block(given: Field) -> IpBlock | None:
    if not given.given:
        return None
    given.only("cidr", "except")
    cidr = _cidr(given.get("cidr"))
    if given.may_have_fields and not given.get("cidr").given:
        given.get("cidr").problem("is missing; write a network as a.b.c.d/n")
    if isinstance(cidr, IPv6Network):
        given.get("cidr").note(f"{cidr} is IPv6 and matches nothing in this IPv4 network")
    excepts = [(item, _cidr(item)) for item in given.get("except").items()]
    for item, excluded in excepts:
        if cidr is not None and excluded is not None and not _is_within(excluded, cidr):
            item.wrong(f"is not a part of {cidr}; use a smaller network within it")
    if cidr is None:
        return None
    return IpBlock(cidr, tuple(excluded for _, excluded in excepts if excluded is not None))


def _is_within(part: Cidr, whole: Cidr) -> bool:
    return part.version == whole.version and part.prefixlen > whole.prefixlen and part.network_address in whole


def _cidr(given: Field) -> Cidr | None:
    value = given.checked(lambda text: names.cidr(text) is not None, names.NO_CIDR)
    return None if value is None else names.cidr(value)


def _port(given: Field) -> PortSpec:
    given.only("protocol", "port", "endPort")
    port, end = _port_value(given.get("port")), given.get("endPort")
    end_port = end.number(1, names.MAX_PORT)
    if end.given and not isinstance(given.get("port").value, int):
        end.problem("needs a port that is a number; write port: with the first of the range")
    elif end_port is not None and isinstance(port, int) and end_port < port:
        end.wrong(f"is less than port {port}; write the last port of the range")
    elif end_port is not None and end.strict:
        end.note(f"API servers before 1.21 drop it, which leaves {port} alone")
    if not given.given:
        given.problem("is empty; write {} for all TCP ports")
    return PortSpec(_protocol(given.get("protocol")), port, end_port)


def _port_value(given: Field) -> int | str | None:
    if not isinstance(given.value, str):
        return given.number(1, names.MAX_PORT)
    if given.value.isdecimal():
        given.wrong("is a name, and names have a letter in them; write the number without quotes")
        return None
    return given.checked(names.is_port_name, names.NO_PORT_NAME)


def _protocol(given: Field) -> Protocol:
    if not given.given:
        return "TCP"
    known = next((name for name in PROTOCOLS if name == given.value), None)
    if known is None:
        given.wrong(f"is no protocol of the API; use {', '.join(PROTOCOLS)}")
    return known or "TCP"
