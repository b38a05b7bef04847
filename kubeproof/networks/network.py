"""The interface of a pod network: what is known of one is a value of :class:`Network`. Pure.

Each network has one module that makes that value, and registry.py lists them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from kubeproof.networks.manifest import Manifest

NODE_ADDRESS = "node-address"
"""Value of cni_interface: the interface that carries the node's address."""
VXLAN_OVERHEAD = 50
"""Bytes that VXLAN over IPv4 adds: inner Ethernet 14, VXLAN 8, UDP 8, IPv4 20 (RFC 7348)."""


class Source(Enum):
    """Whose address a pod sees when a process of a node talks to it; the route's device gives it."""

    BRIDGE = "cni0"
    TUNNEL = "the tunnel's link"
    NODE = "the node"


@dataclass(frozen=True)
class Effect:
    """``applied``: the next deploy brings it about. ``refused``: a finding stops the deploy before it changes anything.
    ``nothing``: nothing that runs has it, or has to have it anew.
    """

    kind: Literal["applied", "refused", "nothing"]
    why: str
    """What brings it about, the finding's name, or why nothing needs it."""


def applied(why: str) -> Effect:
    return Effect("applied", why)


def refused(finding: str = "changed-setting") -> Effect:
    return Effect("refused", finding)


def nothing(why: str) -> Effect:
    return Effect("nothing", why)


IN_PODS = applied("it is part of the agents' pods, which are replaced")
NOT_USED = nothing("the network has none, and another value than the default is refused with the settings")
OF_OTHERS = nothing("it is another network's alone")


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
class Carrier:
    """What nodes send each other for a network, beside VXLAN, as a filter sees it."""

    title: str
    """What it is, for people."""
    protocol: str
    """As iptables-save writes it."""
    port: int | None = None
    """Of the receiver; None where the protocol has none."""
    accepted_in: tuple[str, ...] = ()
    """Chains of the network's own in which it is accepted from the cluster's nodes, whatever comes later."""

    @property
    def words(self) -> str:
        """For people: "BGP (TCP 179)"."""
        wanted = f"{self.protocol.upper()} {self.port}" if self.port else f"protocol {self.number}"
        return f"{self.title} ({wanted})"

    @property
    def match(self) -> str:
        """Words of iptables."""
        return f"-p {self.protocol} --dport {self.port}" if self.port else f"-p {self.number}"

    @property
    def number(self) -> int:
        """Of the protocol, whose name is not the same in every /etc/protocols."""
        return {"ipencap": 4, "tcp": 6, "udp": 17}[self.protocol]


@dataclass(frozen=True)
class Backend:
    """A way of a network to carry packets from node to node: one choice of the setting cni_backend."""

    name: str
    device: str
    """Its tunnel's link on every node, with ``{vni}`` for the VNI; without a tunnel the one that must not be there."""
    aspects: tuple[str, ...]
    """What a node then has beside what all have: they name the checks that the proof holds it to (proof/checks.py)."""
    overhead: int = 0
    """Bytes that the tunnel adds to a packet; 0 without a tunnel."""
    carriers: tuple[Carrier, ...] = ()


@dataclass(frozen=True)
class Agent:
    """The pods of a network that set up nodes."""

    daemon_set: str
    container: str
    """The one that sets routes and devices."""
    label: tuple[str, str]
    """Key and value that the DaemonSet's pods have."""
    pod_cidr_query: str
    """kubectl's words that print what it is told, and the pattern by which the pod CIDR is found there."""
    namespaces: tuple[str, ...] = ("kube-system",)
    """Where versions of it are."""
    pod_cidr_pattern: str = r'"Network"\s*:\s*"([^"]+)"'
    environment: str = ""
    """kubectl's words that change its environment, where that has the settings."""
    announced_mac: Callable[[Mapping[str, str]], str | None] = lambda _: None
    """The MAC of a node's tunnel, from the annotations of the node object."""
    tunnel_address: Callable[[Mapping[str, str]], str | None] | None = None
    """The address of a node's tunnel, likewise; None where it is the network address of the node's podCIDR."""
    blocks: str = ""
    """What says which blocks of addresses nodes have, as kubectl names it; empty where each has its podCIDR."""


@dataclass(frozen=True)
class Artifacts:
    """What a network leaves on a host, beside its configuration: a reset takes all of it away."""

    links: tuple[str, ...] = ()
    """Patterns of the shell."""
    directories: tuple[str, ...] = ()
    """Those in which everything is the network's own."""
    evidence: tuple[str, ...] = ()
    """Files that show that it has been there, as patterns of the shell."""
    plugins: tuple[str, ...] = ()
    """What its init containers put on a host beside the plugins of the distribution's package."""
    chains: tuple[str, ...] = ()
    """Prefixes of its iptables chains."""
    comments: tuple[str, ...] = ()
    """How comments of its rules in chains of others begin."""
    sets: tuple[str, ...] = ()
    """Its ipsets, as patterns of the shell."""
    nft_tables: tuple[str, ...] = ()
    """Names of its nft tables, of whatever family."""


@dataclass(frozen=True, kw_only=True)
class Network:
    """One choice of the setting cni."""

    name: str
    title: str
    """Its name for people."""
    summary: str
    """What it is, with ``{backend}`` for the backend in use."""
    backends: tuple[Backend, ...]
    """The first one is what another network's backend is exchanged for."""
    agent: Agent
    artifacts: Artifacts
    conflist: str
    """Its configuration in /etc/cni/net.d."""
    more_files: tuple[str, ...] = ()
    """What else it writes there."""
    tmpfiles: str = ""
    """What has to be in a file of tmpfiles.d(5) on every host."""
    effects: Mapping[str, Effect]
    """What a change of the settings of pod networks does, by setting; NOT_USED refuses any value but the default."""
    manifest: Manifest | None = None
    """How its project's manifests are built; None where its objects are a template NAME.yaml.j2 of this project."""
    image_settings: tuple[str, ...] = ()
    """Settings that name the images of such a template."""
    bridge: bool = True
    """Whether pods are plugged into the bridge cni0; else each has a route of its own to its link on the node."""
    finds_mtu: bool = True
    """Whether its agents work out what a packet of a pod can have."""
    leaves_neighbours: bool = False
    """Whether its agents leave ARP and FDB entries of a node that came back with another MAC. Frames to such a MAC are
    no more, so they do no harm."""
    enforces: bool = False
    """Whether it is able to enforce NetworkPolicy."""
    always_enforces: bool = False
    """Whether that cannot be switched off."""
    policy_table: str = ""
    """The nft table of its policies, which is there whenever they are in force."""
    policy_folder: str = ""
    """Directory of a host in which its agent says which policies are in force (state/policies.py)."""
    policy_resources: tuple[str, ...] = ()
    """Policies of its own beside NetworkPolicy, as kubectl names them."""
    known: tuple[KnownDifference, ...] = ()
    """In what it differs from what NetworkPolicy is understood to mean."""

    def backend(self, name: str) -> Backend:
        return next(backend for backend in self.backends if backend.name == name)

    def source_of_node(self, backend: str, *, own_pod: bool) -> Source:
        """What a pod sees a node as: its own (``own_pod``), or another one."""
        if own_pod:
            # Where pods have links without an address, as in Canal, the kernel takes one of the node's own.
            return Source.BRIDGE if self.bridge else Source.NODE
        return Source.TUNNEL if self.backend(backend).overhead else Source.NODE
