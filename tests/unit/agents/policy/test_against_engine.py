"""The rulesets of all nodes, simulated, against the project's policy engine: every cell of generated clusters."""

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.podnet.policy.objects import World, read_namespace, read_pod
from agents.podnet.policy.reading import read_policy
from agents.podnet.policy.ruleset import Here, make_ruleset
from kubeproof.policy import engine
from kubeproof.policy.model import Judged
from kubeproof.policy.model import World as Model
from kubeproof.policy.reading import read_documents
from tests.unit.agents.policy.objects import Item
from tests.unit.agents.policy.simulator import Packet, Simulator

NODES = {"one": IPv4Network("10.99.1.0/24"), "two": IPv4Network("10.99.2.0/24")}
NODE_ADDRESSES = {"one": IPv4Address("192.0.2.11"), "two": IPv4Address("192.0.2.12")}
OUTSIDE = IPv4Address("198.51.100.7")
NUMBERS = (79, 80, 81, 90)
CELLS: tuple[tuple[Judged, int], ...] = (
    *((protocol, number) for protocol in ("TCP", "UDP", "SCTP") for number in NUMBERS),
    ("ICMP", 0),
)

KEYS, VALUES = ("app", "tier"), ("a", "b")
LABELS = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(VALUES))
NAMESPACES = ("x", "y", "z")


@st.composite
def requirements(draw: st.DrawFn) -> Item:
    operator = draw(st.sampled_from(("In", "NotIn", "Exists", "DoesNotExist")))
    values = draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=2, unique=True))
    return {
        "key": draw(st.sampled_from(KEYS)),
        "operator": operator,
        **({"values": values} if "In" in operator else {}),
    }


SELECTORS = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"matchLabels": LABELS}),
    st.fixed_dictionaries({"matchExpressions": st.lists(requirements(), min_size=1, max_size=2)}),
)
BLOCKS = st.sampled_from(
    [
        {"cidr": "0.0.0.0/0"},
        {"cidr": "0.0.0.0/0", "except": ["10.99.1.0/24"]},
        {"cidr": "10.99.1.0/24"},
        {"cidr": "10.99.0.0/16", "except": ["10.99.1.0/30", "10.99.2.0/32"]},
        {"cidr": "10.99.2.0/32"},
        {"cidr": "192.0.2.0/24"},
        {"cidr": "198.51.100.0/24", "except": ["198.51.100.7/32"]},
        {"cidr": "2001:db8::/32"},
    ]
)
PEERS = st.one_of(
    st.fixed_dictionaries({"podSelector": SELECTORS}),
    st.fixed_dictionaries({"namespaceSelector": SELECTORS}),
    st.fixed_dictionaries({"namespaceSelector": SELECTORS, "podSelector": SELECTORS}),
    st.fixed_dictionaries({"ipBlock": BLOCKS}),
)


PROTOCOLS = st.sampled_from(({}, {"protocol": "TCP"}, {"protocol": "UDP"}, {"protocol": "SCTP"}))


@st.composite
def ports(draw: st.DrawFn) -> Item:
    named = draw(st.sampled_from((None, None, {"port": "web"}, {"protocol": "UDP", "port": "dns"}, {"port": "dns"})))
    if named:
        return dict(named)
    first, last = sorted((draw(st.sampled_from(NUMBERS)), draw(st.sampled_from(NUMBERS))))
    return {**draw(PROTOCOLS), **draw(st.sampled_from(({}, {"port": first}, {"port": first, "endPort": last})))}


@st.composite
def rules(draw: st.DrawFn, peers: str) -> Item:
    rule: Item = {}
    if draw(st.booleans()):
        rule["ports"] = draw(st.lists(ports(), max_size=3))
    if draw(st.integers(0, 3)):
        rule[peers] = draw(st.lists(PEERS, max_size=2))
    return rule


@st.composite
def policies(draw: st.DrawFn, number: int) -> Item:
    spec: Item = {"podSelector": draw(SELECTORS)}
    if draw(st.booleans()):
        kinds = st.lists(st.sampled_from(("Ingress", "Egress")), min_size=1, max_size=2, unique=True)
        spec["policyTypes"] = draw(kinds)
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        if draw(st.booleans()):
            spec[direction] = draw(st.lists(rules(peers), max_size=2))
    metadata = {"name": f"p{number}", "namespace": draw(st.sampled_from(NAMESPACES))}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


DECLARED: list[Item] = [
    {"name": "web", "containerPort": 80},
    {"name": "web", "containerPort": 81, "protocol": "TCP"},
    {"name": "dns", "containerPort": 79, "protocol": "UDP"},
    {"containerPort": 90},
]
CONTAINER_PORTS = st.lists(
    st.sampled_from(DECLARED), min_size=1, max_size=3, unique_by=lambda port: str(port.get("name"))
)


