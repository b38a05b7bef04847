"""A cluster of three nodes whose network is as it should be, written out by hand: what checks are tried on.

Nodes 10.99.0.11-13 with subnets 10.98.N.0/24; two pods with the Service default/web (NodePort 31000) on node-b, one on
node-c, none on the control plane node-a.
"""

import functools
from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path
from typing import Any

from kubeproof.config.cluster import Cluster, LoadedInventory, Node, SshAccess
from kubeproof.config.settings import Settings
from kubeproof.proof.snapshot import Snapshot
from kubeproof.rules.api import ApiObjects, Backend, NodeObject, Pod, Service, ServicePort
from kubeproof.rules.context import Context
from kubeproof.rules.host import SYSCTLS
from kubeproof.state.hostfiles import Identity, Kubelet, SubnetEnv
from kubeproof.state.iptables import Ruleset, parse_iptables_save
from kubeproof.state.model import Address, BridgePort, FdbEntry, Link, Namespace, Neighbour, Route, Vxlan
from kubeproof.state.node import CONTROL_PLANE, Container, NodeState
from kubeproof.state.policies import PoliciesInForce

PODS = IPv4Network("10.98.0.0/16")
NAMES = ("node-a", "node-b", "node-c")
UP = frozenset({"UP", "LOWER_UP"})
PERMANENT = frozenset({"PERMANENT"})
AGENT = {"app": "podnet", "k8s-app": "canal"}
"""The pods that are on every node stand for the pod network's agents."""
POD_INDICES = {"node-a": (), "node-b": (2, 3), "node-c": (2,)}


def settings(**changes: Any) -> Settings:
    """Settings with only those values that the proof reads; the others are None."""
    values: dict[str, Any] = dict.fromkeys(item.name for item in fields(Settings))
    values |= {
        "kubernetes_version": "1.20.2",
        "container_runtime": "docker",
        "pod_cidr": PODS,
        "pod_subnet_bits": 24,
        "service_cidr": IPv4Network("10.97.0.0/16"),
        "cluster_domain": "cluster.local",
        "cni_backend": "vxlan",
        "cni_interface": "node-address",
        "cni_cross_subnet": False,
        "cni_block_size": 26,
        "cni_nat_outgoing": True,
        "vxlan_vni": 1,
        "vxlan_port": 8472,
        "cni": "podnet",
        "network_policy": None,
        "node_network": IPv4Network("10.99.0.0/24"),
        "demo": True,
        "httpd_node_port": 31000,
        "kube_proxy_mode": "iptables",
        "node_port_range": "30000-32767",
    }
    return Settings(**(values | changes))


def cluster(**changes: Any) -> Cluster:
    nodes = tuple(
        Node(name, IPv4Address(f"10.99.0.{11 + number}"), "worker" if number else "control-plane")
        for number, name in enumerate(NAMES)
    )
    return Cluster(settings(**changes), nodes)


def subnet(name: str) -> IPv4Network:
    return IPv4Network(f"10.98.{NAMES.index(name)}.0/24")


def address(name: str) -> IPv4Address:
    return IPv4Address(f"10.99.0.{11 + NAMES.index(name)}")


def mac(name: str) -> str:
    return f"02:00:00:00:00:{10 + NAMES.index(name):02x}"


def pod_names(name: str) -> list[tuple[str, IPv4Address]]:
    return [(f"web-{name[-1]}{index}", subnet(name)[index]) for index in POD_INDICES[name]]


# State of a node ------------------------------------------------------------------------------------------------------


def state(name: str) -> NodeState:
    return NodeState(
        name=name,
        network=Namespace(_links(name), _addresses(name), _routes(name), _neighbours(name)),
        fdb=_fdb(name),
        iptables=rules(name),
        subnet_env=SubnetEnv(PODS, IPv4Interface((subnet(name)[1], 24)), 1450, masquerade=True),
        sysctls=dict.fromkeys(SYSCTLS, "1"),
        swaps=(),
        policies=PoliciesInForce(enforced=True, policies={"elsewhere/deny": "17"}),
        nft_tables=("ip filter", "inet podnet"),
        containers=_containers(name),
        cni_files=("10-podnet.conflist",),
        identity=Identity(name, f"{NAMES.index(name):032d}", f"uuid-{name}"),
        clock=1_800_000_000.0 + NAMES.index(name),
        kubelet=Kubelet("active", "ok"),
        control_plane={} if POD_INDICES[name] else dict.fromkeys(CONTROL_PLANE, "ok"),
    )


