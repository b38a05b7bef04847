"""What a check is given, what it answers, and how one is declared. Pure."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network

from kubeproof.config.cluster import Cluster, Node, SshAccess
from kubeproof.networks.network import NODE_ADDRESS, VXLAN_OVERHEAD
from kubeproof.proof.api import ApiObjects, Pod
from kubeproof.proof.result import CheckResult, Status
from kubeproof.state.model import Link
from kubeproof.state.node import NodeState

VXLAN_DEVICE = "flannel.1"
"""Flannel names its device after the VNI; podnet keeps the name."""
BRIDGE = "cni0"
DOCKER_BRIDGE = "docker0"
POD_DEVICE = "eth0"
NOT_READ = "node was not read"
NO_API = "the API could not be read"


class UndecidedError(Exception):
    """A check cannot be decided, because what it compares with is not known; it then fails with this text."""


@dataclass(frozen=True)
class Context:
    """One node, as read, together with the others and the API.

    ``states`` holds each node that could be read, by name; ``objects`` the API's, or why they could not be read;
    ``access`` is how the node is reached, for commands to paste.
    """

    node: Node
    cluster: Cluster
    state: NodeState
    states: Mapping[str, NodeState]
    objects: ApiObjects | str
    access: SshAccess

    @property
    def api(self) -> ApiObjects:
        """The API's objects; no check passes without those that it needs."""
        if isinstance(self.objects, str):
            raise UndecidedError(f"{NO_API}: {self.objects}")
        return self.objects

    @property
    def subnet(self) -> IPv4Network:
        """S: the pods' network on this node, a.b.N.0/24, as its node object has it."""
        return self.subnet_of(self.node.name)

    def subnet_of(self, name: str) -> IPv4Network:
        found = self.api.node(name)
        if found is None:
            raise UndecidedError(f"the API has no node {name}: it has not joined the cluster")
        if found.pod_cidr is None:
            raise UndecidedError(
                f"the node object {name} has no podCIDR: does kube-controller-manager allocate node CIDRs?"
            )
        return found.pod_cidr

    @property
    def gateway(self) -> IPv4Address:
        """The address of cni0: the first host of S."""
        return self.subnet[1]

    @property
    def others(self) -> tuple[Node, ...]:
        """The other nodes of the inventory."""
        return tuple(node for node in self.cluster.nodes if node.name != self.node.name)

    @property
    def pods(self) -> tuple[Pod, ...]:
        """Pods of the pod network that run here."""
        return self.api.pods_with_own_address(self.node.name)

    @property
    def vxlan_device(self) -> str:
        """Name of the node's VXLAN link."""
        return self.cluster.settings.vxlan_device

    @property
    def underlay(self) -> Link:
        """The interface that carries packets to other nodes: the one of the settings, or that of the node's address."""
        return self._underlay(self.state, self.node)

    @property
    def underlay_address(self) -> IPv4Address:
        """The address that packets to other nodes come from."""
        return self.underlay_address_of(self.node)

    def underlay_address_of(self, node: Node) -> IPv4Address:
        """The address that packets to a node are sent to: its own, or that of the interface of the settings."""
        if self.cluster.settings.cni_interface == NODE_ADDRESS:
            return node.address
        state = self.states.get(node.name)
        if state is None:
            announced = self._announced_address(node.name)
            if announced is None:
                raise UndecidedError(f"the address of {node.name} in the pod network is not known: the {NOT_READ}")
            return announced
        addresses = [item.ip for item in state.network.addresses_of(self._underlay(state, node).name)]
        return node.address if node.address in addresses else addresses[0]

    def _underlay(self, state: NodeState, node: Node) -> Link:
        name = self.cluster.settings.cni_interface
        if not name:
            # flannel's own choice: the interface of the default route.
            route = next((item for item in state.network.routes_in() if item.destination.prefixlen == 0), None)
            name = (route.device if route else None) or "with a default route"
        link = state.underlay(node.address) if name == NODE_ADDRESS else state.network.link(name)
        if link is None and name == NODE_ADDRESS:
            raise UndecidedError(f"no interface of this node carries its address {node.address}")
        if link is None or not (name == NODE_ADDRESS or state.network.addresses_of(link.name)):
            raise UndecidedError(f"there is no interface {name} with an address on {node.name}")
        return link

    def _announced_address(self, name: str) -> IPv4Address | None:
        found = self.api.node(name)
        text = found.annotations.get("flannel.alpha.coreos.com/public-ip", "") if found else ""
        return IPv4Address(text) if text else None

    @property
    def overlay_mtu(self) -> int:
        """Bytes that an inner packet may have: the underlay's MTU less the overhead of VXLAN."""
        return self.underlay.mtu - VXLAN_OVERHEAD

    @property
    def network_mtu(self) -> int:
        """Bytes that a packet between nodes may have: with a tunnel less its overhead."""
        return self.underlay.mtu - self.cluster.settings.backend.overhead

    @property
    def pod_mtu(self) -> int:
        """Bytes that a packet of a pod may have."""
        return self.cluster.settings.cni_mtu or self.network_mtu

    def vtep_mac(self, name: str) -> str:
        """The MAC of another node's flannel.1: as that node has it, or as it was announced if it cannot be read."""
        state = self.states.get(name)
        link = state.network.link(self.vxlan_device) if state else None
        if link is not None:
            return link.mac
        found = self.api.node(name)
        announced = self.cluster.settings.network.agent.announced_mac(found.annotations) if found else None
        if announced is None:
            raise UndecidedError(
                f"the MAC of {self.vxlan_device} on {name} is not known: no such device, or the {NOT_READ}"
            )
        return announced


