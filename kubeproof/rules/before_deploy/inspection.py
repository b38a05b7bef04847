"""All that was found out of the hosts, for the rules that are asked before a deploy. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from kubeproof.config.cluster import Cluster, Node
from kubeproof.networks.plan import NetworkPlan
from kubeproof.node.changed_settings import InUse
from kubeproof.node.finding import Finding
from kubeproof.state.node import NodeState


@dataclass(frozen=True)
class Reading:
    """A host's clock, against that of the machine that asked. Seconds."""

    ahead: float
    """How much it is ahead, if question and answer took the same time on their way."""
    uncertain: float
    """How wrong that can be: half of the time that the question took."""


@dataclass(frozen=True)
class Asked:
    source: str
    """URL."""
    kind: str
    """"packages", "archive" (the system's own), "images", or "manifest" for one image."""
    answer: str
    """A status code of HTTP, "connected" where only that could be tried, or why there was none."""


@dataclass(frozen=True)
class Arrivals:
    """Of which hosts packets arrived at one, or why that could not be tried."""

    hosts: frozenset[str] = frozenset()
    trouble: str = ""
    window: tuple[float, float] | None = None
    """When it listened and sent, from and to, by its own clock in seconds; None if it did not say."""


@dataclass(frozen=True)
class Inspection:
    """By name of the host; a host that did not answer is missing, and so is what a host was not asked for."""

    cluster: Cluster
    hosts: Mapping[str, NodeState] = field(default_factory=dict)
    network: NetworkPlan | None = None
    """None if its manifest cannot be used."""
    clocks: Mapping[str, Reading | None] = field(default_factory=dict)
    """None is a clock that could not be read."""
    features: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What came of trying each feature of the kernel: "ok", or what went wrong; of hosts that are no nodes."""
    sources: Mapping[str, tuple[Asked, ...]] = field(default_factory=dict)
    host_paths: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """What each path that the pod network wants of a host is there (facts.files.Kinds)."""
    arrivals: Mapping[str, Arrivals] = field(default_factory=dict)
    in_use: Mapping[str, InUse] = field(default_factory=dict)
    """What a cluster that runs was made with."""
    left_out: frozenset[str] = frozenset()
    """Names of hosts that are not to be changed; what others depend on is asked of them all the same."""

    def answered(self) -> Iterator[tuple[Node, NodeState]]:
        """Hosts that answered, in the order of the inventory."""
        return ((node, self.hosts[node.name]) for node in self.cluster.nodes if node.name in self.hosts)


def of_each_host(
    find: Callable[[Inspection, Node, NodeState], Iterable[Finding]],
) -> Callable[[Inspection], Iterator[Finding]]:
    """Declare what is found of one host by itself: each that answered is asked, and its findings named after it."""

    def findings(inspection: Inspection) -> Iterator[Finding]:
        for node, facts in inspection.answered():
            yield from (replace(finding, host=node.name) for finding in find(inspection, node, facts))

    return findings