def _others(name: str) -> list[str]:
    return [other for other in NAMES if other != name]


def _links(name: str) -> tuple[Link, ...]:
    tunnel = Vxlan(1, 8472, address(name), "eth9", learning=False)
    links = [
        Link(1, "lo", "00:00:00:00:00:00", 65536, "UNKNOWN", UP),
        Link(2, "eth9", "02:99:00:00:00:01", 1500, "UP", UP, kind="veth", peer_index=77),
        Link(3, "docker0", "02:42:00:00:00:01", 1500, "DOWN", frozenset({"NO-CARRIER", "UP"}), kind="bridge"),
        Link(4, "flannel.1", mac(name), 1450, "UNKNOWN", UP, kind="vxlan", vxlan=tunnel),
    ]
    if POD_INDICES[name]:
        links.append(Link(5, "cni0", "02:98:00:00:00:01", 1450, "UP", UP, kind="bridge"))
    port = BridgePort("forwarding", hairpin=True)
    for index in POD_INDICES[name]:
        more = {"kind": "veth", "master": "cni0", "peer_index": 2, "bridge_port": port}
        links.append(Link(10 + index, f"veth{index}", "02:98:00:00:00:02", 1450, "UP", UP, **more))  # type: ignore[arg-type]
    return tuple(links)


def _addresses(name: str) -> tuple[Address, ...]:
    found = [
        Address("lo", IPv4Interface("127.0.0.1/8"), "host"),
        Address("eth9", IPv4Interface((address(name), 24)), "global"),
        Address("docker0", IPv4Interface("172.17.0.1/16"), "global"),
        Address("flannel.1", IPv4Interface((subnet(name)[0], 32)), "global"),
    ]
    if POD_INDICES[name]:
        found.append(Address("cni0", IPv4Interface((subnet(name)[1], 24)), "global"))
    return tuple(found)


def _routes(name: str) -> tuple[Route, ...]:
    found = [
        Route(IPv4Network("0.0.0.0/0"), "eth9", via=IPv4Address("10.99.0.1")),
        Route(IPv4Network("10.99.0.0/24"), "eth9", protocol="kernel", scope="link", source=address(name)),
        Route(IPv4Network((subnet(name)[0], 32)), "flannel.1", type="local", table="local"),
    ]
    for other in _others(name):
        onlink = frozenset({"onlink"})
        found.append(Route(subnet(other), "flannel.1", via=subnet(other)[0], flags=onlink, protocol="boot"))
    if POD_INDICES[name]:
        found.append(Route(subnet(name), "cni0", protocol="kernel", scope="link", source=subnet(name)[1]))
    return tuple(found)


def _neighbours(name: str) -> tuple[Neighbour, ...]:
    gateway = Neighbour(IPv4Address("10.99.0.1"), "eth9", "02:99:00:00:00:ff", frozenset({"REACHABLE"}))
    peers = (Neighbour(subnet(other)[0], "flannel.1", mac(other), PERMANENT) for other in _others(name))
    return (gateway, *peers)


def _fdb(name: str) -> tuple[FdbEntry, ...]:
    own = FdbEntry("33:33:00:00:00:01", "eth9", None, frozenset({"self"}), "permanent")
    peers = (
        FdbEntry(mac(other), "flannel.1", address(other), frozenset({"self"}), "permanent") for other in _others(name)
    )
    return (own, *peers)


def _containers(name: str) -> tuple[Container, ...]:
    found = [*_pod_containers("kube-system", f"proxy-{name[-1]}", "host", "net:[1]", 100, None)]
    found += _pod_containers("kube-system", f"kube-proxy-{name[-1]}", "host", "net:[1]", 101, None)
    for index, (pod, ip) in zip(POD_INDICES[name], pod_names(name), strict=True):
        inner = Namespace(
            links=(Link(2, "eth0", "02:98:00:00:01:01", 1450, "UP", UP, kind="veth", peer_index=10 + index),),
            addresses=(
                Address("lo", IPv4Interface("127.0.0.1/8"), "host"),
                Address("eth0", IPv4Interface((ip, 24)), "global"),
            ),
            routes=(
                Route(IPv4Network("0.0.0.0/0"), "eth0", via=subnet(name)[1]),
                Route(subnet(name), "eth0", scope="link", source=ip),
            ),
        )
        found += _pod_containers("default", pod, "none", f"net:[{4000 + index}]", 1000 + index, inner)
    return tuple(found)


