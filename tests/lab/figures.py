"""What the faults cost, as a table for people and for the log."""

import os
from dataclasses import dataclass
from pathlib import Path

from tests.lab.traffic import Loss

FILE = Path("/var/log/kubeproof/faults.log")
HEADINGS = ("fault", "network as before", "proof holds", "requests", "failed", "first to last", "how")


@dataclass(frozen=True)
class Figure:
    """One fault; seconds from when it happened, or from when it was taken back. ``mended`` is podnet's own mend."""

    fault: str
    mended: float | None
    proven: float
    loss: Loss

    def cells(self) -> tuple[str, ...]:
        loss = self.loss
        return (
            self.fault,
            "" if self.mended is None else f"{self.mended:.1f} s",
            f"{self.proven:.0f} s",
            str(loss.requests),
            str(loss.failed),
            f"{loss.seconds:.1f} s" if loss.failed else "",
            ", ".join(f"{count} {reason}" for reason, count in sorted(loss.reasons.items())),
        )


def table(figures: list[Figure]) -> str:
    """A table in the form that docs/measurements.md has it in."""
    rows = [HEADINGS, *(figure.cells() for figure in figures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    ruled = [rows[0], tuple("-" * width for width in widths), *rows[1:]]
    return "".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |\n" for row in ruled
    )


def write(text: str) -> None:
    """Put the table beside the lab's other logs, which root alone can read."""
    with open(FILE, "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(text)
