"""Phases of a long command: what each took and changed, for the table at its end."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from rich.table import Table

from kubeproof.terminal.console import console


@dataclass(frozen=True)
class Phase:
    """A phase that has ended; ``changes`` is None where changing is not its purpose."""

    title: str
    seconds: float
    changes: int | None


@dataclass
class Summary:
    """Collects phases in the order in which they ran."""

    phases: list[Phase] = field(default_factory=list)

    def change(self, title: str, action: Callable[[], int]) -> int:
        """Run an action that returns its number of changes, and note both."""
        started = time.monotonic()
        changes = action()
        self.phases.append(Phase(title, time.monotonic() - started, changes))
        return changes

    def check(self, title: str, action: Callable[[], object]) -> None:
        """Run an action that changes nothing, and note what it took."""
        started = time.monotonic()
        action()
        self.phases.append(Phase(title, time.monotonic() - started, None))

    @property
    def changes(self) -> int:
        return sum(phase.changes or 0 for phase in self.phases)

    @property
    def seconds(self) -> float:
        return sum(phase.seconds for phase in self.phases)

    def show(self) -> None:
        table = Table("phase", box=None, pad_edge=False, header_style="bold")
        table.add_column("time", justify="right")
        table.add_column("changes", justify="right")
        for phase in self.phases:
            table.add_row(phase.title, duration(phase.seconds), "" if phase.changes is None else str(phase.changes))
        table.add_section()
        table.add_row("total", duration(self.seconds), counted(self.changes, "change"), style="bold")
        console.print(table)


def duration(seconds: float) -> str:
    """Seconds for people: ``4.2s`` or ``3m07s``."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes else f"{seconds:.1f}s"


def counted(number: int, noun: str) -> str:
    """A number and its noun: ``1 change``, ``0 changes``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
