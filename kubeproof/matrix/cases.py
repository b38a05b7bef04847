"""The built-in suite: named cases of NetworkPolicies, read from the YAML files beside this module.

A file is a mapping of cases by their names (kebab-case, unique in the suite); ``common`` is for YAML anchors::

    deny-ingress:
      shows: One sentence             # what the case shows; without a period, since it is printed as a heading
      policies:                       # specs of NetworkPolicies, by namespace and name, with placeholders for addresses
        x/deny: {podSelector: {}, policyTypes: [Ingress]}
      labels:                         # changes to make before probing, and to undo afterwards
        pods: {x/a: {set: {team: blue}, remove: [role]}}
        namespaces: {x: {set: {team: blue}}}
      allowed: [x/a -> y/b]           # what the sentence comes to; TCP 80 where nothing else is said
      denied: [x/b -> x/a, x/b -> x/a by service UDP 81]

``by service`` or ``by name`` means the target's Service instead of its address; the port is the pod's all the same.
From outside there are TCP and UDP 80 alone. Unit tests hold the files against this, and the policy engine against what
they say is allowed and denied.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, cast

from kubeproof.matrix import placeholders
from kubeproof.state.kubernetes_yaml import Report, of_text
from kubeproof.terminal.errors import UserError

SUITE = Path(__file__).parent / "suite"

NAMESPACES = ("x", "y", "z")
"""Short names; a namespace is called :data:`NAMESPACE_PREFIX` + short name and labelled ``ns: x``."""
NAMESPACE_PREFIX = "kubeproof-"
PODS = tuple(f"{namespace}/{pod}" for namespace in NAMESPACES for pod in ("a", "b", "c"))
"""Short names, as ``x/a``; a pod is labelled ``pod: a``."""
PORTS = (80, 81)

Json = dict[str, Any]
"""An API object, or another, as JSON has it."""


@dataclass(frozen=True)
class LabelChange:
    """Labels to set on and to remove from a pod (``x/a``) or a namespace (``x``)."""

    kind: Literal["pod", "namespace"]
    name: str
    set: Mapping[str, str]
    remove: tuple[str, ...]

    def applied(self, labels: Mapping[str, str]) -> dict[str, str]:
        return {key: value for key, value in {**labels, **self.set}.items() if key not in self.remove}


@dataclass(frozen=True)
class Case:
    """Policies in the fixed world, and a sentence on what they show."""

    name: str
    theme: str
    """The file's name without number and suffix."""
    shows: str
    policies: tuple[Json, ...]
    """With placeholders: see :meth:`policies_for`."""
    changes: tuple[LabelChange, ...] = ()

    def policies_for(self, values: placeholders.Values) -> list[Json]:
        """The policies with addresses."""
        return cast(list[Json], placeholders.fill(list(self.policies), values))


@cache
def load() -> tuple[Case, ...]:
    return tuple(case for file in sorted(SUITE.glob("*.yaml")) for case in read(file.name, file.read_text()))


def read(file: str, text: str) -> Iterator[Case]:
    """The cases in a file. Pure. Raises UserError for what is no YAML."""
    theme = Path(file).stem.lstrip("0123456789-")
    for name, raw in documents(file, text).items():
        changes = tuple(_changes(raw.get("labels", {})))
        policies = tuple(_policy(full_name, spec) for full_name, spec in raw["policies"].items())
        yield Case(name, theme, raw["shows"], policies, changes)


def documents(file: str, text: str) -> dict[str, Json]:
    """The cases in a file as they are written, by name. Raises UserError for what is no YAML."""
    report = Report()
    found = [document.value for document in of_text(text, file, report)]
    if report.problems:
        raise UserError(report.problems)
    return {name: raw for name, raw in cast(Json, found[0]).items() if name != "common"}


def _policy(full_name: str, spec: Json) -> Json:
    namespace, _, name = full_name.partition("/")
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": name, "namespace": NAMESPACE_PREFIX + namespace},
        "spec": spec,
    }


def _changes(labels: Json) -> Iterator[LabelChange]:
    kinds: dict[str, Literal["pod", "namespace"]] = {"pods": "pod", "namespaces": "namespace"}
    for plural, kind in kinds.items():
        for name, change in labels.get(plural, {}).items():
            yield LabelChange(kind, name, change.get("set", {}), tuple(change.get("remove", ())))
