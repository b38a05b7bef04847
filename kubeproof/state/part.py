"""How a part of what is known of a node is asked for and read, and how a NodeState is put together. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Flag, auto
from typing import Any

from kubeproof.state.collector import Output
from kubeproof.state.errors import ParseError
from kubeproof.state.model import Namespace
from kubeproof.state.node import NodeState

_NO_FILE = "No such file or directory"


class Asker(Flag):
    DEPLOY = auto()
    """Before anything is changed on a host."""
    RECORD = auto()
    """What a host was like before the first deploy."""
    PROOF = auto()
    DOCTOR = auto()
    PAGE = auto()
    """Beside what the proof asks."""


@dataclass(frozen=True)
class Part:
    """One field of :class:`NodeState`.

    ``text`` is shell text that only reads; exit code 0 says that what it prints is the whole answer. ``parse`` is given
    that, and raises ValueError for what it cannot read at all; with ``each`` it is given a list as well, to which it
    adds what it leaves out. A field that cannot be read keeps its empty value.
    """

    field: str
    text: str
    parse: Callable[..., Any]
    askers: Asker
    each: bool = False
    may_be_missing: bool = False
    """Whether it is a file: that there is none is a fact."""

    @property
    def owner(self) -> str:
        """The field of NodeState that it belongs to: "network" for "network-links"."""
        return self.field.partition("-")[0]


@dataclass(frozen=True)
class Answers:
    """Values by field; and by owner why nothing could be read, and what of a list was left out."""

    found: Mapping[str, Any]
    unreadable: Mapping[str, str]
    odd: Mapping[str, tuple[str, ...]]


def answers_of(parts: Iterable[Part], outputs: Mapping[str, Output]) -> Answers:
    """Read each part by itself. Never raises."""
    found: dict[str, Any] = {}
    unreadable: dict[str, str] = {}
    odd: dict[str, list[str]] = {}
    for part in parts:
        try:
            output = _answer(part, outputs.get(part.field))
            if output is not None:
                left_out = (odd.setdefault(part.owner, []),) if part.each else ()
                found[part.field] = part.parse(output.out, *left_out)
        except (ValueError, OverflowError, RecursionError) as error:
            unreadable.setdefault(part.owner, str(error))
    return Answers(found, unreadable, {owner: tuple(lines) for owner, lines in odd.items() if lines})


def state_of(node: str, parts: Iterable[Part], outputs: Mapping[str, Output]) -> NodeState:
    """What a node said. Never raises."""
    answers = answers_of(parts, outputs)
    within = {part.partition("-")[2]: value for part, value in answers.found.items() if "-" in part}
    fields = {part: value for part, value in answers.found.items() if "-" not in part}
    network = Namespace(**within)
    return NodeState(node, **fields, network=network, unreadable=answers.unreadable, odd=answers.odd)


def texts(parts: Iterable[Part]) -> dict[str, str]:
    return {part.field: part.text for part in parts}


def _answer(part: Part, output: Output | None) -> Output | None:
    """None for a file that is not there. Raises ParseError for what is no answer."""
    if output is None:
        raise ValueError("was not asked")
    if part.may_be_missing and output.code != 0 and output.last_words.endswith(_NO_FILE):
        return None
    if output.timed_out:
        raise ValueError("it took too long")
    if output.code != 0:
        raise ParseError(part.field, f"exit code {output.code}", output.last_words)
    return output
