"""The built-in suite: named cases of NetworkPolicies, read from the YAML files beside this module.

A file has a mapping with ``cases``, and ``common`` for YAML anchors. A case is a mapping::

    name: deny-ingress              # kebab-case, unique in the suite
    shows: One sentence             # what the case shows; without a period, since it is printed as a heading
    policies: [...]                 # NetworkPolicy objects as the API takes them, with placeholders for addresses
    labels:                         # changes to make before probing, and to undo afterwards
      pods: {x/a: {set: {team: blue}, remove: [role]}}
      namespaces: {x: {set: {team: blue}}}
    needs: [endPort]                # fields that the API server must know for the case to mean anything
    expect:                         # what the sentence comes to; protocol TCP and port 80 where not given
    - {from: x/b, to: x/a, port: 80, protocol: TCP, allowed: false}

``by: service`` or ``by: name`` in an expectation means the target's Service instead of its address; ``port`` is the
pod's port all the same. From outside there are TCP and UDP 80 alone.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal, cast

from kubeproof.config.reading import closest
from kubeproof.matrix import placeholders
from kubeproof.policy.model import PROTOCOLS, Protocol
from kubeproof.state.kubernetes_yaml import Report, of_text
from kubeproof.terminal.errors import UserError

SUITE = Path(__file__).parent / "suite"

NAMESPACES = ("x", "y", "z")
"""Short names; a namespace is called :data:`NAMESPACE_PREFIX` + short name and labelled ``ns: x``."""
NAMESPACE_PREFIX = "kubeproof-"
PODS = tuple(f"{namespace}/{pod}" for namespace in NAMESPACES for pod in ("a", "b", "c"))
"""Short names, as ``x/a``; a pod is labelled ``pod: a``."""
PORTS = (80, 81)
SAME_NODE, OTHER_NODE, OUTSIDE = "node:same", "node:other", "outside"
SOURCES = (*PODS, SAME_NODE, OTHER_NODE, OUTSIDE)
OUTSIDE_PORTS, OUTSIDE_PROTOCOLS = (80,), ("TCP", "UDP")
"""What NodePorts are there for."""
WAYS = ("address", "service", "name")
SERVICE_LABEL = "pod"
"""The label of pods that Services select by: a case that changed it would take the Service's endpoints away."""
NEEDS = ("endPort",)

_PLACEHOLDERS = {
    *(f"{kind}:{pod}" for kind in ("pod", "vtep_of", "subnet_of") for pod in PODS),
    *("vteps", "pod_cidr", "service_cidr", "node_network", "outside"),
}
_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_KEYS = {"name", "shows", "policies", "labels", "needs", "expect"}
_EXPECTATION_KEYS = {"from", "to", "port", "protocol", "by", "allowed"}

Object = dict[str, object]
"""An API object as JSON has it."""


@dataclass(frozen=True)
class Expectation:
    """What a case says of one connection.

    ``source`` is one of :data:`SOURCES`: a pod, the target's own node, every other node, or the client outside of the
    cluster through the NodePort of the target's own node.
    """

    source: str
    target: str
    port: int
    protocol: Protocol
    by: Literal["address", "service", "name"]
    allowed: bool

    def __str__(self) -> str:
        by = "" if self.by == "address" else f" by {self.by}"
        return f"{self.source} -> {self.target}{by} {self.protocol} {self.port}: {_verdict(self.allowed)}"


@dataclass(frozen=True)
class LabelChange:
    """Labels to set on and to remove from a pod (``x/a``) or a namespace (``x``)."""

    kind: Literal["pod", "namespace"]
    name: str
    set: Mapping[str, str]
    remove: tuple[str, ...]

    def applied(self, labels: Mapping[str, str]) -> dict[str, str]:
        """The labels after the change."""
        return {key: value for key, value in {**labels, **self.set}.items() if key not in self.remove}


@dataclass(frozen=True)
class Case:
    """Policies in the fixed world, and a sentence on what they show."""

    name: str
    theme: str
    """The file's name without number and suffix."""
    shows: str
    policies: tuple[Object, ...]
    """With placeholders: see :meth:`policies_for`."""
    changes: tuple[LabelChange, ...]
    needs: tuple[str, ...]
    expect: tuple[Expectation, ...]

    def policies_for(self, values: placeholders.Values) -> list[Object]:
        """The policies with addresses; raises UserError where a placeholder has no value."""
        try:
            return cast(list[Object], placeholders.fill(list(self.policies), values))
        except UserError as error:
            raise UserError(f"case {self.name}: {problem}" for problem in error.problems) from None