def _pod_containers(
    namespace: str, pod: str, mode: str, netns: str, pid: int, network: Namespace | None
) -> tuple[Container, Container]:
    pause_id = f"pause-{pod}".ljust(64, "0")
    common: dict[str, Any] = {"pod_namespace": namespace, "pod_name": pod, "pod_uid": f"uid-{pod}", "netns": netns}
    pause = Container(pause_id, name="POD", is_sandbox=True, network_mode=mode, pid=pid, network=network, **common)
    shared = f"container:{pause_id}"
    return pause, Container(f"main-{pod}", name="main", is_sandbox=False, network_mode=shared, pid=pid + 500, **common)


RULES = """# Generated by iptables-save v1.8.9 (nf_tables) on Mon Jan  1 00:00:00 2024
*filter
:FORWARD DROP [0:0]
:DOCKER-USER - [0:0]
:KUBE-FORWARD - [0:0]
:KUBE-SERVICES - [0:0]
-A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD
-A FORWARD -j DOCKER-USER
-A FORWARD -i docker0 ! -o docker0 -j ACCEPT
-A FORWARD -s 10.98.0.0/16 -j ACCEPT
-A FORWARD -d 10.98.0.0/16 -j ACCEPT
-A DOCKER-USER -j RETURN
-A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
-A KUBE-SERVICES -d 10.97.0.77/32 -p tcp -m comment --comment "default/idle has no endpoints" -m tcp --dport 80 -j REJECT --reject-with icmp-port-unreachable
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:DOCKER - [0:0]
:KUBE-MARK-MASQ - [0:0]
:KUBE-NODEPORTS - [0:0]
:KUBE-POSTROUTING - [0:0]
:KUBE-SERVICES - [0:0]
:KUBE-SVC-API - [0:0]
:KUBE-SVC-WEB - [0:0]
:KUBE-SEP-API - [0:0]
:KUBE-SEP-1 - [0:0]
:KUBE-SEP-2 - [0:0]
:KUBE-SEP-3 - [0:0]
-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT -m comment --comment "kubernetes service portals" -j KUBE-SERVICES
-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING
-A POSTROUTING -s 172.17.0.0/16 ! -o docker0 -j MASQUERADE
-A POSTROUTING -s 10.98.0.0/16 -d 10.98.0.0/16 -j RETURN
-A POSTROUTING -s 10.98.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully
-A POSTROUTING ! -s 10.98.0.0/16 -d SUBNET -j RETURN
-A POSTROUTING ! -s 10.98.0.0/16 -d 10.98.0.0/16 -j MASQUERADE --random-fully
-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
-A KUBE-NODEPORTS -p tcp -m comment --comment "default/web" -m tcp --dport 31000 -j KUBE-MARK-MASQ
-A KUBE-NODEPORTS -p tcp -m comment --comment "default/web" -m tcp --dport 31000 -j KUBE-SVC-WEB
-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN
-A KUBE-POSTROUTING -j MARK --set-xmark 0x4000/0x0
-A KUBE-POSTROUTING -m comment --comment "kubernetes service traffic requiring SNAT" -j MASQUERADE --random-fully
-A KUBE-SERVICES ! -s 10.98.0.0/16 -d 10.97.0.1/32 -p tcp -m comment --comment "default/kubernetes:https cluster IP" -m tcp --dport 443 -j KUBE-MARK-MASQ
-A KUBE-SERVICES -d 10.97.0.1/32 -p tcp -m comment --comment "default/kubernetes:https cluster IP" -m tcp --dport 443 -j KUBE-SVC-API
-A KUBE-SERVICES ! -s 10.98.0.0/16 -d 10.97.0.50/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 80 -j KUBE-MARK-MASQ
-A KUBE-SERVICES -d 10.97.0.50/32 -p tcp -m comment --comment "default/web cluster IP" -m tcp --dport 80 -j KUBE-SVC-WEB
-A KUBE-SERVICES -m comment --comment "nodeports" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS
-A KUBE-SVC-API -m comment --comment "default/kubernetes:https" -j KUBE-SEP-API
-A KUBE-SEP-API -s 10.99.0.11/32 -m comment --comment "default/kubernetes:https" -j KUBE-MARK-MASQ
-A KUBE-SEP-API -p tcp -m comment --comment "default/kubernetes:https" -m tcp -j DNAT --to-destination 10.99.0.11:6443
-A KUBE-SVC-WEB -m comment --comment "default/web" -m statistic --mode random --probability 0.33333333349 -j KUBE-SEP-1
-A KUBE-SVC-WEB -m comment --comment "default/web" -m statistic --mode random --probability 0.50000000000 -j KUBE-SEP-2
-A KUBE-SVC-WEB -m comment --comment "default/web" -j KUBE-SEP-3
-A KUBE-SEP-1 -s 10.98.1.2/32 -m comment --comment "default/web" -j KUBE-MARK-MASQ
-A KUBE-SEP-1 -p tcp -m comment --comment "default/web" -m tcp -j DNAT --to-destination 10.98.1.2:8080
-A KUBE-SEP-2 -s 10.98.1.3/32 -m comment --comment "default/web" -j KUBE-MARK-MASQ
-A KUBE-SEP-2 -p tcp -m comment --comment "default/web" -m tcp -j DNAT --to-destination 10.98.1.3:8080
-A KUBE-SEP-3 -s 10.98.2.2/32 -m comment --comment "default/web" -j KUBE-MARK-MASQ
-A KUBE-SEP-3 -p tcp -m comment --comment "default/web" -m tcp -j DNAT --to-destination 10.98.2.2:8080
COMMIT
"""  # noqa: E501  # as iptables-save prints them


