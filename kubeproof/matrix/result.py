"""What a run found: for each case, and in all. Pure data."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from kubeproof.matrix.table import Difference, TruthTable, compared
from kubeproof.networks.network import KnownDifference

EMPTY = TruthTable({})


@dataclass(frozen=True)
class CaseResult:
    """A case that was tried, or one that was not: ``not_run`` says why. Times are in seconds."""

    name: str
    shows: str
    theme: str = ""
    not_run: str = ""
    problem: str = ""
    """Why the case cannot hold whatever the cells say: the policies did not come into force, for one."""
    notes: tuple[str, ...] = ()
    expected: TruthTable = EMPTY
    observed: TruthTable = EMPTY
    differences: tuple[Difference, ...] = ()
    known: tuple[Difference, ...] = ()
    """Cells that differ as the pod network is known for; they do not keep the case from holding."""
    retried: int = 0
    """Cells that were not as expected the first time, and were probed again."""
    seconds: float = 0.0
    steps: Mapping[str, float] = field(default_factory=dict, hash=False)

    @property
    def holds(self) -> bool:
        return not (self.not_run or self.problem or self.differences)

    @property
    def cells(self) -> int:
        return compared(self.expected, self.observed)

    @property
    def failed(self) -> int:
        """Probes that did not work."""
        return sum(difference.failed for difference in self.differences)

    @property
    def known_cells(self) -> int:
        return len(self.known)

    @property
    def wrong(self) -> int:
        """Cells that showed the contrary of what is expected."""
        return len(self.differences) - self.failed

    @property
    def status(self) -> str:
        if self.not_run:
            return "not run"
        return "holds" if self.holds else "differs"


@dataclass(frozen=True)
class RunResult:
    """All cases of a run. ``not_probed`` says what no case could try, and why."""

    cases: tuple[CaseResult, ...]
    seconds: float
    not_probed: tuple[str, ...] = ()
    stopped: str = ""
    """Why the rest of the cases was not tried."""

    @property
    def holds(self) -> bool:
        tried = [case for case in self.cases if not case.not_run]
        return bool(tried) and not self.stopped and all(case.holds for case in tried)

    @property
    def known(self) -> Counter[KnownDifference]:
        """Each known difference that was seen, with its cells in all cases."""
        return Counter(item.known for case in self.cases for item in case.known if item.known)

    def total(self, what: str) -> int:
        return sum(int(getattr(case, what)) for case in self.cases)

    def count(self, status: str) -> int:
        return sum(case.status == status for case in self.cases)
