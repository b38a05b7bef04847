"""What a diagnosis is, and how one is declared. Pure."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypedDict, Unpack

from kubeproof.doctor.evidence import Evidence
from kubeproof.rules.context import Context, UndecidedError
from kubeproof.rules.result import Remedy
from kubeproof.rules.rule import Rule


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
    """A rule that the doctor asks, what looks for where it does not hold, and what else fails for it.

    ``is_row`` is said of what is no more than a row of the proof.
    """

    rule: Rule
    find: Callable[[Evidence], Iterable[Case | UndecidedError]] = field(repr=False)
    follows: Follows = field(default_factory=Follows, repr=False)
    is_row: bool = False

    @property
    def name(self) -> str:
        return self.rule.id

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


NOTHING = Follows()


class Words(TypedDict, total=False):
    """What :class:`Rule` says of one that only the doctor asks, and that is declared with its cause."""

    symptom: str
    meaning: str
    references: tuple[str, ...]
    needs: tuple[str, ...]


def rule_of(rule: Rule | str, find: Callable[..., object], words: Words) -> Rule:
    """The rule itself; or of what must hold one that is named as the function that looks for it."""
    return rule if isinstance(rule, Rule) else Rule(find.__name__.replace("_", "-"), rule, **words)


def cause(
    rule: Rule | str, *, follows: Follows = NOTHING, **words: Unpack[Words]
) -> Callable[[Callable[[Evidence], Iterable[Case | UndecidedError]]], Cause]:
    """Declare what looks for a rule that does not hold, in all evidence at once; see :func:`rule_of`."""
    return lambda find: Cause(rule_of(rule, find, words), find, follows)


def cause_on_node(
    rule: Rule | str, *, outsiders: bool = False, follows: Follows = NOTHING, **words: Unpack[Words]
) -> Callable[[Callable[[Evidence, Context], Case | None]], Cause]:
    """Declare what looks for a rule that does not hold on each node by itself, where what it needs was read.

    Hosts that have not joined the cluster are looked at only for what is about ``outsiders``: they owe it nothing.
    """

    def declare(decide: Callable[[Evidence, Context], Case | None]) -> Cause:
        asked = rule_of(rule, decide, words)

        def find(evidence: Evidence) -> Iterator[Case | UndecidedError]:
            for context in evidence.snapshot.contexts():
                if not evidence.is_member(context) and not outsiders:
                    continue
                try:
                    asked.require(context)
                    found = decide(evidence, context)
                except UndecidedError as error:
                    yield UndecidedError(f"{context.node.name}: {error}")
                else:
                    yield from [replace(found, evidence=(*found.evidence, *asked.odd(context)))] if found else []

        return Cause(asked, find, follows)

    return declare
