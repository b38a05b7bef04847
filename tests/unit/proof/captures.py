"""Nodes of clusters with the real flannel and the real Canal, from captures of what their commands printed.

The captures (captured/*.txt, each says where it is from) are the text that people read. It is put into the JSON form of
iproute2 here, as far as checks read it, and goes through the project's own parsers.
"""

import json
import re
from collections.abc import Iterator
from functools import cache
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from kubeproof.config.cluster import Cluster, LoadedInventory, Node, SshAccess
from kubeproof.rules.api import ApiObjects, NodeObject
from kubeproof.rules.context import Context
from kubeproof.state.hostfiles import parse_subnet_env
from kubeproof.state.iproute import parse_addresses, parse_fdb, parse_links, parse_neighbours, parse_routes
from kubeproof.state.iptables import parse_iptables_save
from kubeproof.state.model import Namespace
from kubeproof.state.node import NodeState
from tests.unit.proof import good

CAPTURED = Path(__file__).with_name("captured")
NAMES = ("k8s-master", "k8s-node1", "k8s-node2")
NETWORKS = {
    "flannel-v0.14.0-vxlan": ("flannel", "vxlan"),
    "flannel-v0.20.2-vxlan": ("flannel", "vxlan"),
    "flannel-v0.20.2-host-gw": ("flannel", "host-gw"),
    "canal-v3.24.6": ("canal", "vxlan"),
}
UNDERLAY_MTU = 1500
"""Of host0 in all captures; `ip -br link`, which Canal's have, does not print it."""
_LINK = re.compile(
    r"(?P<name>[^\s@:]+)(?:@\S+)?:? .*?<(?P<flags>\S+)>(?: mtu (?P<mtu>\d+))?(?:.* master (?P<master>\S+))?"
)


def sections(capture: str) -> dict[str, dict[str, list[str]]]:
    """Lines by node and section."""
    found: dict[str, dict[str, list[str]]] = {}
    lines: list[str] = []
    for line in (CAPTURED / f"{capture}.txt").read_text().splitlines():
        if line.startswith("##### "):
            node = found.setdefault(line[6:], {})
        elif line.startswith("--- "):
            lines = node.setdefault(line[4:], [])
        else:
            lines.append(line)
    return found


@cache
def states(capture: str) -> dict[str, NodeState]:
    return {name: _state(name, parts) for name, parts in sections(capture).items()}


def _state(name: str, parts: dict[str, list[str]]) -> NodeState:
    routes = list(_routes(parts["route"]))
    network = Namespace(
        parse_links(json.dumps(list(_links(parts)))),
        parse_addresses(json.dumps(list(_addresses(parts)))),
        parse_routes(json.dumps(routes)),
        parse_neighbours(json.dumps(list(_neighbours(parts["neigh"])))),
    )
    env = "\n".join(parts.get("subnet.env", ()))
    return NodeState(
        name,
        network=network,
        fdb=parse_fdb(json.dumps(fdb(parts["fdb"]))),
        iptables=parse_iptables_save("\n".join(parts.get("iptables", ())) + "\n"),
        subnet_env=parse_subnet_env(env) if env else None,
    )


def _links(parts: dict[str, list[str]]) -> Iterator[dict[str, Any]]:
    detail = " ".join(parts["flannel"])
    for index, line in enumerate(parts["links"], start=1):
        found = _LINK.match(line)
        assert found, line
        name, flags = found["name"], found["flags"].split(",")
        item: dict[str, Any] = {"ifindex": index, "ifname": name, "flags": flags, "operstate": "UNKNOWN"}
        item["mtu"] = int(found["mtu"] or UNDERLAY_MTU)
        item |= {"master": found["master"]} if found["master"] else {}
        if name.startswith(("cni", "docker")):
            item["linkinfo"] = {"info_kind": "bridge"}
        elif name == "flannel.1":
            item |= _tunnel(detail)
        yield item


