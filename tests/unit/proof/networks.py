"""The good cluster of good.py with other pod networks, written out by hand from what their projects document.

flannel keeps its rules in FLANNEL-FWD and FLANNEL-POSTRTG (v0.20.2: pkg/network/iptables.go). Canal has a link caliXXX
for each pod with a route of its own, and felix's chains at the top of FORWARD (Calico 3.24).
"""

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from kubeproof.rules.api import ApiObjects
from kubeproof.rules.context import Context
from kubeproof.state.iptables import Ruleset
from kubeproof.state.model import Address, Link, Namespace, Neighbour, Route
from kubeproof.state.node import NodeState
from tests.unit.proof import good

FORWARD = "-A FORWARD -s 10.98.0.0/16 -j ACCEPT\n-A FORWARD -d 10.98.0.0/16 -j ACCEPT\n"
FLANNEL_FORWARD = """-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s 10.98.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.98.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
"""
POSTROUTING = """-A POSTROUTING -s 10.98.0.0/16 -d 10.98.0.0/16 -j RETURN
-A POSTROUTING -s 10.98.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully
-A POSTROUTING ! -s 10.98.0.0/16 -d SUBNET -j RETURN
-A POSTROUTING ! -s 10.98.0.0/16 -d 10.98.0.0/16 -j MASQUERADE --random-fully
"""
FLANNEL_POSTROUTING = """-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s SUBNET -d 10.98.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.98.0.0/16 -d SUBNET -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s 10.98.0.0/16 -d SUBNET -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.98.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s 10.98.0.0/16 -d 10.98.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
"""
FELIX_FORWARD = '-A FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD\n'
KUBE_FORWARD = '-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD\n'
CALICO_GATEWAY = IPv4Address("169.254.1.1")


def settings(cni: str, backend: str, **more: Any) -> dict[str, Any]:
    return {"cni": cni, "cni_backend": backend, "network_policy": None, **more}


def state(name: str, cni: str, backend: str) -> NodeState:
    """A node of the good cluster as a network has it."""
    here = replace(good.state(name), policies=None, nft_tables=(), iptables=rules(name, cni))
    here = replace(here, cni_files=(f"10-{cni}.conflist",))
    if cni == "canal":
        return _canal(here)
    return _host_gw(here) if backend == "host-gw" else here


def context(name: str, cni: str, backend: str, *, here: NodeState | None = None, **more: Any) -> Context:
    states = {other: state(other, cni, backend) for other in good.NAMES}
    states[name] = here or states[name]
    loaded = good.loaded(**settings(cni, backend, **more.pop("settings", {})))
    objects: ApiObjects | str = more.pop("objects", None) or api(cni)
    return Context(loaded.cluster.node(name), loaded, states[name], states, objects, **more)


def api(cni: str) -> ApiObjects:
    """The API's objects, with agents that are labelled as a network does it."""
    objects = good.api()
    labels = {"app": "flannel"} if cni == "flannel" else good.AGENT
    agents = (replace(pod, labels=labels) if pod.labels == good.AGENT else pod for pod in objects.pods)
    return replace(objects, pods=tuple(agents))


def rules(name: str, cni: str, *changes: tuple[str, str]) -> Ruleset:
    """The rules of a node; each old text is replaced by the new one, and has to be there."""
    text = good.RULES
    replaced = [(FORWARD, FLANNEL_FORWARD), (POSTROUTING, FLANNEL_POSTROUTING)]
    replaced += [(":KUBE-FORWARD -", ":FLANNEL-FWD - [0:0]\n:KUBE-FORWARD -")]
    replaced += [(":KUBE-POSTROUTING -", ":FLANNEL-POSTRTG - [0:0]\n:KUBE-POSTROUTING -")]
    if cni == "canal":
        chains, felix = _felix(name)
        replaced += [
            (":KUBE-FORWARD -", chains + ":KUBE-FORWARD -"),
            (KUBE_FORWARD, FELIX_FORWARD + KUBE_FORWARD),
            ("-A DOCKER-USER -j RETURN\n", f"-A DOCKER-USER -j RETURN\n{felix}"),
        ]
    for old, new in (*replaced, *changes):
        assert old in text, old
        text = text.replace(old, new)
    return good.parsed(text.replace("SUBNET", str(good.subnet(name))))


def link_name(name: str, index: int) -> str:
    """A pod's link on the node: cali and eleven digits."""
    return f"cali{name[-1]}{index:010x}"


