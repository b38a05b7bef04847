"""What came of evaluating a rule, and the usual ways to come to it. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Outcome:
    """Whether a rule holds, what was expected and what was found, for people."""

    ok: bool
    expected: str
    found: str

    def lines(self, beginning: str) -> list[str]:
        """The rest of the lines of ``found`` that begin so, such as "missing: "."""
        return [line.removeprefix(beginning) for line in self.found.splitlines() if line.startswith(beginning)]


def same(expected: object, found: object) -> Outcome:
    return Outcome(expected == found, str(expected), "nothing" if found is None else str(found))


def same_set(expected: Iterable[object], found: Iterable[object], *, nothing: str = "none") -> Outcome:
    """Whether two collections hold the same lines in any order; what is missing and what is too much is named."""
    wanted, present = sorted(map(str, expected)), sorted(map(str, found))
    missing = [line for line in wanted if line not in present]
    surplus = [line for line in present if line not in wanted]
    doubled = [line for line in set(present) if present.count(line) > wanted.count(line) and line in wanted]
    notes = [f"missing: {line}" for line in missing]
    notes += [f"not expected: {line}" for line in surplus]
    notes += [f"more than once: {line}" for line in sorted(doubled)]
    shown = "\n".join(notes) if notes else ("\n".join(present) or nothing)
    return Outcome(wanted == present, "\n".join(wanted) or nothing, shown)


def same_sequence(expected: Iterable[object], found: Iterable[object], *, nothing: str = "none") -> Outcome:
    wanted, present = list(map(str, expected)), list(map(str, found))
    return Outcome(wanted == present, "\n".join(wanted) or nothing, "\n".join(present) or nothing)


def all_of(outcomes: Iterable[tuple[str, Outcome]], *, expected: str, nothing: str) -> Outcome:
    """Many outcomes about things with names: holds if all hold, and names those that do not."""
    made = list(outcomes)
    wrong = [f"{name}: expected {item.expected}, found {item.found}" for name, item in made if not item.ok]
    if wrong:
        return Outcome(False, expected, "\n".join(wrong))
    return Outcome(True, expected, ", ".join(name for name, _ in made) or nothing)
