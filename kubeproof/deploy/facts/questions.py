"""What facts are made of: lines, or several questions that are asked in one round trip."""

from collections import defaultdict
from collections.abc import Mapping
from typing import TypeVar

from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from kubeproof.config.patience import patient
from kubeproof.state import collector
from kubeproof.state.collector import Output

T = TypeVar("T")
MARKER = "kubeproof"
SECONDS = 30
Answers = Mapping[str, list[str]]
"""What was answered, by the question's name: lines that are not empty; none where there was no answer."""


class Questions(FactBase[T]):
    """A fact that is put together from the answers to several questions (name -> shell text)."""

    def questions(self) -> dict[str, str]:
        raise NotImplementedError

    def read(self, found: Answers) -> T:
        raise NotImplementedError

    def command(self) -> str:
        return script(self.questions())

    def default(self) -> T:  # type: ignore[override]  # pyinfra asks instances
        return self.read(defaultdict(list))

    def process(self, output: list[str]) -> T:
        return self.read(defaultdict(list, {name: answer.lines for name, answer in answers(output).items()}))


def script(questions: Mapping[str, str]) -> str:
    return collector.build(questions, marker=MARKER, timeout=patient(SECONDS))


def answers(output: list[str]) -> dict[str, Output]:
    """By the question's name, from the lines that :func:`script` prints."""
    try:
        return collector.read("\n".join(["", *output]), marker=MARKER)
    except ValueError as error:
        raise FactProcessError(f"unexpected answer: {error}") from error


class Lines(FactBase[list[str]]):
    """The lines that a command prints, without empty ones and the spaces around them."""

    default = list

    def process(self, output: list[str]) -> list[str]:
        return [line.strip() for line in output if line.strip()]
