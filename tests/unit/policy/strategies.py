"""Random worlds for hypothesis: few names and labels, so that policies and pods meet."""

from ipaddress import IPv4Address, IPv4Network, IPv6Network
from typing import get_args

from hypothesis import strategies as st

from kubeproof.policy.engine import End, NodeEnd, OutsideEnd, PodEnd
from kubeproof.policy.model import (
    DIRECTIONS,
    PROTOCOLS,
    Cidr,
    ContainerPort,
    IpBlock,
    Judged,
    Namespace,
    Peer,
    Pod,
    Policy,
    PortSpec,
    Rule,
    World,
)
from kubeproof.policy.selectors import OPERATORS, Requirement, Selector

KEYS, VALUES = ("k", "l"), ("1", "2")
PORTS = (80, 81, 82)
PORT_NAMES = ("web", "dns")
JUDGED: tuple[Judged, ...] = get_args(Judged)

labels = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))
values = st.lists(st.sampled_from(VALUES), min_size=1, unique=True).map(tuple)
requirements = st.one_of(
    st.builds(Requirement, st.sampled_from(KEYS), st.sampled_from(OPERATORS[:2]), values),
    st.builds(Requirement, st.sampled_from(KEYS), st.sampled_from(OPERATORS[2:])),
)
selectors = st.builds(Selector, st.one_of(st.just({}), labels), st.lists(requirements, max_size=2).map(tuple))


def parts_of(cidr: IPv4Network) -> st.SearchStrategy[IPv4Network]:
    """Smaller networks within one of 10.244.0.0/16 and wider."""
    third = st.sampled_from([network for network in BLOCKS if network.prefixlen > cidr.prefixlen])
    return third.filter(lambda network: network.subnet_of(cidr))


BLOCKS = [
    IPv4Network(text)
    for text in ("0.0.0.0/0", "10.0.0.0/8", "10.244.0.0/16", "10.244.1.0/24", "10.244.2.0/24", "10.244.1.0/25")
] + [IPv4Network(f"10.244.{node}.{host}/32") for node in (1, 2) for host in (0, 2, 3)]
WITH_PARTS = [block for block in BLOCKS if any(o != block and o.subnet_of(block) for o in BLOCKS)]
ipv4_blocks = st.one_of(
    st.builds(IpBlock, st.sampled_from(BLOCKS)),
    st.sampled_from(WITH_PARTS).flatmap(
        lambda cidr: st.builds(IpBlock, st.just(cidr), st.lists(parts_of(cidr), max_size=2).map(tuple))
    ),
)
blocks = st.one_of(ipv4_blocks, st.just(IpBlock(IPv6Network("::/0"))))
peers = st.one_of(
    st.builds(Peer, pod_selector=selectors),
    st.builds(Peer, namespace_selector=selectors),
    st.builds(Peer, pod_selector=selectors, namespace_selector=selectors),
    st.builds(Peer, ip_block=blocks),
)
ranges = st.tuples(st.sampled_from(PORTS), st.integers(0, 3)).map(lambda pair: (pair[0], pair[0] + pair[1]))
ports = st.one_of(
    st.builds(PortSpec, st.sampled_from(PROTOCOLS), st.one_of(st.none(), st.sampled_from((*PORTS, *PORT_NAMES)))),
    st.builds(lambda protocol, both: PortSpec(protocol, *both), st.sampled_from(PROTOCOLS), ranges),
)
rules = st.builds(Rule, st.lists(peers, max_size=3).map(tuple), st.lists(ports, max_size=3).map(tuple))
rule_lists = st.lists(rules, max_size=3).map(tuple)
types = st.sampled_from([("Ingress",), ("Egress",), DIRECTIONS])
policies = st.builds(
    Policy, st.sampled_from("xy"), st.sampled_from("pqrs"), selectors, types, ingress=rule_lists, egress=rule_lists
)
policy_lists = st.lists(policies, max_size=5, unique_by=lambda policy: policy.full_name).map(tuple)

container_ports = st.builds(
    ContainerPort, st.sampled_from(PORT_NAMES), st.sampled_from(PROTOCOLS), st.sampled_from(PORTS)
)


@st.composite
def pods(draw: st.DrawFn, namespace: str, name: str, number: int) -> Pod:
    """A pod on n1 or n2; rarely with hostNetwork."""
    node = draw(st.sampled_from((1, 2)))
    return Pod(
        namespace,
        name,
        draw(labels),
        IPv4Address(f"10.244.{node}.{number}"),
        f"n{node}",
        host_network=draw(st.integers(0, 9)) == 0,
        ports=tuple(draw(st.lists(container_ports, max_size=2))),
    )


NAMES = [(namespace, name) for namespace in "xy" for name in "ab"]


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Two namespaces (the object of one may be missing) with two pods each, and up to five policies."""
    namespaces = [Namespace(name, draw(labels)) for name in draw(st.sampled_from(("xy", "x")))]
    found = [draw(pods(namespace, name, number)) for number, (namespace, name) in enumerate(NAMES, start=2)]
    return World.of(namespaces, found, draw(policy_lists))


def ends(world: World) -> list[End]:
    """Every end worth asking about in a world."""
    nodes = [NodeEnd(f"n{number}", IPv4Address(f"10.244.{number}.0")) for number in (1, 2)]
    return [*map(PodEnd, world.pods.values()), *nodes, OutsideEnd(IPv4Address("1.2.3.4"))]


Cell = tuple[End, End, Judged, int]


def cells(world: World) -> list[Cell]:
    """Every connection worth asking about in a world."""
    found = ends(world)
    asked: list[tuple[Judged, int]] = [(protocol, port) for protocol in PROTOCOLS for port in PORTS[:2]]
    return [(one, other, *what) for one in found for other in found for what in [*asked, ("ICMP", 0)]]


@st.composite
def questions(draw: st.DrawFn) -> tuple[World, list[Cell]]:
    """A world and all connections worth asking about: judging takes less time than drawing some."""
    world = draw(worlds())
    return world, cells(world)


def wider(cidr: Cidr) -> Cidr:
    """The network around one."""
    return cidr.supernet() if cidr.prefixlen else cidr