@dataclass(frozen=True)
class Finding:
    """The answer of a check: what was expected and what was found, for people."""

    ok: bool
    expected: str
    found: str


@dataclass(frozen=True)
class Check:
    """A line of what must be true on every node. ``needs`` are the parts of NodeState that it reads.

    ``look`` is the command to look further with, run on the node, or what makes it of a context.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    look: str | Callable[[Context], str]
    decide: Callable[[Context], Finding] = field(repr=False)

    def run(self, context: Context) -> CheckResult:
        """Decide it for one node. Never raises for what a node or the API may lack."""
        finding = self._finding(context)
        look = self.look if isinstance(self.look, str) else self.look(context)
        return CheckResult(
            node=context.node.name,
            name=self.name,
            status=Status.HOLDS if finding.ok else Status.FAILS,
            expected=finding.expected,
            found=finding.found,
            look_further=context.access.line(look),
        )

    def _finding(self, context: Context) -> Finding:
        unreadable = [
            f"{part} could not be read: {context.state.unreadable[part]}"
            for part in self.needs
            if part in context.state.unreadable
        ]
        if unreadable:
            return Finding(False, self.title, "; ".join(unreadable))
        odd = [f"not understood: {line}" for part in self.needs for line in context.state.odd.get(part, ())]
        try:
            found = self.decide(context)
        except UndecidedError as undecided:
            found = Finding(False, self.title, str(undecided))
        return found if found.ok else replace(found, found="\n".join([found.found, *odd]))


def check(
    title: str, *, needs: tuple[str, ...] = (), look: str | Callable[[Context], str]
) -> Callable[[Callable[[Context], Finding]], Check]:
    """Declare a check, named as its function."""

    def declare(decide: Callable[[Context], Finding]) -> Check:
        return Check(decide.__name__, title, needs, look, decide)

    return declare


def same(expected: object, found: object) -> Finding:
    """Whether two values are equal, shown as they print."""
    return Finding(expected == found, str(expected), "nothing" if found is None else str(found))


def same_set(expected: Iterable[object], found: Iterable[object], *, nothing: str = "none") -> Finding:
    """Whether two collections hold the same lines in any order; what is missing and what is too much is named."""
    wanted, present = sorted(map(str, expected)), sorted(map(str, found))
    missing = [line for line in wanted if line not in present]
    surplus = [line for line in present if line not in wanted]
    doubled = [line for line in set(present) if present.count(line) > wanted.count(line) and line in wanted]
    notes = [f"missing: {line}" for line in missing]
    notes += [f"not expected: {line}" for line in surplus]
    notes += [f"more than once: {line}" for line in sorted(doubled)]
    shown = "\n".join(notes) if notes else ("\n".join(present) or nothing)
    return Finding(wanted == present, "\n".join(wanted) or nothing, shown)


def same_sequence(expected: Iterable[object], found: Iterable[object], *, nothing: str = "none") -> Finding:
    """Whether two collections hold the same lines in the same order."""
    wanted, present = list(map(str, expected)), list(map(str, found))
    return Finding(wanted == present, "\n".join(wanted) or nothing, "\n".join(present) or nothing)


def all_of(findings: Iterable[tuple[str, Finding]], *, expected: str, nothing: str) -> Finding:
    """Many findings about things with names: holds if all hold, and names those that do not."""
    made = list(findings)
    wrong = [f"{name}: expected {item.expected}, found {item.found}" for name, item in made if not item.ok]
    if wrong:
        return Finding(False, expected, "\n".join(wrong))
    return Finding(True, expected, ", ".join(name for name, _ in made) or nothing)