parsed = functools.cache(parse_iptables_save)
"""Some thousand states are made of a few texts."""


def rules(name: str, *changes: tuple[str, str]) -> Ruleset:
    """The rules of a node, after replacing each old text by the new one; the old one has to be there."""
    text = RULES.replace("SUBNET", str(subnet(name)))
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return parsed(text)


# The API --------------------------------------------------------------------------------------------------------------


def api() -> ApiObjects:
    return ApiObjects(
        nodes=tuple(NodeObject(name, subnet(name), address(name), "True", "") for name in NAMES),
        pods=tuple(_pods()),
        services=(
            _service("kubernetes", "10.97.0.1", ServicePort("https", "tcp", 443, None)),
            _service("web", "10.97.0.50", ServicePort("", "tcp", 80, 31000)),
            _service("idle", "10.97.0.77", ServicePort("", "tcp", 80, None)),
            replace(_service("headless", "10.97.0.78", ServicePort("", "tcp", 80, None)), cluster_ip=None),
        ),
        endpoints={
            ("default", "kubernetes", "https"): frozenset({Backend(address("node-a"), 6443)}),
            ("default", "web", ""): frozenset(Backend(ip, 8080) for name in NAMES for _, ip in pod_names(name)),
        },
        policies={"elsewhere/deny": "17"},
        kubelets=dict.fromkeys(NAMES, "ok 200"),
    )


def _service(name: str, ip: str, port: ServicePort) -> Service:
    return Service("default", name, IPv4Address(ip), (port,), local_traffic_only=False, session_affinity=False)


def _pods() -> list[Pod]:
    found = []
    for name in NAMES:
        found.append(_pod("kube-system", f"proxy-{name[-1]}", name, address(name), host_network=True, labels=AGENT))
        labels = {"k8s-app": "kube-proxy"}
        found.append(
            _pod("kube-system", f"kube-proxy-{name[-1]}", name, address(name), host_network=True, labels=labels)
        )
        found += [_pod("default", pod, name, ip) for pod, ip in pod_names(name)]
    return found


def _pod(namespace: str, name: str, node: str, ip: IPv4Address, *, host_network: bool = False, **more: Any) -> Pod:
    state: dict[str, Any] = {"phase": "Running", "ready": True, "terminating": False, **more}
    return Pod(namespace, name, f"uid-{name}", node, ip, host_network, **state)


# Everything together --------------------------------------------------------------------------------------------------


def context(name: str, *, here: NodeState | None = None, objects: ApiObjects | str | None = None) -> Context:
    states = {other: state(other) for other in NAMES}
    states[name] = here or states[name]
    return Context(
        node=cluster().node(name),
        loaded=loaded(),
        state=states[name],
        states=states,
        objects=api() if objects is None else objects,
    )


def loaded(**changes: Any) -> LoadedInventory:
    return LoadedInventory(Path("/inventory.py"), cluster(**changes), {name: SshAccess(name) for name in NAMES})


def snapshot(**changes: Any) -> Snapshot:
    """All nodes reached; ``changes`` are fields of Snapshot."""
    values: dict[str, Any] = {
        "loaded": loaded(),
        "states": {name: state(name) for name in NAMES},
        "unreachable": {},
        "objects": api(),
    }
    return Snapshot(**(values | changes))