@cache
def load() -> tuple[Case, ...]:
    """The suite in the order of its files; raises UserError with all that is wrong with them."""
    return read({file.name: file.read_text() for file in sorted(SUITE.glob("*.yaml"))})


def read(texts: Mapping[str, str]) -> tuple[Case, ...]:
    """The cases in files, by their names; raises UserError with all that is wrong with them. Pure."""
    cases: list[Case] = []
    problems: list[str] = []
    for file, text in texts.items():
        report = Report()
        documents = [document.value for document in of_text(text, file, report)]
        problems += report.problems
        if not report.problems and not _has_cases(documents):
            problems.append(f"{file}: is no mapping with a list of cases, write 'cases:' (and 'common:' for anchors)")
        for number, raw in enumerate(_raw_cases(documents), start=1):
            where = f"{file}: {_title(raw, number)}"
            if wrong := list(_problems(raw)):
                problems += [f"{where}: {problem}" for problem in wrong]
            else:
                cases.append(_case(Path(file).stem.lstrip("0123456789-"), raw))
    problems += [f"case {name}: is there twice, rename one" for name in _repeated(case.name for case in cases)]
    if problems:
        raise UserError(problems)
    return tuple(cases)


def _has_cases(documents: list[object]) -> bool:
    match documents:
        case [{"cases": [*_], **rest}]:
            return set(rest) <= {"common"}
        case _:
            return False


def _raw_cases(documents: list[object]) -> list[dict[str, object]]:
    cases = cast(dict[str, list[object]], documents[0])["cases"] if _has_cases(documents) else []
    return [case if isinstance(case, dict) else {"name": case} for case in cases]


def _title(raw: Mapping[str, object], number: int) -> str:
    return f"case {raw['name']}" if isinstance(raw.get("name"), str) else f"case number {number}"


def _problems(raw: Mapping[str, object]) -> Iterator[str]:
    yield from _unknown_keys(raw, _KEYS)
    if not isinstance(raw.get("name"), str) or not _NAME.fullmatch(str(raw["name"])):
        yield "name: is not kebab-case, use lower-case words and hyphens"
    shows = raw.get("shows")
    if not isinstance(shows, str) or not shows[:1].isupper() or shows.endswith("."):
        yield "shows: is no sentence, write one that begins with a capital and has no period at its end"
    yield from _policy_problems(raw.get("policies"))
    yield from _label_problems(raw.get("labels", {}))
    needs = raw.get("needs", [])
    if not isinstance(needs, list) or not all(need in NEEDS for need in needs):
        yield f"needs: names what nothing tells apart, use a list of {' or '.join(NEEDS)}"
    expect = raw.get("expect")
    if not isinstance(expect, list) or not expect:
        yield "expect: has nothing in it, write at least one expectation"
        return
    for number, item in enumerate(expect, start=1):
        yield from (f"expect, number {number}: {problem}" for problem in _expectation_problems(item))


def _policy_problems(policies: object) -> Iterator[str]:
    if not isinstance(policies, list) or not policies:
        yield "policies: has nothing in it, write at least one NetworkPolicy"
        return
    full_names = []
    for number, policy in enumerate(policies, start=1):
        metadata = policy.get("metadata") if isinstance(policy, dict) else None
        if not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
            yield f"policies, number {number}: is no object with a name, write metadata and spec"
            continue
        namespace = str(metadata.get("namespace", ""))
        full_names.append(f"{namespace}/{metadata['name']}")
        if namespace not in {NAMESPACE_PREFIX + short for short in NAMESPACES}:
            yield f"policies, number {number}: is in namespace {namespace!r}, use {NAMESPACE_PREFIX}x, -y or -z"
    yield from (f"policies: {name} is there twice, rename one" for name in _repeated(full_names))
    for name in sorted(placeholders.names(policies) - _PLACEHOLDERS):
        meant = closest(name, _PLACEHOLDERS)
        yield f"policies: ${{{name}}} is no placeholder" + (f", did you mean ${{{meant}}}?" if meant else "")


