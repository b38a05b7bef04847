"""What the doctor looks at: the proof's snapshot, and what only a diagnosis asks for. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv4Address

from kubeproof.config.cluster import Node
from kubeproof.doctor.foreign import IpRule, NftRule
from kubeproof.doctor.paths_between import Journey
from kubeproof.proof.snapshot import Snapshot
from kubeproof.rules.context import Context, UndecidedError
from kubeproof.rules.result import CheckResult


@dataclass(frozen=True)
class Token:
    """A bootstrap token as the cluster has it; its secret half is never read."""

    id: str
    expires: datetime | None

    def is_valid(self, now: datetime) -> bool:
        return self.expires is None or self.expires > now


@dataclass(frozen=True)
class Paused:
    """A container of a pod that its runtime holds still."""

    id: str
    name: str
    pod: str


@dataclass(frozen=True)
class Host:
    """What only the doctor reads of a node. What could not be read is in ``unreadable`` (part -> reason)."""

    kubelet_words: str = ""
    """The last line with which kubelet gave up, if it did."""
    kubelet_driver: str = ""
    runtime_driver: str = ""
    """cgroupfs or systemd, as each of the two is told; empty where none says."""
    node_ip: str = ""
    """Address that kubelet is told to take (--node-ip), or empty."""
    joined: bool = True
    token_ids: tuple[str, ...] = ()
    """Of tokens that an attempt to join left on the node."""
    firewalld: bool = False
    runtime: str = "active"
    """What systemd says of the container runtime."""
    paused: tuple[Paused, ...] = ()
    manifests: tuple[str, ...] = ()
    """Static pods of the node, by the names of their files."""
    last_lines: Mapping[str, str] = field(default_factory=dict)
    """The last line of the newest log of each container of kube-system, by the container's name: kubelet keeps them."""
    nft_rules: tuple[NftRule, ...] = ()
    """Rules of nftables that are neither iptables' nor the pod network's."""
    ip_rules: tuple[IpRule, ...] = ()
    """Policy routing beside the kernel's own three rules."""
    shaped: tuple[tuple[str, str], ...] = ()
    """Device and kind of each queueing discipline that may lose packets (tc(8))."""
    not_forwarding: tuple[str, ...] = ()
    """Devices whose own setting keeps packets from being forwarded."""
    journey: Journey = field(default_factory=Journey)
    """Packets that were sent to the other nodes, and what was seen of theirs."""
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def require(self, part: str) -> None:
        """Raise UndecidedError if a part could not be read."""
        if part in self.unreadable:
            raise UndecidedError(f"{part} could not be read ({self.unreadable[part]})")


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
    unreadable: Mapping[str, str] = field(default_factory=dict)

    def require(self, part: str) -> None:
        """Raise UndecidedError if a part could not be read."""
        if part in self.unreadable:
            raise UndecidedError(f"{part} could not be read ({self.unreadable[part]})")


@dataclass(frozen=True)
class Evidence:
    """Everything that was seen of a cluster at one time. ``hosts`` has the nodes that could be reached, by name.

    ``apply`` is the command that brings the cluster to what is set.
    """

    snapshot: Snapshot
    hosts: Mapping[str, Host]
    control_plane: ControlPlane
    now: datetime
    failing: tuple[CheckResult, ...] = ()
    """Rows of the same proof that verify makes which do not hold."""
    apply: str = "./inv apply"

    def fails(self, *rows: str, node: str = "") -> bool:
        """Whether one of these rows does not hold, on a node or anywhere."""
        return any(row.name in rows and node in ("", row.node) for row in self.failing)

    def is_member(self, context: Context) -> bool:
        """Whether a host has joined the cluster, by its own files and by the API, as far as that can be asked."""
        known = isinstance(context.objects, str) or context.objects.node(context.node.name) is not None
        return self.host(context).joined and known

    def host(self, context: Context) -> Host:
        return self.hosts[context.node.name]

    def node_with(self, address: IPv4Address) -> Node | None:
        """The node of the inventory with an address."""
        return next((node for node in self.snapshot.loaded.cluster.nodes if node.address == address), None)
