"""What a diagnosis is, and how one is declared. Pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from kubeproof.doctor.evidence import Evidence
from kubeproof.rules.context import Context, UndecidedError
from kubeproof.state.iptables import Rule

Where = Literal["node", "here", "console", "hypervisor", "firewall"]
"""Where a remedy is run: on the node by ssh, here in the repository's folder, on the node's own console where
ssh does not reach it, on what the node is a virtual machine of, or, in words, in whatever filters between the nodes."""


@dataclass(frozen=True)
class Remedy:
    """A command line that repairs something; ``node`` is what it is for."""

    node: str
    command: str
    where: Where = "node"


def command_for(rule: Rule, option: str, table: str = "filter") -> str:
    """Shell text that deletes a rule (-D) or inserts it first (-I). Raises UndecidedError where none can."""
    try:
        return rule.command(option, table)
    except ValueError as error:
        raise UndecidedError(str(error)) from None


@dataclass(frozen=True)
class Case:
    """A cause on one node: what of it was seen, a line for each thing, and what repairs it, in this order."""

    node: str
    evidence: tuple[str, ...]
    remedies: tuple[Remedy, ...]
    look: str = ""
    """Where nothing is known to repair it: the command line to look further with."""


@dataclass(frozen=True)
class Diagnosis:
    """A cause that is there, with every node that has it."""

    cause: "Cause"
    cases: tuple[Case, ...]

    @property
    def name(self) -> str:
        return self.cause.name


@dataclass(frozen=True)
class Answer:
    """What became of looking for one cause; ``undecided`` holds a line for each thing that could not be known."""

    diagnosis: Diagnosis | None
    undecided: tuple[str, ...] = ()


@dataclass(frozen=True)
class Follows:
    """What else a cause makes fail, which is then not told by itself.

    ``here`` and ``everywhere`` are rows of the proof on the cause's own node and on all nodes; "*" is every row.
    ``hides`` are names of other causes that its node only seems to have, "*" all. With ``traffic`` packets are lost
    for it, so that failing probes need no cause of their own.
    """

    here: tuple[str, ...] = ()
    everywhere: tuple[str, ...] = ()
    hides: tuple[str, ...] = ()
    traffic: bool = True

    def covers(self, case_node: str, row: str, node: str) -> bool:
        """Whether a failing row of a node follows from the cause's case."""
        named = any(name in self.everywhere for name in (row, "*"))
        return named or (node == case_node and any(name in self.here for name in (row, "*")))


@dataclass(frozen=True)
class Cause:
    """Something that goes wrong in the field.

    ``row`` is the line of NETWORK.md's table "What goes wrong in the field", from 1, or 0; ``symptom`` what people see,
    ``meaning`` why that is; ``references`` are public issues.
    """

    name: str
    row: int
    symptom: str
    meaning: str
    references: tuple[str, ...]
    find: Callable[[Evidence], Iterable[Case | UndecidedError]] = field(repr=False)
    follows: Follows = field(default_factory=Follows, repr=False)
    row_name: str = ""
    """Of what is no more than a row of the proof that does not hold: that row's name."""

    def look(self, evidence: Evidence) -> Answer:
        """Look for it. Never raises for what could not be read."""
        cases: list[Case] = []
        undecided: list[str] = []
        try:
            for item in self.find(evidence):
                if isinstance(item, Case):
                    cases.append(item)
                else:
                    undecided.append(str(item))
        except UndecidedError as error:
            undecided.append(str(error))
        found = Diagnosis(self, tuple(cases)) if cases else None
        return Answer(found, tuple(dict.fromkeys(undecided)))


_NOTHING = Follows()


def cause(
    row: int = 0, *, symptom: str, meaning: str, references: str = "", follows: Follows = _NOTHING
) -> Callable[[Callable[[Evidence], Iterable[Case | UndecidedError]]], Cause]:
    """Declare a cause that is looked for in all evidence at once; it is named as its function."""

    def declare(find: Callable[[Evidence], Iterable[Case | UndecidedError]]) -> Cause:
        name = find.__name__.replace("_", "-")
        return Cause(name, row, symptom, meaning, tuple(references.split()), find, follows)

    return declare


def cause_on_node(
    row: int = 0,
    *,
    needs: tuple[str, ...] = (),
    symptom: str,
    meaning: str,
    references: str = "",
    outsiders: bool = False,
    follows: Follows = _NOTHING,
) -> Callable[[Callable[[Evidence, Context], Case | None]], Cause]:
    """Declare a cause that is looked for on each node by itself; ``needs`` are the parts of NodeState that it reads.

    Hosts that have not joined the cluster are looked at only for what is about ``outsiders``: they owe it nothing.
    """

    def declare(decide: Callable[[Evidence, Context], Case | None]) -> Cause:
        def find(evidence: Evidence) -> Iterator[Case | UndecidedError]:
            for context in evidence.snapshot.contexts():
                if not evidence.is_member(context) and not outsiders:
                    continue
                try:
                    _require(context, needs)
                    found = decide(evidence, context)
                except UndecidedError as error:
                    yield UndecidedError(f"{context.node.name}: {error}")
                else:
                    odd = tuple(f"not understood: {line}" for part in needs for line in context.state.odd.get(part, ()))
                    yield from [replace(found, evidence=(*found.evidence, *odd))] if found else []

        name = decide.__name__.replace("_", "-")
        return Cause(name, row, symptom, meaning, tuple(references.split()), find, follows)

    return declare


def _require(context: Context, needs: tuple[str, ...]) -> None:
    for part in needs:
        if part in context.state.unreadable:
            raise UndecidedError(f"{part} could not be read ({context.state.unreadable[part]})")
