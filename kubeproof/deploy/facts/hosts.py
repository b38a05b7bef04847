"""Facts about a host as such: what it is, and what it was like before the first deploy."""

import json

from pyinfra.api.exceptions import FactProcessError
from pyinfra.api.facts import FactBase

from kubeproof.config.tables import paths
from kubeproof.deploy.facts.questions import answers, script
from kubeproof.node.parts import parts
from kubeproof.node.record import Record
from kubeproof.state.node import NodeState
from kubeproof.state.part import Asker, state_of, texts


class Host(FactBase[NodeState]):
    """What is known of a host before anything is changed on it; its state has no name."""

    asker = Asker.DEPLOY

    def command(self) -> str:
        return script(texts(parts(self.asker)))

    @staticmethod
    def default() -> NodeState:
        return NodeState("")

    def process(self, output: list[str]) -> NodeState:
        return state_of("", parts(self.asker), answers(output))


class Before(Host):
    """What the first deploy remembers of a host, see :class:`Record`."""

    asker = Asker.RECORD


class Remembered(FactBase[Record | None]):
    """The record of the first deploy, or None if there is none."""

    def command(self) -> str:
        return f"test ! -e {paths.RECORD} || cat {paths.RECORD}"

    def process(self, output: list[str]) -> Record | None:
        try:
            return Record(**json.loads("\n".join(output)))
        except (ValueError, TypeError) as error:
            raise FactProcessError(f"{paths.RECORD} is damaged ({error}): remove it") from error
