"""What a check or a probe found."""

from dataclasses import dataclass
from enum import Enum


class Status(Enum):
    """The four ends that a check can have; the values are those of the JSON report."""

    HOLDS = "holds"
    FAILS = "fails"
    BROKEN = "broken"
    """The probe itself did not work: nothing is known, which is neither "blocked" nor "allowed"."""
    NOT_RUN = "not run"
    """There was nothing to run it with; ``found`` says why."""


@dataclass(frozen=True)
class CheckResult:
    """One check or probe on one node.

    ``expected`` and ``found`` are for people, one or more lines; ``look_further`` is a shell command.
    """

    node: str
    name: str
    status: Status
    expected: str
    found: str
    look_further: str

    @property
    def ok(self) -> bool:
        return self.status is Status.HOLDS
