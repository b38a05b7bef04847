"""Whole ways through a cluster with the real Canal v3.24.6, from the captures in ../shared/golden.

Captured are devices, routes, neighbours, FDB entries and rules of the nodes. What is inside of the pods was not
captured: it is made here as Calico's plugin makes it, and so are the two IP sets, which are empty without an IP pool.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from kubeproof.state.collector import Output
from kubeproof.terminal.exits import REPOSITORY
from kubeproof.trace.collecting import Collected, Facts, Member
from kubeproof.trace.model import Direction, End, Place
from tests.unit.trace.lab import changed, predicted, steps, way, without_lines

GOLDEN = next(
    (each for each in (REPOSITORY.parent / "shared" / "golden", Path("/work/shared/golden")) if each.is_dir()), None
)
pytestmark = pytest.mark.skipif(GOLDEN is None, reason="there are no captures of Canal in ../shared/golden")
NODES = {"k8s-master": "192.168.200.11", "k8s-node1": "192.168.200.12", "k8s-node2": "192.168.200.13"}
NODE1, NODE2 = "k8s-node1", "k8s-node2"
HTTPD, KUARD, FAR = "default/p10-244-1-2", "default/p10-244-1-4", "default/p10-244-2-2"
SERVICE, NODE_PORT = "10.1.31.64", 33000
GATEWAY, GATEWAY_MAC = "169.254.1.1", "ee:ee:ee:ee:ee:ee"
RULES = [{"priority": 0, "src": "all", "table": "local"}, {"priority": 32766, "src": "all", "table": "main"}]
UP = ["UP", "LOWER_UP"]
VETH = {"linkinfo": {"info_kind": "veth"}}


def sections(node: str) -> dict[str, list[str]]:
    """Lines of what each command printed, by its words."""
    assert GOLDEN is not None
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in (GOLDEN / f"canal-v3.24.6-{node}.txt").read_text().splitlines():
        if line.startswith("$ "):
            found[line[2:]] = lines = []
        else:
            lines.append(line)
    return found


def route(line: str) -> dict[str, Any]:
    words = line.split()
    kind = words.pop(0) if words[0] in ("local", "broadcast") else "unicast"
    named = dict(zip(words[1::2], words[2::2], strict=False))
    names = {"via": "gateway", "src": "prefsrc", "scope": "scope", "dev": "dev"}
    return {"type": kind, "dst": words[0], "table": named.get("table", "main"), "protocol": "boot"} | {
        names[key]: value for key, value in named.items() if key in names
    }


def addresses(routes: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Each has a local route of its own."""
    own = [each for each in routes if each["type"] == "local" and "/" not in each["dst"]]
    return [
        {
            "ifname": each["dev"],
            "addr_info": [{"family": "inet", "local": each["dst"], "prefixlen": 32, "scope": "global"}],
        }
        for each in own
    ]


def links(brief: list[str], local: str) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(brief, start=1):
        name, state, mac, flags = line.split()
        found = {"ifindex": number, "ifname": name.partition("@")[0], "operstate": state, "address": mac}
        found |= {"flags": flags.strip("<>").split(","), "mtu": 1500 if name.startswith(("host0", "docker0")) else 1450}
        if name.startswith("cali"):
            found |= {**VETH, "link_index": 100 + number, "link_netnsid": 0}
        if name == "flannel.1":
            data = {"id": 1, "local": local, "port": 8472, "learning": False}
            found |= {"linkinfo": {"info_kind": "vxlan", "info_data": data}}
        yield found


def pod(address: str, mac: str, peer: int) -> dict[str, Any]:
    """One end of a veth, a route to a gateway that nobody has, and a server."""
    routes = [
        {"type": "unicast", "dst": "default", "gateway": GATEWAY, "dev": "eth0", "table": "main"},
        {"type": "unicast", "dst": GATEWAY, "dev": "eth0", "table": "main", "scope": "link"},
        {"type": "local", "dst": address, "dev": "eth0", "table": "local"},
    ]
    eth0 = {"ifindex": 100 + peer, "link_index": peer, "link_netnsid": 0, "ifname": "eth0", "flags": UP, "mtu": 1450}
    return {
        "id": peer,
        "links": [{**eth0, **VETH, "operstate": "UP", "address": mac}],
        "addresses": addresses(routes),
        "routes": routes,
        "neighbours": [{"dst": GATEWAY, "dev": "eth0", "lladdr": GATEWAY_MAC, "state": ["REACHABLE"]}],
        "rules": RULES,
        "kernel": [],
        "sockets": [f"tcp LISTEN 0 128 *:{port} *:*" for port in (80, 8080)],
        "nft": {"nftables": []},
    }