def _tunnel(detail: str) -> dict[str, Any]:
    """flannel.1 of `ip -d link show`."""
    words = re.search(r"vxlan id (\d+) local (\S+) dev (\S+) .*dstport (\d+) (nolearning)?", detail)
    mac, mtu = re.search(r"link/ether (\S+)", detail), re.search(r" mtu (\d+)", detail)
    assert words
    assert mac
    assert mtu
    data = {"id": int(words[1]), "local": words[2], "link": words[3], "port": int(words[4]), "learning": not words[5]}
    return {"address": mac[1], "mtu": int(mtu[1]), "linkinfo": {"info_kind": "vxlan", "info_data": data}}


def _addresses(parts: dict[str, list[str]]) -> Iterator[dict[str, Any]]:
    """Of `ip -o addr`; Canal's captures have the kernel's own routes to them instead."""
    own = (re.match(r"local ([\d.]+) dev (\S+) table local .*scope (host)", line) for line in parts["route"])
    printed = (re.match(r"(\S+) +inet (\S+) .*scope (\S+)", line) for line in parts.get("addr", ()))
    found = [(item[1], item[2], item[3]) for item in printed if item]
    if not found:
        found = [(item[2], f"{item[1]}/32", "host" if item[2] == "lo" else "global") for item in own if item]
    for device, interface, scope in found:
        address, _, length = interface.partition("/")
        info = {"family": "inet", "local": address, "prefixlen": int(length), "scope": scope}
        yield {"ifname": device, "addr_info": [info]}


def _routes(lines: list[str]) -> Iterator[dict[str, Any]]:
    keys = {"via": "gateway", "dev": "dev", "proto": "protocol", "scope": "scope", "src": "prefsrc", "table": "table"}
    for line in lines:
        words = line.split()
        item: dict[str, Any] = {"flags": [word for word in words if word in ("onlink", "linkdown")]}
        if words[0] in ("local", "unreachable", "blackhole"):
            item["type"] = words.pop(0)
        item["dst"] = words[0]
        item |= {keys[word]: words[place + 1] for place, word in enumerate(words) if word in keys}
        yield item


def _neighbours(lines: list[str]) -> Iterator[dict[str, Any]]:
    for line in lines:
        words = line.split()
        mac = {"lladdr": words[words.index("lladdr") + 1]} if "lladdr" in words else {}
        yield {"dst": words[0], "dev": words[2], "state": [words[-1]], **mac}


def fdb(lines: list[str]) -> list[dict[str, Any]]:
    """Of `bridge fdb show dev flannel.1`."""
    found = (line.split() for line in lines)
    return [
        {"mac": mac, "ifname": "flannel.1", "dst": to, "flags": [flag], "state": state}
        for mac, _, to, flag, state in found
    ]


def context(name: str, capture: str, **changed: NodeState) -> Context:
    """A node of a capture, with the API's nodes as the captures have them; ``changed`` by names with _ for -."""
    cni, backend = NETWORKS[capture]
    settings = good.settings(
        cni=cni,
        cni_backend=backend,
        pod_cidr=IPv4Network("10.244.0.0/16"),
        service_cidr=IPv4Network("10.1.0.0/16"),
        node_network=IPv4Network("192.168.200.0/24"),
    )
    nodes = tuple(
        Node(item, IPv4Address(f"192.168.200.{11 + number}"), "worker" if number else "control-plane")
        for number, item in enumerate(NAMES)
    )
    cluster = Cluster(settings, nodes)
    known = states(capture) | {item.replace("_", "-"): state for item, state in changed.items()}
    subnets = SUBNETS.get(capture, (0, 1, 2))
    objects = tuple(
        NodeObject(node.name, IPv4Network(f"10.244.{third}.0/24"), node.address, "True", "")
        for node, third in zip(nodes, subnets, strict=True)
    )
    loaded = LoadedInventory(Path("/inventory.py"), cluster, {item: SshAccess(item) for item in NAMES})
    return Context(cluster.node(name), loaded, known[name], known, ApiObjects(nodes=objects))


SUBNETS = {"flannel-v0.20.2-vxlan": (0, 2, 1), "flannel-v0.20.2-host-gw": (0, 2, 1)}
"""Third bytes of the nodes' podCIDRs, where they are not 0, 1, 2: kube-controller-manager gives them as nodes join."""
