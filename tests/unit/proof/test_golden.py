"""The rule checks on captures from the real flannel and kube-proxy, where those are at hand."""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from kubeproof.config.cluster import Cluster, LoadedInventory, Node, SshAccess
from kubeproof.proof.checks import by_name
from kubeproof.rules.api import ApiObjects, Backend, NodeObject, Service, ServicePort
from kubeproof.rules.context import Context
from kubeproof.state.iptables import Ruleset, parse_iptables_save
from kubeproof.state.model import Address, Link, Namespace
from kubeproof.state.node import NodeState
from tests.unit.proof import good

REPOSITORY = Path(__file__).resolve().parents[3]
GOLDEN = REPOSITORY.parent / "shared" / "golden"

pytestmark = pytest.mark.skipif(not GOLDEN.is_dir(), reason=f"there are no captures in {GOLDEN}")

NODE = Node("k8s-node1", IPv4Address("192.168.200.12"), "worker")
SERVICES = (
    Service("default", "kubernetes", IPv4Address("10.1.0.1"), (ServicePort("https", "tcp", 443, None),), False, False),
    Service("default", "httpd-svc", IPv4Address("10.1.115.87"), (ServicePort("", "tcp", 8080, 33000),), False, False),
)
ENDPOINTS = {
    ("default", "kubernetes", "https"): frozenset({Backend(IPv4Address("192.168.200.11"), 6443)}),
    ("default", "httpd-svc", ""): frozenset(
        Backend(IPv4Address(ip), 80) for ip in ("10.244.1.2", "10.244.1.3", "10.244.2.2")
    ),
}
CHECKS = (
    "forward-accepts",
    "postrouting-order",
    "service-chains",
    "service-endpoints",
    "node-ports",
    "service-masquerade",
    "iptables-mixed",
)


@pytest.fixture(scope="module")
def node1() -> Context:
    settings = good.settings(pod_cidr=IPv4Network("10.244.0.0/16"), service_cidr=IPv4Network("10.1.0.0/16"))
    ruleset: Ruleset = parse_iptables_save(
        (GOLDEN / "node1-nat.save").read_text() + (GOLDEN / "node1-filter.save").read_text()
    )
    state = NodeState(NODE.name, iptables=ruleset)
    node = NodeObject(NODE.name, IPv4Network("10.244.1.0/24"), NODE.address, "True", "")
    objects = ApiObjects(nodes=(node,), services=SERVICES, endpoints=ENDPOINTS)
    loaded = LoadedInventory(Path("/inventory.py"), Cluster(settings, (NODE,)), {NODE.name: SshAccess(NODE.name)})
    return Context(NODE, loaded, state, {NODE.name: state}, objects)


@pytest.mark.parametrize("name", CHECKS)
def test_the_real_rules_hold(name: str, node1: Context) -> None:
    result = by_name(name).check(node1)
    assert result.ok, f"expected {result.expected}\nfound {result.found}"


def test_one_endpoint_less_in_the_api_is_noticed(node1: Context) -> None:
    fewer = dict(ENDPOINTS)
    fewer["default", "httpd-svc", ""] = frozenset({Backend(IPv4Address("10.244.1.2"), 80)})
    objects = ApiObjects(nodes=node1.api.nodes, services=SERVICES, endpoints=fewer)
    assert not by_name("service-endpoints").check(replace(node1, objects=objects)).ok


@pytest.mark.parametrize("name", ["forward-verdicts", "postrouting-verdicts"])
def test_what_the_real_rules_of_flannel_do_to_packets(name: str, node1: Context) -> None:
    """By flannel v0.14.0, without chains of its own; later ones are written out by hand in networks.py."""
    other = Node("k8s-node2", IPv4Address("192.168.200.13"), "worker")
    settings = replace(
        node1.cluster.settings, cni="flannel", network_policy=None, node_network=IPv4Network("192.168.200.0/24")
    )
    network = Namespace(
        links=(Link(2, "eth0", "", 1500, "UP", good.UP),),
        addresses=(Address("eth0", IPv4Interface((NODE.address, 24)), "global"),),
    )
    objects = replace(
        node1.api,
        nodes=(*node1.api.nodes, NodeObject(other.name, IPv4Network("10.244.2.0/24"), other.address, "True", "")),
    )
    context = replace(
        node1,
        loaded=replace(node1.loaded, cluster=Cluster(settings, (NODE, other))),
        state=replace(node1.state, network=network),
        objects=objects,
    )
    result = by_name(name).check(context)
    assert result.ok, f"expected {result.expected}\nfound {result.found}"
    assert len(result.found.splitlines()) == 5
