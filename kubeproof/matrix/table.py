"""Truth tables of connections: one type for what is expected and what is observed, and their comparison. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from kubeproof.networks.network import KnownDifference
from kubeproof.policy.model import Protocol

Via = Literal["pod address", "Service address", "Service name", "NodePort"]
"""How a target is addressed; after DNAT it is always the pod."""


class Mark(Enum):
    """What a cell can say; the values are those that grids show."""

    ALLOWED = "."
    BLOCKED = "X"
    FAILED = "!"
    """The probe itself did not work: nothing is known, which is neither blocked nor allowed."""
    NOT_PROBED = "-"
    """Nobody tried, or nobody can say what to expect; never counted as right."""


@dataclass(frozen=True)
class Combination:
    """A way to a pod: every grid is of one of these. ``port`` is the pod's."""

    via: Via
    protocol: Protocol
    port: int

    def __str__(self) -> str:
        return f"{self.protocol} {self.port} by {self.via}"


@dataclass(frozen=True)
class Key:
    """One cell: the client's and the target's names (``x/a``, a node's, ``outside/NODE`` for a NodePort of NODE)."""

    combination: Combination
    source: str
    target: str

    def __str__(self) -> str:
        return f"{self.source} -> {self.target} {self.combination}"


@dataclass(frozen=True)
class Cell:
    """A mark and its reason: the policy engine's decision, or what the probe saw."""

    mark: Mark
    reason: str = ""
    known: KnownDifference | None = None
    """Of an expectation: the difference because of which the pod network is known to show the contrary."""


Cells = Mapping[Key, Cell]


@dataclass(frozen=True)
class Difference:
    """A cell that is not as expected: wrong where the probe saw the contrary, failed where it did not work."""

    key: Key
    expected: Cell
    observed: Cell

    @property
    def failed(self) -> bool:
        return self.observed.mark is Mark.FAILED

    @property
    def known(self) -> KnownDifference | None:
        """The difference that the pod network is known for; a probe that did not work is never one."""
        return None if self.failed else self.expected.known


@dataclass(frozen=True)
class TruthTable:
    """Cells in the order in which grids show them."""

    cells: Cells

    def combinations(self) -> tuple[Combination, ...]:
        return tuple(dict.fromkeys(key.combination for key in self.cells))

    def marks(self, combination: Combination) -> dict[tuple[str, str], Mark]:
        """(source, target) -> mark, of one combination."""
        return {
            (key.source, key.target): cell.mark for key, cell in self.cells.items() if key.combination == combination
        }

    def replaced(self, newer: Cells) -> "TruthTable":
        return TruthTable({**self.cells, **newer})


UNANSWERED = Cell(Mark.FAILED, "no result came back")


def compare(expected: TruthTable, observed: TruthTable) -> tuple[Difference, ...]:
    """All cells that are not as expected, those that were not probed left out, and those that are known to differ.

    A cell that is expected and was not observed at all is a failed probe.
    """
    return tuple(item for item in _differing(expected, observed) if item.known is None)


def known_differences(expected: TruthTable, observed: TruthTable) -> tuple[Difference, ...]:
    """The cells that are not as expected, as the pod network is known for."""
    return tuple(item for item in _differing(expected, observed) if item.known is not None)


def _differing(expected: TruthTable, observed: TruthTable) -> Iterator[Difference]:
    for key, wanted in expected.cells.items():
        seen = observed.cells.get(key, UNANSWERED)
        if Mark.NOT_PROBED not in (wanted.mark, seen.mark) and wanted.mark is not seen.mark:
            yield Difference(key, wanted, seen)


def compared(expected: TruthTable, observed: TruthTable) -> int:
    """How many cells say something: those that have an expectation and were probed."""
    return sum(
        cell.mark is not Mark.NOT_PROBED and observed.cells.get(key, UNANSWERED).mark is not Mark.NOT_PROBED
        for key, cell in expected.cells.items()
    )


def names(keys: Iterable[Key]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Sources and targets in the order in which they first come."""
    listed = list(keys)
    return tuple(dict.fromkeys(key.source for key in listed)), tuple(dict.fromkeys(key.target for key in listed))
