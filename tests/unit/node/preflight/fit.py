"""Hosts that nothing is wrong with, to change one thing of."""

from dataclasses import replace
from typing import Any

from kubeproof.config.cluster import Cluster
from kubeproof.networks.plan import of_template
from kubeproof.node.finding import Finding
from kubeproof.node.host_facts import HostFacts, Room
from kubeproof.node.network_artifacts import LinkAddress, NetworkTraces
from kubeproof.node.preflight.inspection import Asked, Heard, Inspection, Reading
from kubeproof.node.preflight.judges import Judge
from tests.unit.node.example import cluster

NUMBERS = {"master": 11, "node1": 12, "node2": 13}
ROOMS = tuple(
    Room(path, "ext2/ext3", 20000, 15000, "/")
    for path in ("/var/lib/containerd", "/var/lib/docker", "/var/lib/etcd", "/var/lib/kubelet")
)
FEATURES = dict.fromkeys(("overlay", "veth", "bridge", "vxlan", "conntrack", "br_netfilter", "iptables"), "ok")


def facts(name: str, **changes: Any) -> HostFacts:
    """A host that is fit, with changes."""
    fit = HostFacts(
        system="debian 12",
        uid=0,
        addresses=("127.0.0.1", f"192.0.2.{NUMBERS[name]}"),
        machine_id=f"id-of-{name}",
        architecture="amd64",
        kernel="6.1.0-13-amd64",
        cgroups="cgroup2fs",
        memory_mib=4000,
        cores=2,
        init="systemd",
        controllers=("cpuset", "cpu", "io", "memory", "pids"),
        rooms=ROOMS,
        hostname=name,
        own_addresses=(f"192.0.2.{NUMBERS[name]}",),
        product_uuid=f"uuid-of-{name}",
        hosts_file=f"127.0.0.1 localhost\n127.0.1.1 {name}\n",
        resolvers=("198.51.100.53",),
    )
    return replace(fit, **changes)


def traces(name: str, **changes: Any) -> NetworkTraces:
    """What is in the network of a host that is fit, with changes."""
    fit = NetworkTraces(
        interfaces=("lo", "eth0"),
        tcp_ports=(22,),
        addresses=(LinkAddress("lo", "127.0.0.1", 65536), LinkAddress("eth0", f"192.0.2.{NUMBERS[name]}", 1500)),
        routes=(("192.0.2.0/24", "eth0"),),
        default_link="eth0",
    )
    return replace(fit, **changes)


def inspection(wanted: Cluster | None = None, /, **changes: Any) -> Inspection:
    """Three hosts that are fit. ``node1`` changes facts of that host; what is named as Inspection does replaces it."""
    wanted = wanted or cluster()
    hosts = {name: facts(name, **changes.pop(name, {})) for name in NUMBERS}
    made = Inspection(
        wanted,
        hosts,
        {name: traces(name) for name in NUMBERS},
        of_template(wanted.settings),
        clocks=dict.fromkeys(NUMBERS, Reading(0.01, 0.02)),
        features=dict.fromkeys(NUMBERS, FEATURES),
        sources=dict.fromkeys(NUMBERS, (Asked("http://192.0.2.1:5000/v2/", "images", "401"),)),
        heard=dict.fromkeys(NUMBERS, Heard(frozenset(NUMBERS))),
    )
    return replace(made, **changes)


def found(judge: Judge, looked_at: Inspection) -> list[tuple[str, str, str]]:
    """Name, host and severity of what one judge finds."""
    return [(item.name, item.host, item.severity) for item in judge(looked_at)]


def only(judge: Judge, looked_at: Inspection) -> Finding:
    """The one thing that a judge finds."""
    (finding,) = judge(looked_at)
    return finding
