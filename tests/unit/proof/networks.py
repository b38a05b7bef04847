"""The good cluster of good.py with other pod networks, written out by hand from what their projects document.

flannel keeps its rules in FLANNEL-FWD and FLANNEL-POSTRTG (v0.20.2: pkg/network/iptables.go). Canal has a link caliXXX
for each pod with a route of its own, and felix's chains at the top of FORWARD (Calico 3.24). Calico alone has the same,
and instead of podCIDRs blocks, whose routes BIRD or felix sets (felix, dataplane/linux/vxlan_mgr.go; docs: IP in IP).
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
FELIX_ACCEPTS = (
    '-A FORWARD -m comment --comment "cali:S93hcgKJrXEqnTfs" -m comment --comment "Policy explicitly accepted packet." '
    "-m mark --mark 0x10000/0x10000 -j ACCEPT\n"
)
FELIX_MASQUERADES = (
    "-A cali-nat-outgoing -m set --match-set cali40masq-ipam-pools src -m set ! --match-set cali40all-ipam-pools dst "
    "-j MASQUERADE --random-fully\n"
)
FELIX_POSTROUTING = (
    '-A POSTROUTING -m comment --comment "cali:O3lYWMrLQYEMJtB5" -j cali-POSTROUTING\n'
    "-A cali-POSTROUTING -j cali-nat-outgoing\n"
    "-A cali-POSTROUTING -o tunl0 -m addrtype ! --src-type LOCAL --limit-iface-out -m addrtype --src-type LOCAL "
    f"-j MASQUERADE\n{FELIX_MASQUERADES}"
)
CALICO_GATEWAY = IPv4Address("169.254.1.1")


def settings(cni: str, backend: str, **more: Any) -> dict[str, Any]:
    return {"cni": cni, "cni_backend": backend, "network_policy": None, **more}


def state(name: str, cni: str, backend: str) -> NodeState:
    """A node of the good cluster as a network has it."""
    here = replace(good.state(name), policies=None, nft_tables=(), iptables=rules(name, cni))
    here = replace(here, cni_files=(f"10-{cni}.conflist",))
    if cni == "canal":
        return _canal(here)
    if cni == "calico":
        return _calico(_canal(here), backend)
    return {"host-gw": _host_gw, "udp": _udp}.get(backend, lambda same: same)(here)


def context(name: str, cni: str, backend: str, *, here: NodeState | None = None, **more: Any) -> Context:
    states = {other: state(other, cni, backend) for other in good.NAMES}
    states[name] = here or states[name]
    loaded = good.loaded(**settings(cni, backend, **more.pop("settings", {})))
    objects: ApiObjects | str = more.pop("objects", None) or api(cni)
    return Context(loaded.cluster.node(name), loaded, states[name], states, objects, **more)


def api(cni: str) -> ApiObjects:
    """The API's objects, with agents that are labelled as a network does it."""
    objects = good.api()
    labels = {"flannel": {"app": "flannel"}, "calico": {"k8s-app": "calico-node"}}.get(cni, good.AGENT)
    agents = tuple(replace(pod, labels=labels) if pod.labels == good.AGENT else pod for pod in objects.pods)
    if cni != "calico":
        return replace(objects, pods=agents)
    # Their podCIDRs are nothing to Calico.
    told = "projectcalico.org/IPv4VXLANTunnelAddr"
    nodes = tuple(
        replace(node, pod_cidr=IPv4Network(f"10.98.{200 + place}.0/24"), annotations={told: str(tunnel(node.name))})
        for place, node in enumerate(objects.nodes)
    )
    return replace(objects, pods=agents, nodes=nodes, blocks={name: blocks(name) for name in good.NAMES})


def blocks(name: str) -> tuple[IPv4Network, ...]:
    """Those of a node: node-b has needed two."""
    return tuple(good.subnet(name).subnets(new_prefix=26))[: 2 if name == "node-b" else 1]


