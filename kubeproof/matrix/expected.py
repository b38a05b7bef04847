"""What policies say of every cell, from the project's own policy engine. Pure."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from kubeproof.matrix.layout import Layout, full_name
from kubeproof.matrix.plan import Attempt, node_of
from kubeproof.matrix.table import Cell, Key, Mark, TruthTable
from kubeproof.networks.network import HAIRPIN, KnownDifference
from kubeproof.policy.engine import Decision, NodeEnd, OutsideEnd, PodEnd, judge
from kubeproof.policy.model import Pod, Protocol, World
from kubeproof.terminal.errors import CommandError

DNS_NAMESPACE, DNS_LABEL = "kube-system", ("k8s-app", "kube-dns")
"""What kubeadm's addon and this project's cluster DNS label their pods with."""
DNS_PORT = 53
"""The target port of kube-dns in both."""


SERVICE_WAYS = ("Service address", "Service name")


class MissingPodError(CommandError):
    """A probe pod is not in the world that is judged; names it."""


def expected(
    world: World, layout: Layout, attempts: Iterable[Attempt], known: Collection[KnownDifference] = ()
) -> TruthTable:
    """The table that has a cell for each attempt; ``known`` is in what the pod network differs.

    Raises MissingPodError.
    """
    judging = _Judging(world, layout, known)
    return TruthTable({attempt.key: judging.cell(attempt.key) for attempt in attempts})


@dataclass
class _Judging:
    world: World
    layout: Layout
    known: Collection[KnownDifference] = ()
    decisions: dict[tuple[str, str, Protocol, int], Cell] = field(default_factory=dict)
    names: dict[str, Cell] = field(default_factory=dict)

    def cell(self, key: Key) -> Cell:
        """A Service is judged by its endpoint, so that ways differ only by whether the name resolves."""
        if key.combination.via == "Service name":
            name = self._name(key.source)
            if name.mark is not Mark.ALLOWED:
                return name
        asked = (key.source, key.target, key.combination.protocol, key.combination.port)
        if asked not in self.decisions:
            self.decisions[asked] = self._decide(*asked)
        if HAIRPIN in self.known and key.source == key.target and key.combination.via in SERVICE_WAYS:
            return self._through_own_service(key, self.decisions[asked])
        return self.decisions[asked]

    def _through_own_service(self, key: Key, decided: Cell) -> Cell:
        """What is known to differ there: only where another pod with the same labels and address would be shut out."""
        itself, combination = PodEnd(self._pod(key.target)), key.combination
        filtered = judge(self.world, itself, itself, combination.protocol, combination.port, filtered=True)
        return replace(decided, known=HAIRPIN) if decided.mark is Mark.ALLOWED and not filtered.allowed else decided

    def _decide(self, source: str, target: str, protocol: Protocol, port: int) -> Cell:
        pod = self._pod(target)
        return _cell(judge(self.world, self._source(source, pod), PodEnd(pod), protocol, port))

    def _pod(self, short: str) -> Pod:
        found = self.world.pods.get(full_name(short))
        if found is None or not found.reachable:
            raise MissingPodError(f"{full_name(short)} is gone, or has no address any more")
        return found

    def _source(self, source: str, target: Pod) -> PodEnd | NodeEnd | OutsideEnd:
        """The source as the target's node sees it: nodes by their flannel.1, and so what comes by their NodePorts.

        On the target's own node a NodePort's client is still itself: it gets another address after the forward hook.
        """
        entered = node_of(source)
        if entered is None:
            if source in self.layout.nodes:
                return NodeEnd(source, self.layout.seen_from(source))
            return PodEnd(self._pod(source))
        if entered == target.node and self.layout.outside is not None:
            return OutsideEnd(self.layout.outside)
        return NodeEnd(entered, self.layout.seen_from(entered))

    def _name(self, source: str) -> Cell:
        """Whether a client can resolve names: it asks any of the DNS pods, by UDP."""
        if source not in self.names:
            self.names[source] = self._resolving(source)
        return self.names[source]

    def _resolving(self, source: str) -> Cell:
        key, value = DNS_LABEL
        servers = [
            pod
            for pod in self.world.pods.values()
            if pod.namespace == DNS_NAMESPACE and pod.labels.get(key) == value and pod.reachable
        ]
        decisions = [
            judge(self.world, self._source(source, pod), NodeEnd(pod.node or "", pod.ip), "UDP", DNS_PORT)
            if pod.host_network and pod.ip is not None
            else judge(self.world, self._source(source, pod), PodEnd(pod), "UDP", DNS_PORT)
            for pod in servers
        ]
        if not decisions:
            return Cell(Mark.NOT_PROBED, f"there is no DNS pod in {DNS_NAMESPACE} ({key}={value})")
        if len({decision.allowed for decision in decisions}) > 1:
            # kube-proxy takes either, by chance.
            return Cell(Mark.NOT_PROBED, "policies allow some of the DNS pods and forbid others")
        found = _cell(decisions[0])
        return Cell(found.mark, "\n".join(f"DNS: {line}" for line in found.reason.splitlines()))


def _cell(decision: Decision) -> Cell:
    return Cell(Mark.ALLOWED if decision.allowed else Mark.BLOCKED, str(decision))