@st.composite
def pods(draw: st.DrawFn, number: int) -> Item:
    node = draw(st.sampled_from(sorted(NODES)))
    host_network = draw(st.integers(0, 7)) == 0
    status: Item = {"phase": "Running", "podIP": str(NODES[node].network_address + 2 + number)}
    if host_network:
        status["podIP"] = str(NODE_ADDRESSES[node])
    if draw(st.integers(0, 9)) == 0:
        status = draw(st.sampled_from(({"phase": "Pending"}, {**status, "phase": "Succeeded"})))
    containers = [{"name": "main", "image": "i", "ports": draw(CONTAINER_PORTS)}]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"pod{number}", "namespace": draw(st.sampled_from(NAMESPACES)), "labels": draw(LABELS)},
        "spec": {"nodeName": node, "containers": containers, "hostNetwork": host_network},
        "status": status,
    }


@st.composite
def clusters(draw: st.DrawFn) -> list[Item]:
    spaces = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": draw(LABELS)}}
        for name in NAMESPACES
    ]
    some_pods = [draw(pods(number)) for number in range(draw(st.integers(2, 6)))]
    return [*spaces, *some_pods, *(draw(policies(number)) for number in range(draw(st.integers(1, 5))))]


def agents_world(items: list[Item]) -> World:
    """What podnet makes of the objects."""

    def of(kind: str) -> list[Any]:
        return [item for item in items if item["kind"] == kind]

    def name(item: Item) -> str:
        return f"{item['metadata']['namespace']}/{item['metadata']['name']}"

    return World(
        {name(item): read_pod(item) for item in of("Pod")},
        {item["metadata"]["name"]: read_namespace(item) for item in of("Namespace")},
        {name(item): read_policy(item) for item in of("NetworkPolicy")},
    )


class Network:
    """All nodes with their rulesets, and how a connection gets from one end to another."""

    def __init__(self, world: World) -> None:
        self.nodes = {
            name: Simulator(make_ruleset(world, Here(name, subnet)).table.text()) for name, subnet in NODES.items()
        }

    def carries(self, source: engine.End, destination: engine.End, protocol: str, port: int) -> bool:
        client, endpoint = address(source), address(destination)
        start, end = node_of(source), node_of(destination)
        if start == end and isinstance(source, engine.NodeEnd) | isinstance(destination, engine.NodeEnd):
            return True  # through OUTPUT or INPUT of that node, where nothing is policed
        hops: list[tuple[str, str, str]] = []
        if start == end and start is not None:
            hops.append((start, "cni0", "cni0"))
        else:
            if isinstance(source, engine.PodEnd) and start:
                hops.append((start, "cni0", "flannel.1"))
            if isinstance(destination, engine.PodEnd) and end:
                hops.append((end, "flannel.1", "cni0"))
        verdicts = {
            all(
                self._lets(node, Packet(client, endpoint, protocol, port, state, reply, iif, oif))
                for node, iif, oif in hops
            )
            for reply, state in ((False, "new"), (True, "established"))
        }
        assert len(verdicts) == 1, "the two directions of one connection are judged differently"
        return verdicts.pop()

    def _lets(self, node: str, packet: Packet) -> bool:
        return self.nodes[node].passes(packet)


def address(end: engine.End) -> IPv4Address:
    match end:
        case engine.PodEnd(pod):
            assert pod.ip is not None
            return pod.ip
        case engine.NodeEnd(_, seen):
            return seen
        case engine.OutsideEnd(found):
            return found


def node_of(end: engine.End) -> str | None:
    match end:
        case engine.PodEnd(pod):
            return pod.node
        case engine.NodeEnd(node, _):
            return node
        case _:
            return None


def pairs(model: Model) -> Iterator[tuple[engine.End, engine.End]]:
    """Every source with every destination; nodes as other nodes' pods see them, and at their own address."""
    inside: list[engine.End] = [
        engine.PodEnd(pod) for pod in model.pods.values() if pod.reachable and not pod.host_network
    ]
    outside: engine.End = engine.OutsideEnd(OUTSIDE)
    as_sources: list[engine.End] = [engine.NodeEnd(node, subnet.network_address) for node, subnet in NODES.items()]
    as_targets: list[engine.End] = [engine.NodeEnd(node, NODE_ADDRESSES[node]) for node in NODES]
    for source in (*inside, *as_sources, outside):
        for destination in (*inside, *as_targets, outside):
            if isinstance(source, engine.PodEnd) or isinstance(destination, engine.PodEnd):
                yield source, destination


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(clusters())
def test_every_cell_is_as_the_engine_says(items: list[Item]) -> None:
    model = read_documents(items, "generated").world
    network = Network(agents_world(items))
    for source, destination in pairs(model):
        for protocol, port in CELLS:
            expected = engine.judge(model, source, destination, protocol, port)
            carried = network.carries(source, destination, protocol, port)
            assert carried == expected.allowed, f"{source} to {destination} {protocol} {port}: {expected}"
