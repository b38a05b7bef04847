"""The commonest kind of fact."""

from pyinfra.api.facts import FactBase


class Lines(FactBase[list[str]]):
    """The lines that a command prints, without empty ones and the spaces around them."""

    default = list

    def process(self, output: list[str]) -> list[str]:
        return [line.strip() for line in output if line.strip()]
