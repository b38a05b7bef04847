"""What a rule or a probe came to on one node, and what is to be done about it. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from kubeproof.config.cluster import SshAccess

Where = Literal["node", "here", "console", "hypervisor", "firewall"]
"""Where a remedy is run: on the node by ssh, here in the repository's folder, on the node's own console where ssh does
not reach it, on what the node is a virtual machine of, or, in words, in whatever filters between the nodes."""


@dataclass(frozen=True)
class Remedy:
    """A command line that repairs something; ``node`` is what it is for."""

    node: str
    command: str
    where: Where = "node"

    def paste(self, ssh: Mapping[str, SshAccess]) -> str:
        """The line to paste on this machine, or on the console that it names; ``ssh`` is by node name."""
        return ssh[self.node].line(self.command) if self.where == "node" else self.command

    def to_json(self, ssh: Mapping[str, SshAccess]) -> dict[str, str]:
        return {"node": self.node, "where": self.where, "paste": self.paste(ssh)}


class Status(Enum):
    """The four ends that a check can have; the values are those of the JSON report."""

    HOLDS = "holds"
    FAILS = "fails"
    BROKEN = "broken"
    """The probe itself did not work: nothing is known, which is neither "blocked" nor "allowed"."""
    NOT_RUN = "not run"
    """There was nothing to run it with; ``found`` says why."""

    @property
    def is_failing(self) -> bool:
        """Whether the proof does not hold for it."""
        return self in (Status.FAILS, Status.BROKEN)


WORST_FIRST = (Status.FAILS, Status.BROKEN, Status.HOLDS, Status.NOT_RUN)


@dataclass(frozen=True)
class CheckResult:
    """One rule or probe on one node.

    ``expected`` and ``found`` are for people, one or more lines; ``look_further`` is a shell command. ``remedies`` are
    run in their order; there are none where nothing is known to repair it.
    """

    node: str
    name: str
    status: Status
    expected: str
    found: str
    look_further: str
    remedies: tuple[Remedy, ...] = ()

    @property
    def ok(self) -> bool:
        return self.status is Status.HOLDS

    @property
    def is_failing(self) -> bool:
        """Whether the proof does not hold for it: it fails, or the probe itself did not work."""
        return self.status.is_failing


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
