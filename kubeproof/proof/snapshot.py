"""What was read of a cluster at one time. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from kubeproof.config.cluster import LoadedInventory, Node
from kubeproof.rules.api import ApiObjects
from kubeproof.rules.context import NO_API, Context, UndecidedError
from kubeproof.rules.result import CheckResult, Status
from kubeproof.rules.rule import KUBECTL
from kubeproof.state.node import NodeState

API = "api"
REACHABLE = "reachable"


@dataclass(frozen=True)
class Snapshot:
    """What was read at one time. Each node is in ``states`` or, with the reason and what to do, in ``unreachable``.

    ``objects`` is a text where the API could not be read: the reason. Of nodes that are ``left_out`` (by name) nothing
    is to be proven but what they send to the others.
    """

    loaded: LoadedInventory
    states: Mapping[str, NodeState]
    unreachable: Mapping[str, str]
    objects: ApiObjects | str
    left_out: frozenset[str] = frozenset()

    @property
    def proven(self) -> list[Node]:
        """Nodes that are not left out, in the order of the inventory."""
        return [node for node in self.loaded.cluster.nodes if node.name not in self.left_out]

    @property
    def api(self) -> ApiObjects:
        """The API's objects. Raises UndecidedError where they could not be read."""
        if isinstance(self.objects, str):
            raise UndecidedError(f"{NO_API}: {self.objects}")
        return self.objects

    def contexts(self) -> list[Context]:
        """What the checks of each node that could be read, and is not left out, are given."""
        return [self.context(node.name) for node in self.proven if node.name in self.states]

    def context(self, name: str) -> Context:
        return Context(
            node=self.loaded.cluster.node(name),
            loaded=self.loaded,
            state=self.states[name],
            states=self.states,
            objects=self.objects,
        )

    def line(self, name: str, text: str) -> str:
        """What to paste on this machine to run shell text on a node as root."""
        return self.loaded.ssh[name].line(text)

    def reachability(self) -> list[CheckResult]:
        """A row for each node that is not left out, and one for the API if it could not be read."""
        rows = [self._reached(node.name) for node in self.proven]
        leader = self.loaded.cluster.leader.name
        if isinstance(self.objects, str):
            look = self.line(leader, f"{KUBECTL} get nodes")
            rows.append(CheckResult(leader, API, Status.FAILS, "objects from the API", self.objects, look))
        elif self.objects.odd:
            look = self.line(leader, f"{KUBECTL} get nodes,pods,services,ep -A -o wide")
            found = "not understood, and left out: " + "; ".join(self.objects.odd)
            rows.append(CheckResult(leader, API, Status.FAILS, "objects of the API that are understood", found, look))
        return rows

    def _reached(self, name: str) -> CheckResult:
        reason = self.unreachable.get(name)
        return CheckResult(
            node=name,
            name=REACHABLE,
            status=Status.HOLDS if reason is None else Status.FAILS,
            expected="the node answers by ssh",
            found="it answers" if reason is None else reason,
            look_further=self.line(name, "true"),
        )
