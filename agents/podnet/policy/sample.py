"""A ruleset with everything in it that podnet ever loads, to find out whether kernel and nft can. Pure."""

from ipaddress import IPv4Address, IPv4Network

from agents.podnet.policy.objects import Block, NamedPort, Namespace, Pod, PodPeer, Policy, PortMatch, Rule, World
from agents.podnet.policy.ruleset import Here, make_ruleset
from agents.podnet.policy.selectors import EVERYTHING


def make_sample() -> str:
    """The table for two pods of a documentation network (RFC 5737)."""
    peers = (PodPeer(None, EVERYTHING, EVERYTHING), Block(((0, 9), (20, 29))))
    ports = (
        *(PortMatch(protocol, 80, 90) for protocol in ("TCP", "UDP", "SCTP")),
        PortMatch("TCP", 443, 443),
        PortMatch("TCP", name="web"),
    )
    rules = (Rule(0, peers, ports), Rule(1, peers, None), Rule(2, None, (PortMatch("UDP"),)))
    policy = Policy("sample", "all", "", EVERYTHING, frozenset(("ingress", "egress")), rules, rules)
    web = (NamedPort("web", "TCP", 80),)
    addresses = (IPv4Address("192.0.2.2"), IPv4Address("198.51.100.2"))
    pods = [Pod("sample", str(address), (), address, "sample", ports=web) for address in addresses]
    world = World({pod.name: pod for pod in pods}, {"sample": Namespace("sample", ())}, {"sample/all": policy})
    return make_ruleset(world, Here("sample", IPv4Network("192.0.2.0/24"))).table.text()