def tunnel(name: str) -> IPv4Address:
    """The address of a node's tunnel in Calico: any of its blocks."""
    return blocks(name)[0][1]


def rules(name: str, cni: str, *changes: tuple[str, str]) -> Ruleset:
    """The rules of a node; each old text is replaced by the new one, and has to be there."""
    text = good.RULES
    replaced = [(FORWARD, FLANNEL_FORWARD), (POSTROUTING, FLANNEL_POSTROUTING)]
    replaced += [(":KUBE-FORWARD -", ":FLANNEL-FWD - [0:0]\n:KUBE-FORWARD -")]
    replaced += [(":KUBE-POSTROUTING -", ":FLANNEL-POSTRTG - [0:0]\n:KUBE-POSTROUTING -")]
    if cni == "calico":
        chains = ":cali-POSTROUTING - [0:0]\n:cali-nat-outgoing - [0:0]\n:KUBE-POSTROUTING -"
        replaced = [(FORWARD, FELIX_ACCEPTS), (POSTROUTING, FELIX_POSTROUTING), (":KUBE-POSTROUTING -", chains)]
    if cni in ("canal", "calico"):
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


def _udp(here: NodeState) -> NodeState:
    """flannel0 instead of flannel.1, and one route by it for all nodes."""
    routed = _host_gw(here)
    (flannel,) = (link for link in here.network.links if link.name == "flannel.1")
    device = replace(flannel, name="flannel0", mac="", mtu=1472, kind="tun", vxlan=None)
    links = [replace(link, mtu=1472) if link.name == "cni0" else link for link in routed.network.links]
    routes = [
        route for route in routed.network.routes if route.via is None or not route.destination.subnet_of(good.PODS)
    ]
    address = Address("flannel0", IPv4Interface((good.subnet(here.name)[0], 32)), "global")
    changed = replace(
        routed.network,
        links=(*links, device),
        routes=(*routes, Route(good.PODS, "flannel0")),
        addresses=(*routed.network.addresses, address),
    )
    assert routed.subnet_env
    return replace(routed, network=changed, subnet_env=replace(routed.subnet_env, mtu=1472))


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


def _calico(here: NodeState, backend: str) -> NodeState:
    """Canal's pods; the tunnel under another name or none, routes to blocks, and the own ones nowhere."""
    device = {"vxlan": "vxlan.calico", "ipip": "tunl0", "none": ""}[backend]
    network = here.network
    links = [link for link in network.links if link.name != "flannel.1"]
    routes = [route for route in network.routes if route.device != "flannel.1"]
    addresses = [item for item in network.addresses if item.device != "flannel.1"]
    (flannel,) = (link for link in network.links if link.name == "flannel.1")
    if device:
        made = {"mtu": 1450} if backend == "vxlan" else {"mtu": 1480, "kind": "ipip", "vxlan": None}
        links.append(replace(flannel, name=device, **made))
        addresses.append(Address(device, IPv4Interface((tunnel(here.name), 32)), "global"))
    routes += [Route(block, None, type="blackhole", protocol="bird") for block in blocks(here.name)]
    others = [other for other in good.NAMES if other != here.name]
    for other in others:
        via = tunnel(other) if backend == "vxlan" else good.address(other)
        flags = frozenset({"onlink"} if device else ())
        routes += [Route(block, device or "eth9", via=via, flags=flags, protocol="bird") for block in blocks(other)]
    neighbours = [entry for entry in network.neighbours if entry.device != "flannel.1"]
    if backend == "vxlan":
        neighbours += [Neighbour(tunnel(other), device, good.mac(other), good.PERMANENT) for other in others]
    fdb = tuple(replace(entry, device=device) if entry.device == "flannel.1" else entry for entry in here.fdb)
    changed = Namespace(tuple(links), tuple(addresses), tuple(routes), tuple(neighbours))
    return replace(here, network=changed, fdb=fdb if backend == "vxlan" else ())


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