def _felix(name: str) -> tuple[str, str]:
    """felix's chains in the filter table, and their rules."""
    links = [link_name(name, index) for index in good.POD_INDICES[name]]
    chains = ["cali-FORWARD", "cali-INPUT", "cali-OUTPUT", "cali-from-wl-dispatch", "cali-to-wl-dispatch"]
    chains += [f"cali-{way}-{link}" for link in links for way in ("fw", "tw")]
    lines = [
        '-A INPUT -m comment --comment "cali:Cz_u1IQiXIMmKD4c" -j cali-INPUT',
        '-A OUTPUT -m comment --comment "cali:tVnHkvAo15HuiPy0" -j cali-OUTPUT',
        "-A cali-FORWARD -i cali+ -j cali-from-wl-dispatch",
        "-A cali-FORWARD -o cali+ -j cali-to-wl-dispatch",
        "-A cali-FORWARD -m mark --mark 0x10000/0x10000 -j ACCEPT",
    ]
    for link in links:
        lines += [
            f"-A cali-from-wl-dispatch -i {link} -g cali-fw-{link}",
            f"-A cali-to-wl-dispatch -o {link} -g cali-tw-{link}",
            f"-A cali-fw-{link} -m conntrack --ctstate INVALID -j DROP",
            f"-A cali-tw-{link} -m set --match-set cali40s:abc src -j ACCEPT",
        ]
    declared = [":INPUT ACCEPT [0:0]", ":OUTPUT ACCEPT [0:0]", *(f":{chain} - [0:0]" for chain in chains)]
    return "".join(f"{line}\n" for line in declared), "".join(f"{line}\n" for line in lines)


def _host_gw(here: NodeState) -> NodeState:
    """No flannel.1; routes by the other nodes' addresses; the underlay's whole MTU."""
    network = here.network
    links = tuple(
        replace(link, mtu=1500) if link.name == "cni0" else link for link in network.links if link.name != "flannel.1"
    )
    others = [other for other in good.NAMES if other != here.name]
    routes = [route for route in network.routes if route.device != "flannel.1"]
    routes += [Route(good.subnet(other), "eth9", via=good.address(other)) for other in others]
    changed = Namespace(
        links,
        tuple(address for address in network.addresses if address.device != "flannel.1"),
        tuple(routes),
        tuple(entry for entry in network.neighbours if entry.device != "flannel.1"),
    )
    assert here.subnet_env
    subnet_env = replace(here.subnet_env, mtu=1500)
    fdb = tuple(entry for entry in here.fdb if entry.device != "flannel.1")
    return replace(here, network=changed, subnet_env=subnet_env, fdb=fdb)


def _canal(here: NodeState) -> NodeState:
    """Each pod with a link and a route of its own, and the gateway 169.254.1.1."""
    network = here.network
    links = [link for link in network.links if link.name != "cni0" and not link.name.startswith("veth")]
    routes = [route for route in network.routes if route.device != "cni0"]
    for index, (_, ip) in zip(good.POD_INDICES[here.name], good.pod_names(here.name), strict=True):
        name = link_name(here.name, index)
        links.append(Link(10 + index, name, "ee:ee:ee:ee:ee:ee", 1450, "UP", good.UP, kind="veth", peer_index=2))
        routes.append(Route(IPv4Network((ip, 32)), name, scope="link"))
    addresses = tuple(address for address in network.addresses if address.device != "cni0")
    changed = Namespace(tuple(links), addresses, tuple(routes), network.neighbours)
    containers = tuple(
        replace(item, network=_inside(item.network)) if item.network else item for item in here.containers
    )
    unreadable = {"subnet_env": "No such file"}
    return replace(here, network=changed, containers=containers, subnet_env=None, unreadable=unreadable)


def _inside(network: Namespace) -> Namespace:
    (own,) = (address.ip for address in network.addresses if address.device == "eth0")
    return replace(
        network,
        addresses=(Address("eth0", IPv4Interface((own, 32)), "global"),),
        routes=(
            Route(IPv4Network("0.0.0.0/0"), "eth0", via=CALICO_GATEWAY),
            Route(IPv4Network((CALICO_GATEWAY, 32)), "eth0", scope="link"),
        ),
        neighbours=(Neighbour(CALICO_GATEWAY, "eth0", "ee:ee:ee:ee:ee:ee", frozenset({"REACHABLE"})),),
    )
