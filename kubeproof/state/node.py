"""A node's network state in one value: its own namespace, its pods' namespaces, its rules and settings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from kubeproof.state.hostfiles import Identity, Kubelet, SubnetEnv
from kubeproof.state.iptables import Ruleset
from kubeproof.state.model import FdbEntry, Link, Namespace
from kubeproof.state.policies import PoliciesInForce


@dataclass(frozen=True)
class Container:
    """A running container of a pod, as its runtime tells.

    ``network_mode`` is Docker's HostConfig.NetworkMode, or what it would be with another runtime; ``netns`` what
    /proc/PID/ns/net points to, such as ``net:[4026532180]``. ``network`` is the content of the namespace, read for the
    sandbox (pause) of a pod that has a namespace of its own.
    """

    id: str
    pod_namespace: str
    pod_name: str
    pod_uid: str
    name: str
    is_sandbox: bool
    network_mode: str
    pid: int
    netns: str
    network: Namespace | None = None

    @property
    def pod(self) -> str:
        """Namespace and name of the pod, with a slash between them."""
        return f"{self.pod_namespace}/{self.pod_name}"


@dataclass(frozen=True)
class NodeState:
    """Everything that was read from one node at one time.

    What could not be read is in ``unreadable`` (part -> reason), and its field is empty: ask there before an empty
    field is taken for a fact. A file or directory that is not there is one. Parts are named after the fields.
    """

    name: str
    network: Namespace = field(default_factory=Namespace)
    fdb: tuple[FdbEntry, ...] = ()
    iptables: Ruleset = field(default_factory=Ruleset)
    other_iptables: Ruleset = field(default_factory=Ruleset)
    """Rules of the variant that the node's `iptables` does not show."""
    subnet_env: SubnetEnv | None = None
    sysctls: Mapping[str, str] = field(default_factory=dict)
    swaps: tuple[str, ...] = ()
    containers: tuple[Container, ...] = ()
    policies: PoliciesInForce | None = None
    nft_tables: tuple[str, ...] = ()
    """Family and name of each, such as "inet podnet"."""
    cni_files: tuple[str, ...] = ()
    """Names of the files in /etc/cni/net.d."""
    identity: Identity | None = None
    clock: float | None = None
    """What the node's clock showed when it was read, in seconds since 1970."""
    kubelet: Kubelet | None = None
    control_plane: Mapping[str, str] = field(default_factory=dict)
    """What each part of the control plane on this node answers at its health port; empty on workers."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    odd: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Part -> what of it was not understood, and is missing in its field; the rest of the part is there."""

    def sandbox(self, pod: str) -> Container | None:
        """The pause container of a pod, by ``namespace/name``."""
        return next((item for item in self.containers if item.is_sandbox and item.pod == pod), None)

    def underlay(self, address: IPv4Address) -> Link | None:
        """The interface that carries the node's own address, and so the packets to other nodes."""
        return self.network.device_with(address)