def node(name: str) -> tuple[dict[str, Output], list[dict[str, Any]]]:
    """What the commands of a collected state would have printed there, and the pods of the API."""
    given = sections(name)
    devices = list(links(given["ip -d -br link"], NODES[name]))
    routes = [route(line) for line in given["ip route show table all"] if re.match(r"\D*[\d.]+\b(?!:)", line)]
    routes = [each for each in routes if ":" not in each["dst"] and "linkdown" not in each]
    neighbours: list[dict[str, Any]] = [
        {"dst": words[0], "dev": words[2], "lladdr": words[4], "state": [words[5]]}
        for words in map(str.split, given["ip neigh"])
        if len(words) == 6
    ]
    fdb = [
        {"mac": words[0], "ifname": "flannel.1", "dst": words[2], "flags": ["self"], "state": "permanent"}
        for words in map(str.split, given["bridge fdb show dev flannel.1"])
    ]
    macs = {each["dst"]: each["lladdr"] for each in neighbours}
    indices = {each["ifname"]: each["ifindex"] for each in devices}
    own = [each for each in routes if each["dev"].startswith("cali")]
    inside = [pod(each["dst"], macs[each["dst"]], indices[each["dev"]]) for each in own]
    settings = ["ipv4/ip_forward:1", *(f"ipv4/conf/{each['ifname']}/forwarding:1" for each in devices)]
    texts = {
        "links": json.dumps(devices),
        "addresses": json.dumps(addresses(routes)),
        "routes": json.dumps(routes),
        "neighbours": json.dumps(neighbours),
        "rules": json.dumps(RULES),
        "fdb": json.dumps(fdb),
        "iptables": "\n".join(given["iptables-save"]) + "\n",
        "other_iptables": "",
        "nft": "",
        "kernel": "\n".join(f"/proc/sys/net/{each}" for each in settings),
        "sockets": "udp UNCONN 0 0 0.0.0.0:8472 0.0.0.0:*\n",
        "ipsets": "create cali40masq-ipam-pools hash:net\ncreate cali40all-ipam-pools hash:net\n",
        "ipvs": "",
        "namespaces": "\n".join(map(json.dumps, inside)),
    }
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": f"p{each['dst'].replace('.', '-')}", "namespace": "default", "labels": {}},
            "spec": {"nodeName": name},
            "status": {"phase": "Running", "podIP": each["dst"]},
        }
        for each in own
    ]
    return {key: Output(0, text, "") for key, text in texts.items()}, pods


@cache
def canal() -> Collected:
    members = tuple(Member(name, IPv4Address(address)) for name, address in NODES.items())
    facts = Facts(
        members, IPv4Network("10.244.0.0/16"), IPv4Network("10.1.0.0/16"), "canal", IPv4Address("192.168.200.1")
    )
    found = {name: node(name) for name in NODES}
    items: list[dict[str, Any]] = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name, "labels": {}},
            "spec": {},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        }
        for name, address in NODES.items()
    ]
    items.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default", "labels": {}}, "spec": {}})
    service = {"clusterIP": SERVICE, "selector": {"a": "b"}, "ports": [{"name": "http", "port": 8080}]}
    metadata = {"name": "httpd-svc", "namespace": "default", "labels": {}}
    items.append({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": service, "status": {}})
    items += [each for _, pods in found.values() for each in pods]
    outputs = {name: outputs for name, (outputs, _) in found.items()}
    return Collected(facts, outputs, objects={"apiVersion": "v1", "kind": "List", "items": items})


def test_a_pod_on_another_node_is_reached_by_routes_and_the_tunnel_without_a_bridge() -> None:
    walk = way(canal(), KUARD, FAR, "80")
    assert walk.succeeds, walk.outcome
    there = [hop for hop in walk.hops if hop.direction is Direction.FORWARD]
    assert Place.BRIDGE not in {hop.place for hop in there}
    assert next(line for line in steps(walk) if " veth " in line) == "node1 veth cali230c0f57317"
    assert {"node1 encapsulation flannel.1", "node2 decapsulation flannel.1"} <= set(steps(walk))


@pytest.mark.parametrize("source", [KUARD, HTTPD, NODE1, "outside"])
def test_a_service_leads_to_each_endpoint_through_calicos_chains(source: str) -> None:
    to = f"{NODE1}:{NODE_PORT}" if source == "outside" else SERVICE
    prediction = predicted(canal(), source, to, "" if source == "outside" else "8080")
    assert prediction.succeeds, [walk.outcome for walk in prediction.walks]
    assert len(prediction.walks) == 3


@pytest.mark.parametrize(
    ("node", "rule", "words"),
    [
        (NODE1, ("-A cali-from-wl-dispatch", "cali230c0f57317"), "Unknown interface"),
        (NODE2, ("-A cali-to-wl-dispatch", "calia3613ed7890"), "Unknown interface"),
        (NODE1, ("-A cali-pro-kns.default", "--set-xmark"), "Drop if no profiles matched"),
        (NODE2, ("-A cali-pri-kns.default", "--set-xmark"), "Drop if no profiles matched"),
    ],
)
def test_calicos_own_drops_are_told_as_calicos(node: str, rule: tuple[str, str], words: str) -> None:
    walk = way(changed(canal(), node, "iptables", without_lines(*rule)), KUARD, FAR, "80")
    assert (walk.there.end, walk.hops[-1].place, walk.hops[-1].node) == (End.DROPPED, Place.FORWARD, node)
    assert words in walk.there.decided_by
    assert walk.there.owner == "Calico"


def test_sets_that_were_not_read_leave_it_undecided() -> None:
    walk = way(changed(canal(), NODE1, "ipsets", lambda _text: ""), KUARD, FAR, "80")
    assert (walk.there.end, walk.hops[-1].place) == (End.UNDECIDED, Place.POSTROUTING)
    assert "cali40masq-ipam-pools" in walk.there.decided_by
