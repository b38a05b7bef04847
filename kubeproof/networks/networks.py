"""What the deploy and the proof have to know of each pod network, in one table. Pure."""

from dataclasses import dataclass
from enum import Enum

from kubeproof.config.reading import problem

NODE_ADDRESS = "node-address"
"""Value of cni_interface: the interface that carries the node's address."""
DEFAULT_VNI = 1
DEFAULT_PORT = 8472
"""flannel's VNI, and the kernel's UDP port, where net-conf.json names none (flannel, Documentation/backends.md)."""

VXLAN_OVERHEAD = 50
"""Bytes that VXLAN over IPv4 adds: inner Ethernet 14, VXLAN 8, UDP 8, IPv4 20 (RFC 7348)."""


class Source(Enum):
    """Whose address a pod sees when a process of a node talks to it; the route's device gives it."""

    BRIDGE = "cni0"
    TUNNEL = "the VXLAN link"
    NODE = "the node"


@dataclass(frozen=True)
class KnownDifference:
    """What a network is known to do otherwise than NetworkPolicy is understood: told once, waited for by nobody."""

    id: str
    meaning: str
    reference: str


HAIRPIN = KnownDifference(
    "hairpin-policed",
    "a pod that reaches itself through its own Service is held to its policies like any other pod with its labels: the "
    "filter sees the packet on the node, before its source is masqueraded",
    "kubernetes#125611, network-policy-api#343",
)


@dataclass(frozen=True)
class Network:
    """One choice of the setting cni."""

    name: str
    backends: tuple[str, ...]
    enforces: bool
    """Whether it is able to enforce NetworkPolicy."""
    always_enforces: bool = False
    """Whether that cannot be switched off."""
    upstream: bool = True
    """Whether it comes as a manifest of a project of its own."""
    bridge: bool = True
    """Whether pods are plugged into the bridge cni0; else each has a route of its own to its link on the node."""
    conflist: str = ""
    """Its configuration in /etc/cni/net.d."""
    more_files: tuple[str, ...] = ()
    """What else it writes there."""
    known: tuple[KnownDifference, ...] = ()
    """In what it differs from what NetworkPolicy is understood to mean."""


NETWORKS = {
    network.name: network
    for network in (
        Network("podnet", ("vxlan",), enforces=True, upstream=False, conflist="10-podnet.conflist"),
        Network("flannel", ("vxlan", "host-gw"), enforces=False, conflist="10-flannel.conflist"),
        Network(
            "canal",
            ("vxlan",),
            enforces=True,
            always_enforces=True,
            bridge=False,
            conflist="10-canal.conflist",
            more_files=("calico-kubeconfig",),
            known=(HAIRPIN,),
        ),
    )
}
"""By the value of the setting cni."""


def enforces_policy(cni: str, network_policy: bool | None) -> bool:
    """Whether NetworkPolicy has an effect with these two settings; None leaves it to what the network is able to."""
    return NETWORKS[cni].enforces and network_policy is not False


def no_enforcement(cni: str, network_policy: bool | None) -> str | None:
    """Why policies would be accepted and have no effect, and what to do; None where they have one."""
    if enforces_policy(cni, network_policy):
        return None
    if not NETWORKS[cni].enforces:
        return problem(
            "cni",
            "enforces no NetworkPolicy, so policies would be accepted and have no effect",
            cni,
            "a cluster with cni = 'canal' or 'podnet' enforces them",
        )
    return (
        "network_policy: is False, so policies would be accepted and have no effect; set it to None and run ./inv apply"
    )


def source_of_node(cni: str, backend: str, *, own_pod: bool) -> Source:
    """What a pod sees a node as: its own (``own_pod``), or another one."""
    if own_pod:
        # Where pods have links without an address, as in Canal, the kernel takes one of the node's own.
        return Source.BRIDGE if NETWORKS[cni].bridge else Source.NODE
    return Source.TUNNEL if backend == "vxlan" else Source.NODE


def vxlan_device(cni: str, vni: int) -> str:
    """Name of the VXLAN link: flannel puts the VNI into it, podnet always has flannel.1."""
    return f"flannel.{vni}" if NETWORKS[cni].upstream else "flannel.1"
