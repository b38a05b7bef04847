"""What the doctor looks at: the proof's snapshot, and what only a diagnosis asks for. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address

from kubeproof.config.cluster import Node
from kubeproof.proof.snapshot import Snapshot
from kubeproof.rules.context import Context, UndecidedError
from kubeproof.rules.result import CheckResult, Remedy


@dataclass(frozen=True)
class Token:
    """A bootstrap token as the cluster has it; its secret half is never read."""

    id: str
    expires: datetime | None

    def is_valid(self, now: datetime) -> bool:
        return self.expires is None or self.expires > now


@dataclass(frozen=True)
class ControlPlane:
    """What only the control plane host tells.

    ``controller_flags`` are those of kube-controller-manager about node CIDRs; ``network_cidrs`` the pod CIDRs that the
    pod network is told; ``network_policy`` podnet's setting of that name.
    """

    tokens: tuple[Token, ...] = ()
    controller_flags: Mapping[str, str] = field(default_factory=dict)
    network_cidrs: tuple[str, ...] = ()
    network_policy: str = ""
    events: Mapping[str, str] = field(default_factory=dict)
    """The last warning about each object (namespace/name)."""
    workloads: Mapping[str, int] = field(default_factory=dict)
    """Replicas that Deployments, and nodes that DaemonSets want, by kind/namespace/name."""
    added_selectors: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Keys of each DaemonSet's nodeSelector (namespace/name) that it was not applied with: applying keeps them."""
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def require(self, part: str) -> None:
        """Raise UndecidedError if a part could not be read."""
        if part in self.unreadable:
            raise UndecidedError(f"{part} could not be read ({self.unreadable[part]})")


@dataclass(frozen=True)
class Evidence:
    """Everything that was seen of a cluster at one time.

    ``apply`` is the command that brings the cluster to what is set.
    """

    snapshot: Snapshot
    control_plane: ControlPlane
    now: datetime
    failing: tuple[CheckResult, ...] = ()
    """Rows of the same proof that verify makes which do not hold."""
    apply: str = "./inv apply"

    def fails(self, *rows: str) -> bool:
        return any(row.name in rows for row in self.failing)

    def applying(self, node: str) -> Remedy:
        """To bring the cluster to what is set, for a node's sake."""
        return Remedy(node, self.apply, "here")

    def is_member(self, context: Context) -> bool:
        """Whether a host has joined the cluster, by its own files and by the API, as far as that can be asked."""
        known = isinstance(context.objects, str) or context.objects.node(context.node.name) is not None
        return context.state.joined and known

    def node_with(self, address: IPv4Address) -> Node | None:
        return next((node for node in self.snapshot.loaded.cluster.nodes if node.address == address), None)