def _label_problems(labels: object) -> Iterator[str]:
    whole = isinstance(labels, dict) and all(isinstance(changes, dict) for changes in labels.values())
    if not isinstance(labels, dict) or not whole or not set(labels) <= {"pods", "namespaces"}:
        yield "labels: is no mapping of pods and namespaces, write 'pods:' or 'namespaces:'"
        return
    for kind, known in (("pods", PODS), ("namespaces", NAMESPACES)):
        for name, change in _mapping(labels.get(kind)).items():
            if name not in known:
                yield f"labels, {kind}: {name!r} is unknown, use one of {', '.join(known)}"
            if not _is_change(change):
                yield f"labels, {name}: is no change, write 'set:' with texts, 'remove:' with a list, or both"
            elif kind == "pods" and SERVICE_LABEL in (*_mapping(change.get("set")), *change.get("remove", [])):
                yield f"labels, {name}: {SERVICE_LABEL} is what Services select by, change another label"


def _is_change(change: object) -> bool:
    if not isinstance(change, dict) or not change or not set(change) <= {"set", "remove"}:
        return False
    to_set, to_remove = change.get("set", {}), change.get("remove", [])
    if not isinstance(to_set, dict) or not isinstance(to_remove, list):
        return False
    return all(isinstance(text, str) for text in (*to_set, *to_set.values(), *to_remove))


def _expectation_problems(item: object) -> Iterator[str]:
    if not isinstance(item, dict):
        yield "is no mapping, write {from: x/b, to: x/a, allowed: true}"
        return
    yield from _unknown_keys(item, _EXPECTATION_KEYS)
    yield from _choice("from", item.get("from"), SOURCES)
    yield from _choice("to", item.get("to"), PODS)
    pods = item.get("from") != OUTSIDE
    yield from _choice("port", item.get("port", PORTS[0]), PORTS if pods else OUTSIDE_PORTS)
    yield from _choice("protocol", item.get("protocol", PROTOCOLS[0]), PROTOCOLS if pods else OUTSIDE_PROTOCOLS)
    yield from _choice("by", item.get("by", WAYS[0]), WAYS if pods else WAYS[:1])
    yield from _choice("allowed", item.get("allowed"), (True, False))


def _choice(key: str, value: object, choices: Iterable[object]) -> Iterator[str]:
    # By type too: 1 is not true.
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        yield f"{key}: {value!r} is none of the choices, use one of {', '.join(map(str, choices))}"


def _unknown_keys(raw: Mapping[str, object], known: set[str]) -> Iterator[str]:
    for key in raw:
        if key not in known:
            yield f"{key!r} is no key, use {', '.join(sorted(known))}"


def _case(theme: str, raw: Mapping[str, object]) -> Case:
    """A case of what :func:`_problems` found nothing wrong with."""
    labels = _mapping(raw.get("labels"))
    return Case(
        name=str(raw["name"]),
        theme=theme,
        shows=str(raw["shows"]),
        policies=tuple(cast(list[Object], raw["policies"])),
        changes=(*_changes("pod", labels.get("pods")), *_changes("namespace", labels.get("namespaces"))),
        needs=tuple(cast(list[str], raw.get("needs", []))),
        expect=tuple(_expectation(item) for item in cast(list[Object], raw["expect"])),
    )


def _changes(kind: Literal["pod", "namespace"], changes: object) -> Iterator[LabelChange]:
    for name, change in _mapping(changes).items():
        yield LabelChange(kind, name, change.get("set", {}), tuple(change.get("remove", ())))


def _expectation(item: Mapping[str, object]) -> Expectation:
    return Expectation(
        source=str(item["from"]),
        target=str(item["to"]),
        port=cast(int, item.get("port", PORTS[0])),
        protocol=cast(Protocol, item.get("protocol", PROTOCOLS[0])),
        by=cast(Literal["address", "service", "name"], item.get("by", WAYS[0])),
        allowed=bool(item["allowed"]),
    )


def _mapping(value: object) -> dict[str, dict[str, dict[str, str]]]:
    return value if isinstance(value, dict) else {}


def _repeated(names: Iterable[str]) -> list[str]:
    listed = list(names)
    return sorted({name for name in listed if listed.count(name) > 1})


def _verdict(allowed: bool) -> str:
    return "allowed" if allowed else "denied"
