"""Objects of the API as files and clusters have them, made into the model; checked as the API server checks them.

The rules are those of Kubernetes' pkg/apis/networking/validation and k8s.io/apimachinery, with two differences for
what people write: fields that do not exist and values that no label can have are refused, as since 1.25 and 1.27.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path

from kubeproof.errors import UserError
from kubeproof.policy import documents, names
from kubeproof.policy.documents import Document
from kubeproof.policy.fields import Field, Report, shown
from kubeproof.policy.model import (
    DIRECTIONS,
    PROTOCOLS,
    Cidr,
    ContainerPort,
    Direction,
    IpBlock,
    Namespace,
    Node,
    Peer,
    Pod,
    Policy,
    PortSpec,
    Protocol,
    Rule,
    World,
)
from kubeproof.policy.selectors import EVERYTHING, OPERATORS, Operator, Requirement, Selector

DEFAULT_NAMESPACE = "default"
"""Of objects in files that name none, as kubectl has it."""
API_VERSIONS = {"Namespace": "v1", "Pod": "v1", "NetworkPolicy": "networking.k8s.io/v1", "Node": "v1"}
FINISHED = ("Succeeded", "Failed")
IP_ADDRESSES = ("InternalIP", "ExternalIP")
"""Types of a node's addresses that are addresses; the others are names."""
CLUSTER = "the cluster"


