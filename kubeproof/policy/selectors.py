"""Label selectors: matchLabels and matchExpressions, as everything in Kubernetes that selects by label has them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Labels = Mapping[str, str]
Operator = Literal["In", "NotIn", "Exists", "DoesNotExist"]
OPERATORS: tuple[Operator, ...] = ("In", "NotIn", "Exists", "DoesNotExist")


@dataclass(frozen=True)
class Requirement:
    """One of matchExpressions. ``values`` is for In and NotIn only."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Labels) -> bool:
        """Whether labels fulfil it. NotIn also holds where the key is missing (API documentation, Labels)."""
        match self.operator:
            case "In":
                return labels.get(self.key) in self.values
            case "NotIn":
                return self.key not in labels or labels[self.key] not in self.values
            case "Exists":
                return self.key in labels
            case "DoesNotExist":
                return self.key not in labels

    def __str__(self) -> str:
        match self.operator:
            case "In" | "NotIn":
                return f"{self.key} {'in' if self.operator == 'In' else 'notin'} ({','.join(self.values)})"
            case "Exists":
                return self.key
            case "DoesNotExist":
                return f"!{self.key}"


@dataclass(frozen=True)
class Selector:
    """All of ``labels`` and all of ``expressions`` must hold; the empty selector matches everything.

    Its text is what `kubectl get -l` takes, or {} for the empty one.
    """

    labels: Labels = field(default_factory=dict, hash=False)
    expressions: tuple[Requirement, ...] = ()

    def matches(self, labels: Labels) -> bool:
        return all(labels.get(key) == value for key, value in self.labels.items()) and all(
            requirement.matches(labels) for requirement in self.expressions
        )

    def about(self, key: str) -> "Selector":
        labels = {name: value for name, value in self.labels.items() if name == key}
        return Selector(labels, tuple(part for part in self.expressions if part.key == key))

    def __str__(self) -> str:
        equalities = [f"{key}={value}" for key, value in sorted(self.labels.items())]
        return ",".join([*equalities, *map(str, self.expressions)]) or "{}"


EVERYTHING = Selector()
