"""Hosts that nothing is wrong with, to change one thing of."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from ipaddress import IPv4Interface, IPv4Network
from typing import Any, NamedTuple

from kubeproof.config.cluster import Cluster
from kubeproof.networks.plan import of_template
from kubeproof.node.finding import Finding
from kubeproof.rules.before_deploy.inspection import Arrivals, Asked, Inspection, Reading
from kubeproof.state.hostfiles import DiskUsage, Identity
from kubeproof.state.model import Address, Link, Namespace, Route
from kubeproof.state.node import NodeState
from tests.unit.node.example import cluster

NUMBERS = {"master": 11, "node1": 12, "node2": 13}
DISKS = tuple(
    DiskUsage(path, "ext2/ext3", 20000, 15000, "/")
    for path in ("/var/lib/containerd", "/var/lib/docker", "/var/lib/etcd", "/var/lib/kubelet")
)
Findings = Callable[[Inspection], Iterable[Finding]]
FEATURES = dict.fromkeys(("overlay", "veth", "bridge", "vxlan", "conntrack", "br_netfilter", "iptables"), "ok")


NETWORK = ("interfaces", "addresses", "routes", "unreachable", "default_link", "tunnels")
IDENTITY = ("hostname", "machine_id", "product_uuid", "container")


class OnLink(NamedTuple):
    """An IPv4 address with its link and that link's MTU in bytes."""

    link: str
    address: str
    mtu: int = 1500


def network(
    *,
    interfaces: Sequence[str] = (),
    addresses: Sequence[OnLink] = (),
    routes: Sequence[tuple[str, str]] = (),
    unreachable: Sequence[str] = (),
    default_link: str = "",
    tunnels: Sequence[Link] = (),
) -> Namespace:
    """Links by name, routes by destination and link."""
    mtus = {**dict.fromkeys(interfaces, 1500), **{item.link: item.mtu for item in addresses}}
    links = [Link(number, name, "", mtu, "UP") for number, (name, mtu) in enumerate(mtus.items(), start=1)]
    ways = [Route(IPv4Network(to), link or None) for to, link in routes]
    ways += [Route(IPv4Network(to), None, type="blackhole") for to in unreachable]
    ways += [Route(IPv4Network("0.0.0.0/0"), default_link)] if default_link else []
    on_links = [Address(item.link, IPv4Interface(f"{item.address}/24"), "global") for item in addresses]
    return Namespace((*links, *tunnels), tuple(on_links), tuple(ways))


def bare(name: str = "node1", **changes: Any) -> NodeState:
    """A host of which nothing is known but ``changes``: fields of NodeState, of its identity, and words of network."""
    parts = {key: changes.pop(key) for key in list(changes) if key in NETWORK}
    own = {key: changes.pop(key) for key in list(changes) if key in IDENTITY}
    return NodeState(name, identity=Identity(**own), network=network(**parts), **changes)


def facts(name: str, **changes: Any) -> NodeState:
    """A host that is fit, with changes."""
    fit: dict[str, Any] = {
        "system": "debian 12",
        "uid": 0,
        "machine_id": f"id-of-{name}",
        "architecture": "amd64",
        "kernel": "6.1.0-13-amd64",
        "cgroups": "cgroup2fs",
        "memory_mib": 4000,
        "cores": 2,
        "init": "systemd",
        "controllers": ("cpuset", "cpu", "io", "memory", "pids"),
        "disks": DISKS,
        "hostname": name,
        "own_addresses": (f"192.0.2.{NUMBERS[name]}",),
        "product_uuid": f"uuid-of-{name}",
        "hosts_file": f"127.0.0.1 localhost\n127.0.1.1 {name}\n",
        "resolvers": ("198.51.100.53",),
        "interfaces": ("lo", "eth0"),
        "tcp_ports": (22,),
        "addresses": addresses(name),
        "routes": (("192.0.2.0/24", "eth0"),),
        "default_link": "eth0",
    }
    return bare(name, **{**fit, **changes})


def addresses(name: str) -> tuple[OnLink, ...]:
    return (OnLink("lo", "127.0.0.1", 65536), OnLink("eth0", f"192.0.2.{NUMBERS[name]}"))


def inspection(wanted: Cluster | None = None, /, **changes: Any) -> Inspection:
    """Three hosts that are fit. ``node1`` changes facts of that host; what is named as Inspection does replaces it."""
    wanted = wanted or cluster()
    hosts = {name: facts(name, **changes.pop(name, {})) for name in NUMBERS}
    made = Inspection(
        wanted,
        hosts,
        of_template(wanted.settings),
        clocks=dict.fromkeys(NUMBERS, Reading(0.01, 0.02)),
        features=dict.fromkeys(NUMBERS, FEATURES),
        sources=dict.fromkeys(NUMBERS, (Asked("http://192.0.2.1:5000/v2/", "images", "401"),)),
        arrivals=dict.fromkeys(NUMBERS, Arrivals(frozenset(NUMBERS))),
    )
    return replace(made, **changes)


def found(findings: Findings, looked_at: Inspection) -> list[tuple[str, str, str]]:
    """Name, host and severity of what one family of rules finds."""
    return [(item.name, item.host, item.severity) for item in findings(looked_at)]


def only(findings: Findings, looked_at: Inspection) -> Finding:
    """The one thing that a family of rules finds."""
    (finding,) = findings(looked_at)
    return finding