@dataclass(frozen=True)
class Objects:
    """What was read. ``notes`` are worth showing: what was left out, and what can never match."""

    namespaces: tuple[Namespace, ...] = ()
    pods: tuple[Pod, ...] = ()
    policies: tuple[Policy, ...] = ()
    nodes: tuple[Node, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def world(self) -> World:
        return World.of(self.namespaces, self.pods, self.policies)


def read_files(paths: Sequence[Path], *, policies_only: bool = False) -> Objects:
    """Read YAML or JSON files with any number of documents and Lists.

    Kinds that do not matter are left out with a note; with ``policies_only`` anything but a NetworkPolicy is a problem.
    Raises UserError with the problems of all files, one line each.
    """
    report = Report()
    return _read(documents.of_files(paths, report), report, policies_only=policies_only)


def read_documents(values: Iterable[object], source: str, *, policies_only: bool = False) -> Objects:
    """The same for documents that are parsed already; ``source`` names them in messages. Raises UserError."""
    found = (Document(f"{source} document {number}", value) for number, value in enumerate(values, start=1))
    return _read(found, Report(), policies_only=policies_only)


def read_cluster(answer: object) -> Objects:
    """The answer to `kubectl get … -o json`. What only later API versions know is left out. Raises UserError."""
    return _read([Document(CLUSTER, answer)], Report(), strict=False)


def _read(found: Iterable[Document], report: Report, *, policies_only: bool = False, strict: bool = True) -> Objects:
    collected = _Collected()
    for document in found:
        for item in _items(Field(report, document.place, "", document.value, strict)):
            _read_object(item, collected, policies_only=policies_only)
    if report.problems:
        raise UserError(report.problems)
    return collected.objects(report.notes)


@dataclass
class _Collected:
    namespaces: list[Namespace] = field(default_factory=list)
    pods: list[Pod] = field(default_factory=list)
    policies: list[Policy] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    places: dict[tuple[str, str], str] = field(default_factory=dict)

    def objects(self, notes: Iterable[str]) -> Objects:
        return Objects(tuple(self.namespaces), tuple(self.pods), tuple(self.policies), tuple(self.nodes), tuple(notes))


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
    readers: dict[str, Callable[[Field], None]] = {
        "Namespace": lambda it: _namespace(it, collected.namespaces),
        "Pod": lambda it: _pod(it, collected.pods),
        "NetworkPolicy": lambda it: _policy(it, collected.policies),
        "Node": lambda it: _node(it, collected.nodes),
    }
    placed = _placed(item)
    if not placed.members():
        if not placed.given or placed.value == {}:
            placed.problem("is empty; remove it")
    elif item.kind is None:
        if not placed.get("kind").given:
            placed.problem("has no kind; give a Kubernetes object with apiVersion, kind and metadata")
    elif policies_only and item.kind != "NetworkPolicy":
        placed.problem(f"is a {item.kind}, where only NetworkPolicies are expected; remove it")
    elif item.kind not in readers:
        if item.kind == "List":
            placed.problem("is a List in a List; take its items out of it")
        else:
            placed.note("left out, it has no part in NetworkPolicy")
    elif _has_version(item, placed) and _is_first(item.kind, placed, collected):
        readers[item.kind](placed)


def _placed(item: _Item) -> Field:
    """The object with its kind and name in its place, as far as they can be read."""
    metadata = item.field.get("metadata")
    namespace, name = metadata.get("namespace").value, metadata.get("name").value
    parts = [namespace or DEFAULT_NAMESPACE, name] if item.kind in ("Pod", "NetworkPolicy") else [name]
    named = "/".join(str(part) for part in parts if isinstance(part, str)) if isinstance(name, str) else ""
    subject = " ".join(filter(None, [item.kind, named]))
    path = f" {item.field.path}" if item.field.path else ""
    place = f"{item.field.place}{path}{f' ({subject})' if subject else ''}"
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


def _namespace(placed: Field, into: list[Namespace]) -> None:
    _checked_metadata(placed)
    name = _named(placed, names.is_dns_label, names.NO_DNS_LABEL)
    into.append(Namespace(name, _labels(placed.get("metadata").get("labels"))))


def _node(placed: Field, into: list[Node]) -> None:
    _checked_metadata(placed)
    name = _named(placed, names.is_dns_subdomain, names.NO_DNS_SUBDOMAIN)
    entries = placed.get("status").get("addresses").items()
    read = [entry.get("address").address() for entry in entries if entry.get("type").value in IP_ADDRESSES]
    cidr = _cidr(placed.get("spec").get("podCIDR"))
    addresses = tuple(address for address in read if address is not None)
    into.append(Node(name, addresses, cidr if isinstance(cidr, IPv4Network) else None))


def _pod(placed: Field, into: list[Pod]) -> None:
    _checked_metadata(placed)
    spec, status = placed.get("spec"), placed.get("status")
    spec.members()
    status.members()
    containers = spec.get("containers").items()
    into.append(
        Pod(
            namespace=_namespace_of(placed),
            name=_named(placed, names.is_dns_subdomain, names.NO_DNS_SUBDOMAIN),
            labels=_labels(placed.get("metadata").get("labels")),
            ip=status.get("podIP").address(),
            node=spec.get("nodeName").text() or None,
            host_network=spec.get("hostNetwork").truth(),
            ports=tuple(port for container in containers for port in _container_ports(container)),
            active=status.get("phase").text() not in FINISHED,
        )
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


def _policy(placed: Field, into: list[Policy]) -> None:
    placed.only("apiVersion", "kind", "metadata", "spec", "status")
    _checked_metadata(placed)
    _labels(placed.get("metadata").get("labels"))
    spec = placed.get("spec")
    spec.only("podSelector", "policyTypes", "ingress", "egress")
    ingress, egress = (_rules(spec.get(name), peers) for name, peers in (("ingress", "from"), ("egress", "to")))
    into.append(
        Policy(
            namespace=_namespace_of(placed),
            name=_named(placed, names.is_dns_subdomain, names.NO_DNS_SUBDOMAIN),
            # Missing is empty to the API server, whatever the reference says of "required".
            pod_selector=_selector(spec.get("podSelector")) or EVERYTHING,
            types=_types(spec.get("policyTypes"), has_egress=bool(egress)),
            ingress=ingress,
            egress=egress,
        )
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


def _rules(given: Field, peers: str) -> tuple[Rule, ...]:
    return tuple(_rule(item, peers) for item in given.items())


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
