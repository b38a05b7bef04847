"""Every check holds on a good state, and fails on each mutation that matters, with something to go by."""

from collections.abc import Callable
from dataclasses import fields, replace
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

import pytest

from kubeproof.networks import flannel, podnet
from kubeproof.proof.checks import by_name, held_to
from kubeproof.rules.api import ApiObjects, Backend
from kubeproof.rules.context import Context
from kubeproof.rules.result import Status
from kubeproof.state.hostfiles import Kubelet, Paused, SubnetEnv
from kubeproof.state.iptables import parse_iptables_save
from kubeproof.state.model import Address, FdbEntry, Link, Namespace, Neighbour, Route
from kubeproof.state.node import CONTROL_PLANE, Container, NodeState
from tests.unit.proof import good

CHECKS = held_to(podnet.NETWORK.backends[0])
Change = Callable[[NodeState], NodeState]
ApiChange = Callable[[ApiObjects], ApiObjects]


def network(**changes: Any) -> Change:
    return lambda state: replace(state, network=replace(state.network, **changes))


def link(device: str, **changes: Any) -> Change:
    """The same state with one link changed."""

    def change(state: NodeState) -> NodeState:
        assert state.network.link(device), device
        links = tuple(replace(item, **changes) if item.name == device else item for item in state.network.links)
        return replace(state, network=replace(state.network, links=links))

    return change


def tunnel(**changes: Any) -> Change:
    def change(state: NodeState) -> NodeState:
        device = state.network.link("flannel.1")
        assert device
        assert device.vxlan
        return link("flannel.1", vxlan=replace(device.vxlan, **changes))(state)

    return change


def without_link(name: str) -> Change:
    return lambda state: replace(
        state, network=replace(state.network, links=tuple(item for item in state.network.links if item.name != name))
    )


def more(part: str, *items: Any) -> Change:
    """The same state with more addresses, routes, neighbours or links."""
    return lambda state: replace(
        state, network=replace(state.network, **{part: (*getattr(state.network, part), *items)})
    )


def less(part: str, drop: Callable[[Any], bool]) -> Change:
    return lambda state: replace(
        state, network=replace(state.network, **{part: tuple(i for i in getattr(state.network, part) if not drop(i))})
    )


def fdb(*items: FdbEntry, drop: Callable[[FdbEntry], bool] = lambda _: False) -> Change:
    return lambda state: replace(state, fdb=(*(entry for entry in state.fdb if not drop(entry)), *items))


def rules(*changes: tuple[str, str]) -> Change:
    return lambda state: replace(state, iptables=good.rules(state.name, *changes))


def in_force(**changes: Any) -> Change:
    def change(state: NodeState) -> NodeState:
        assert state.policies
        return replace(state, policies=replace(state.policies, **changes))

    return change


def subnet_env(**changes: Any) -> Change:
    def change(state: NodeState) -> NodeState:
        assert state.subnet_env
        return replace(state, subnet_env=replace(state.subnet_env, **changes))

    return change


def container(name: str, sandbox: bool, **changes: Any) -> Change:
    """The same state with the pause, or else the container, of one pod changed."""

    def change(state: NodeState) -> NodeState:
        def changed(item: Container) -> Container:
            return replace(item, **changes) if (item.pod_name, item.is_sandbox) == (name, sandbox) else item

        return replace(state, containers=tuple(map(changed, state.containers)))

    return change


def identity(**changes: str) -> Change:
    def change(state: NodeState) -> NodeState:
        assert state.identity
        return replace(state, identity=replace(state.identity, **changes))

    return change


def in_pod(name: str, **changes: Any) -> Change:
    """The same state with the inside of one pod changed."""

    def change(state: NodeState) -> NodeState:
        pause = state.sandbox(f"default/{name}")
        assert pause
        assert pause.network
        return container(name, True, network=replace(pause.network, **changes))(state)

    return change


def without_containers(drop: Callable[[Container], bool]) -> Change:
    return lambda state: replace(state, containers=tuple(item for item in state.containers if not drop(item)))


def node_object(name: str, **changes: Any) -> ApiChange:
    return lambda api: replace(
        api, nodes=tuple(replace(node, **changes) if node.name == name else node for node in api.nodes)
    )


def pod(name: str, **changes: Any) -> ApiChange:
    return lambda api: replace(
        api, pods=tuple(replace(item, **changes) if item.name == name else item for item in api.pods)
    )


def service(name: str, **changes: Any) -> ApiChange:
    return lambda api: replace(
        api, services=tuple(replace(item, **changes) if item.name == name else item for item in api.services)
    )


def endpoints(*backends: str) -> ApiChange:
    parsed = frozenset(Backend(IPv4Address(ip), int(port)) for ip, port in (text.split(":") for text in backends))
    return lambda api: replace(api, endpoints={**api.endpoints, ("default", "web", ""): parsed})


def without_node(name: str) -> ApiChange:
    return lambda api: replace(api, nodes=tuple(node for node in api.nodes if node.name != name))


SUBNET_B, SUBNET_C = good.subnet("node-b"), good.subnet("node-c")
UNREACHABLE_POD = IPv4Network("10.98.9.0/24")
STALE_ROUTE = Route(UNREACHABLE_POD, "flannel.1", via=UNREACHABLE_POD[0], flags=frozenset({"onlink"}))
PERMANENT = frozenset({"PERMANENT"})
SELF = frozenset({"self"})

WEB_NODE_PORT = '-A KUBE-NODEPORTS -p tcp -m comment --comment "default/web" -m tcp --dport 31000 -j '
TO_WEB = (
    "-A KUBE-SERVICES -d 10.97.0.50/32 -p tcp "
    '-m comment --comment "default/web cluster IP" -m tcp --dport 80 -j KUBE-SVC-WEB\n'
)
POD_TO_POD = "-A POSTROUTING -s 10.98.0.0/16 -d 10.98.0.0/16 -j RETURN\n"
POD_OUT = "-A POSTROUTING -s 10.98.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE --random-fully\n"
KUBE_FIRST = '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING\n'
FORWARD_SOURCE = "-A FORWARD -s 10.98.0.0/16 -j ACCEPT\n"
AFTER_ACCEPT = "-A FORWARD -d 10.98.0.0/16 -j ACCEPT\n-A FORWARD -j KUBE-ROUTER-FORWARD\n"
LAST_ENDPOINT = '-A KUBE-SVC-WEB -m comment --comment "default/web" -j KUBE-SEP-3\n'

ON_NODE_B: list[tuple[str, Change, str]] = [
    # check, what is changed on node-b, what `found` has to say
    ("subnet-env", subnet_env(mtu=1500), "FLANNEL_MTU=1500"),
    ("subnet-env", subnet_env(masquerade=False), "FLANNEL_IPMASQ=false"),
    ("subnet-env", subnet_env(network=IPv4Network("10.0.0.0/8")), "FLANNEL_NETWORK=10.0.0.0/8"),
    ("subnet-env", subnet_env(subnet=IPv4Interface("10.98.1.2/24")), "FLANNEL_SUBNET=10.98.1.2/24"),
    ("subnet-env", lambda s: replace(s, subnet_env=None, unreadable={"subnet_env": "No such file"}), "No such file"),
    ("subnet-of-node-object", subnet_env(subnet=IPv4Interface("10.98.7.1/24")), "10.98.7.0/24"),
    ("subnet-of-node-object", subnet_env(subnet=IPv4Interface("10.98.1.1/25")), "10.98.1.0/25"),
    ("ip-forward", lambda s: replace(s, sysctls={**s.sysctls, "net.ipv4.ip_forward": "0"}), "ip_forward=0"),
    ("bridge-netfilter", lambda s: replace(s, sysctls={"net.ipv4.ip_forward": "1"}), "iptables=not there"),
    ("swap", lambda s: replace(s, swaps=("/dev/dm-1",)), "/dev/dm-1"),
    (
        "iptables-mixed",
        lambda s: replace(s, other_iptables=parse_iptables_save("*nat\n:X -\n-A X -j DROP\nCOMMIT\n")),
        "1 rules in the other variant too",
    ),
    ("iptables-mixed", lambda s: replace(s, iptables=parse_iptables_save("")), "no variant"),
    ("iptables-mixed", lambda s: replace(s, iptables=replace(s.iptables, incompatible=("nat",))), "cannot show: nat"),
    ("flannel-device", without_link("flannel.1"), "there is no link flannel.1"),
    ("flannel-device", tunnel(vni=2), "id 2"),
    ("flannel-device", tunnel(port=4789), "dstport 4789"),
    ("flannel-device", tunnel(learning=True), " learning"),
    ("flannel-device", tunnel(local=IPv4Address("10.99.0.200")), "local 10.99.0.200"),
    ("flannel-device", tunnel(underlay="docker0"), "dev docker0"),
    ("flannel-device", link("flannel.1", flags=frozenset()), "down"),
    ("flannel-device", link("flannel.1", kind="dummy", vxlan=None), "of kind dummy"),
    ("flannel-device", less("addresses", lambda a: a.device == "eth9"), "no interface of this node carries"),
    ("flannel-address", less("addresses", lambda a: a.device == "flannel.1"), "no IPv4 address"),
    ("flannel-address", more("addresses", Address("flannel.1", IPv4Interface("10.98.9.0/32"), "global")), "10.98.9.0"),
    ("cni-mtu", link("flannel.1", mtu=1500), "1500"),
    ("cni-mtu", link("eth9", mtu=9000), "1450"),
    ("cni0-address", without_link("cni0"), "there is no link cni0"),
    ("cni0-address", more("addresses", Address("cni0", IPv4Interface("10.98.7.1/24"), "global")), "10.98.7.1/24"),
    ("cni0-address", less("addresses", lambda a: a.device == "cni0"), "no IPv4 address"),
    ("cni0-address", link("cni0", flags=frozenset()), "down"),
    ("cni-mtu", link("cni0", mtu=1500), "1500"),
    ("cni-mtu", without_link("cni0"), "there is no link cni0"),
    ("docker0-down", link("docker0", flags=frozenset({"UP", "LOWER_UP"})), "carrier"),
    ("docker0-down", more("links", Link(60, "veth60", "", 1500, "DOWN", master="docker0")), "ports: veth60"),
    ("route-to-own-pods", less("routes", lambda r: r.device == "cni0"), "missing: 10.98.1.0/24 dev cni0"),
    ("route-to-own-pods", more("routes", Route(IPv4Network("10.98.1.7/32"), "eth9")), "not expected: 10.98.1.7/32"),
    ("route-to-own-pods", more("routes", Route(SUBNET_B, "cni0", table="100")), "more than once"),
    ("routes-to-other-nodes", less("routes", lambda r: r.destination == SUBNET_C), f"missing: {SUBNET_C}"),
    ("routes-to-other-nodes", more("routes", STALE_ROUTE), "not expected: 10.98.9.0/24"),
    ("routes-to-other-nodes", more("routes", Route(UNREACHABLE_POD, None, type="blackhole")), "blackhole"),
    (
        "routes-to-other-nodes",
        lambda s: more("routes", Route(SUBNET_C, "flannel.1", via=SUBNET_C[0]))(
            less("routes", lambda r: r.destination == SUBNET_C)(s)
        ),
        "missing: 10.98.2.0/24 via 10.98.2.0 dev flannel.1 onlink",
    ),
    ("arp-entries", less("neighbours", lambda n: n.address == SUBNET_C[0]), "missing: 10.98.2.0"),
    ("arp-entries", more("neighbours", Neighbour(UNREACHABLE_POD[0], "flannel.1", "02::9", PERMANENT)), "not expected"),
    (
        "arp-entries",
        lambda s: replace(
            s,
            network=replace(s.network, neighbours=tuple(replace(n, states=frozenset()) for n in s.network.neighbours)),
        ),
        "missing",
    ),
    (
        "arp-entries",
        lambda s: replace(
            s, network=replace(s.network, neighbours=tuple(replace(n, mac="02::8") for n in s.network.neighbours))
        ),
        "not expected: 10.98.0.0 lladdr 02::8",
    ),
    ("fdb-entries", fdb(drop=lambda e: e.mac == good.mac("node-c")), "missing: 02:00:00:00:00:0c dst 10.99.0.13"),
    ("fdb-entries", fdb(FdbEntry("02::9", "flannel.1", IPv4Address("10.99.0.99"), SELF, "permanent")), "not expected"),
    (
        "fdb-entries",
        lambda s: fdb(FdbEntry(good.mac("node-c"), "flannel.1", IPv4Address("10.99.0.99"), SELF, "permanent"))(
            fdb(drop=lambda e: e.mac == good.mac("node-c"))(s)
        ),
        "not expected: 02:00:00:00:00:0c dst 10.99.0.99",
    ),
    ("fdb-entries", lambda s: replace(s, fdb=tuple(replace(e, state="") for e in s.fdb)), "missing"),
    ("pod-addresses", in_pod("web-b2", addresses=()), "default/web-b2: expected 10.98.1.2/24"),
    (
        "pod-addresses",
        in_pod("web-b2", addresses=(Address("eth0", IPv4Interface("10.98.1.9/24"), "global"),)),
        "found 10.98.1.9/24",
    ),
    ("pod-addresses", without_containers(lambda c: c.pod_name == "web-b2"), "expected a pause container, found none"),
    ("pod-addresses", container("web-b2", True, network=None, network_mode="bridge"), "found NetworkMode bridge"),
    ("pod-default-routes", in_pod("web-b3", routes=()), "missing: 0.0.0.0/0 via 10.98.1.1 dev eth0"),
    (
        "pod-default-routes",
        in_pod("web-b3", routes=(Route(IPv4Network("0.0.0.0/0"), "eth0", via=IPv4Address("10.98.1.254")),)),
        "not expected: 0.0.0.0/0 via 10.98.1.254",
    ),
    ("pod-veths", in_pod("web-b3", links=()), "no eth0 in the pod"),
    ("pod-veths", link("veth3", master="docker0"), "veth in docker0"),
    ("pod-veths", link("veth3", master=None, bridge_port=None), "in no bridge"),
    ("pod-veths", without_link("veth3"), "without an end on the node"),
    (
        "pod-veths",
        lambda s: link("veth3", bridge_port=replace(s.network.link("veth3").bridge_port, hairpin=False))(s),  # type: ignore[union-attr,type-var]
        "hairpin off",
    ),
    (
        "pod-veths",
        lambda s: link("veth3", bridge_port=replace(s.network.link("veth3").bridge_port, state="disabled"))(s),  # type: ignore[union-attr,type-var]
        "disabled",
    ),
    ("pod-namespaces", container("web-b2", False, network_mode="bridge"), "main NetworkMode bridge"),
    ("pod-namespaces", container("web-b2", False, netns="net:[666]"), "in net:[666]"),
    ("pod-namespaces", container("web-b2", True, network_mode="host"), "pause NetworkMode host"),
    ("pod-namespaces", without_containers(lambda c: c.is_sandbox), "expected a pause container, found none"),
    ("pod-namespaces", without_containers(lambda c: not c.is_sandbox), "expected containers beside the pause"),
    ("forward-accepts", rules((":FORWARD DROP", ":FORWARD ACCEPT")), "policy ACCEPT"),
    ("forward-accepts", rules((FORWARD_SOURCE, "")), "missing: -A FORWARD -s 10.98.0.0/16 -j ACCEPT"),
    ("forward-accepts", rules((FORWARD_SOURCE, FORWARD_SOURCE.replace("-j", "-p tcp -j"))), "missing"),
    ("forward-accepts", rules((FORWARD_SOURCE, "-A FORWARD -j DROP\n" + FORWARD_SOURCE)), "refused by: -A FORWARD"),
    ("forward-accepts", rules(("-A DOCKER-USER -j RETURN", "-A DOCKER-USER -j DROP")), "-A DOCKER-USER -j DROP"),
    ("postrouting-order", rules((POD_TO_POD, "")), "MASQUERADE"),
    ("postrouting-order", rules((POD_TO_POD + POD_OUT, POD_OUT + POD_TO_POD)), "MASQUERADE"),
    ("postrouting-order", rules((POD_OUT, POD_OUT.replace("! -d 224.0.0.0/4 ", ""))), "-s 10.98.0.0/16 -j MASQUERADE"),
    ("postrouting-order", rules((KUBE_FIRST, "-A POSTROUTING -o eth9 -j MASQUERADE\n" + KUBE_FIRST)), "-o eth9"),
    ("postrouting-order", rules((KUBE_FIRST, "")), "RETURN"),
    ("postrouting-order", rules((f"-d {SUBNET_B} -j RETURN", f"-d {SUBNET_C} -j RETURN")), f"-d {SUBNET_C}"),
    ("service-chains", rules((TO_WEB, "")), "default/web/tcp"),
    ("service-chains", rules((TO_WEB, TO_WEB * 2)), "default/web/tcp"),
    ("service-chains", rules((TO_WEB, TO_WEB + TO_WEB.replace("10.97.0.50", "10.97.9.9"))), "other cluster IPs"),
    ("service-chains", rules((TO_WEB, TO_WEB.replace("-j", "-s 10.0.0.0/8 -j"))), "default/web/tcp"),
    (
        "service-chains",
        rules(('-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES\n', "")),
        "PREROUTING: expected -A PREROUTING -j KUBE-SERVICES, found none",
    ),
    ("service-chains", rules(("-A KUBE-SERVICES -d 10.97.0.77/32", "-A KUBE-SERVICES -d 10.97.0.79/32")), "idle"),
    ("service-endpoints", rules((TO_WEB, "")), "no jump to one from KUBE-SERVICES"),
    ("service-endpoints", rules((LAST_ENDPOINT, "")), "probabilities"),
    ("service-endpoints", rules(("0.33333333349", "0.50000000000")), "0.5000000\n0.5000000\n1.0000000"),
    ("service-endpoints", rules((LAST_ENDPOINT, LAST_ENDPOINT.replace("SEP-3", "SEP-1"))), "KUBE-SEP chains"),
    ("service-endpoints", rules(("--to-destination 10.98.2.2:8080", "--to-destination 10.98.2.9:8080")), "10.98.2.9"),
    ("service-endpoints", rules(("--to-destination 10.98.2.2:8080", "--to-destination 10.98.2.2:80")), "10.98.2.2:80"),
    (
        "service-endpoints",
        rules(('-A KUBE-SEP-3 -s 10.98.2.2/32 -m comment --comment "default/web" -j KUBE-MARK-MASQ\n', "")),
        "missing: -A KUBE-SEP -s 10.98.2.2/32 -j KUBE-MARK-MASQ",
    ),
    ("node-ports", rules((WEB_NODE_PORT + "KUBE-MARK-MASQ\n", "")), "default/web/tcp"),
    ("node-ports", rules((WEB_NODE_PORT + "KUBE-SVC-WEB\n", "")), "default/web/tcp"),
    ("node-ports", rules((WEB_NODE_PORT + "KUBE-SVC-WEB", WEB_NODE_PORT + "KUBE-SVC-API")), "KUBE-SVC-API"),
    (
        "node-ports",
        rules(
            (
                WEB_NODE_PORT + "KUBE-SVC-WEB\n",
                WEB_NODE_PORT + "KUBE-SVC-WEB\n-A KUBE-NODEPORTS -p tcp -j KUBE-SVC-API\n",
            )
        ),
        "other ports",
    ),
    ("node-ports", rules(("-m addrtype --dst-type LOCAL -j KUBE-NODEPORTS", "-j KUBE-NODEPORTS")), "KUBE-SERVICES"),
    ("service-masquerade", rules(("--set-xmark 0x4000/0x4000", "--set-xmark 0x8000/0x8000")), "0x8000"),
    ("service-masquerade", rules(("-A KUBE-POSTROUTING -m mark ! --mark 0x4000/0x4000 -j RETURN\n", "")), "MARK"),
    ("policies-in-force", lambda state: replace(state, nft_tables=("ip filter",)), "inet podnet not there"),
    ("policies-in-force", in_force(enforced=False), "not enforced"),
    ("policies-in-force", in_force(policies={}), "0 policies enforced"),
    ("policies-in-force", in_force(inexpressible={"elsewhere/deny": "no such operator"}), "no such operator"),
    (
        "containers-paused",
        lambda s: replace(s, paused=(Paused("0123456789abcdef", "etcd", "kube-system/etcd-b"),)),
        "etcd of kube-system/etcd-b is paused (0123456789ab)",
    ),
    ("kubelet-healthy", lambda s: replace(s, kubelet=Kubelet("activating", "")), "kubelet is activating, and answers"),
    ("kubelet-healthy", lambda s: replace(s, kubelet=Kubelet("active", "unhealthy")), "answers unhealthy"),
    ("control-plane-healthy", lambda s: replace(s, unreadable={"control_plane": "no curl"}), "no curl"),
    ("cni-order", lambda s: replace(s, cni_files=("05-old.conf", *s.cni_files)), "05-old.conf"),
    ("cni-order", lambda s: replace(s, cni_files=("10-podnet.conflist.tmp",)), "nothing"),
    ("duplicate-hostname", identity(hostname="node-a"), "hostname node-a is that of node-a too"),
    ("duplicate-machine-id", identity(machine_id=f"{2:032d}"), "2 is that of node-c too"),
    ("duplicate-product-uuid", identity(product_uuid="uuid-node-c"), "product_uuid uuid-node-c is that of node-c too"),
    ("clock-skew", lambda s: replace(s, clock=1_800_000_000.0 - 40), "40 seconds behind"),
    ("clock-skew", lambda s: replace(s, clock=1_800_000_000.0 + 400), "398 seconds ahead"),
    ("clock-skew", lambda s: replace(s, clock=1_800_000_000.0 + 400, clock_within=20.0), "378 seconds ahead"),
    ("clock-skew", lambda s: replace(s, clock=1_800_000_000.0 - 40, clock_within=60.0), "40 seconds behind"),
    (
        "policy-chains-first",
        rules(("-A FORWARD -d 10.98.0.0/16 -j ACCEPT\n", AFTER_ACCEPT)),
        "before KUBE-ROUTER-FORWARD",
    ),
]

IN_API: list[tuple[str, ApiChange, str]] = [
    ("network-agent-ready", pod("proxy-b", ready=False), "kube-system/proxy-b is Running, not ready"),
    ("network-agent-ready", pod("proxy-b", terminating=True), "kube-system/proxy-b is Running"),
    ("network-agent-ready", pod("proxy-b", labels={}), "none"),
    ("kubelet-reached", lambda api: replace(api, kubelets={"node-b": "curl: (28) timed out 000"}), "timed out"),
    ("kubelet-reached", lambda api: replace(api, kubelets={"node-b": "Unauthorized 401"}), "401"),
    ("kubelet-reached", lambda api: replace(api, kubelets={}), "did not ask"),
    ("kube-proxy-ready", pod("kube-proxy-b", ready=False), "kube-system/kube-proxy-b is Running, not ready"),
    ("kube-proxy-ready", pod("kube-proxy-b", labels={}), "none"),
    ("node-ready", node_object("node-b", ready="False", ready_message="cni config uninitialized"), "uninitialized"),
    ("node-ready", node_object("node-b", ready="Unknown"), "Ready=Unknown"),
    ("node-address", node_object("node-b", internal_ip=IPv4Address("10.99.0.200")), "InternalIP 10.99.0.200"),
    ("node-ready", without_node("node-b"), "no node node-b: it has not joined"),
    ("subnet-env", node_object("node-b", pod_cidr=UNREACHABLE_POD), "FLANNEL_SUBNET=10.98.1.1/24"),
    ("subnet-of-node-object", node_object("node-b", pod_cidr=None), "has no podCIDR"),
    ("subnet-of-node-object", node_object("node-c", pod_cidr=SUBNET_B), "also the podCIDR of node-c"),
    ("flannel-address", node_object("node-b", pod_cidr=UNREACHABLE_POD), "10.98.1.0/32"),
    ("cni0-address", node_object("node-b", pod_cidr=UNREACHABLE_POD), "10.98.1.1/24"),
    ("routes-to-other-nodes", node_object("node-c", pod_cidr=UNREACHABLE_POD), "missing: 10.98.9.0/24"),
    ("routes-to-other-nodes", without_node("node-c"), "no node node-c"),
    ("pod-addresses", pod("web-b2", ip=IPv4Address("10.98.1.9")), "expected 10.98.1.9/24"),
    ("pod-addresses", pod("web-b2", ip=None, phase="Pending"), "default/web-b2: expected an address, found none"),
    ("service-chains", service("web", cluster_ip=IPv4Address("10.97.0.51")), "default/web/tcp"),
    ("service-chains", endpoints(), "default/web/tcp"),
    ("service-endpoints", endpoints("10.98.1.2:8080", "10.98.1.3:8080", "10.98.2.9:8080"), "missing"),
    ("service-endpoints", endpoints("10.98.1.2:8080", "10.98.1.3:8080"), "probabilities"),
    ("endpoints-current", endpoints("10.98.1.2:8080", "10.98.1.9:8080"), "10.98.1.9:8080"),
    ("node-ports", service("web", local_traffic_only=True), "default/web/tcp"),
    ("policies-in-force", lambda api: replace(api, policies={**api.policies, "default/new": "18"}), "default/new"),
    ("policies-in-force", lambda api: replace(api, policies={"elsewhere/deny": "99"}), "resourceVersion 99"),
]


@pytest.mark.parametrize("slow", good.NAMES)
@pytest.mark.parametrize("name", good.NAMES)
def test_a_clock_that_was_read_late_is_none_that_is_wrong(name: str, slow: str) -> None:
    context = good.context(name)
    late = replace(context.states[slow], clock=1_800_000_000.0 + 28, clock_within=29.0)
    states = {**context.states, slow: late}
    (check,) = (item for item in CHECKS if item.id == "clock-skew")
    result = check.check(replace(context, states=states))
    assert result.ok, result.found


@pytest.mark.parametrize("name", good.NAMES)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_holds_on_a_good_state(check: Any, name: str) -> None:
    result = check.check(good.context(name))
    assert result.ok, f"expected {result.expected}\nfound {result.found}"


def assert_fails(name: str, context: Context, words: str) -> None:
    check = by_name(name)
    result = check.check(context)
    assert result.status is Status.FAILS
    assert result.expected
    assert words in f"{result.expected}\n{result.found}", result
    assert result.found != result.expected
    assert result.look_further.startswith("ssh -o BatchMode=yes node-b ")
    assert len(result.look_further) > len("ssh node-b ")


@pytest.mark.parametrize(
    ("name", "change", "words"), ON_NODE_B, ids=[f"{name}-{number}" for number, (name, *_) in enumerate(ON_NODE_B)]
)
def test_fails_when_the_node_is_otherwise(name: str, change: Change, words: str) -> None:
    assert_fails(name, good.context("node-b", here=change(good.state("node-b"))), words)


@pytest.mark.parametrize(
    ("name", "change", "words"), IN_API, ids=[f"{name}-{number}" for number, (name, *_) in enumerate(IN_API)]
)
def test_fails_when_the_api_says_otherwise(name: str, change: ApiChange, words: str) -> None:
    assert_fails(name, good.context("node-b", objects=change(good.api())), words)


def test_every_check_was_seen_failing() -> None:
    assert {check.id for check in CHECKS} == {name for name, *_ in [*ON_NODE_B, *IN_API]}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_what_cannot_be_read_holds_for_nobody(check: Any) -> None:
    blind = NodeState("node-b", unreadable=dict.fromkeys((item.name for item in fields(NodeState)), "no such program"))
    result = check.check(good.context("node-b", here=blind, objects="no API"))
    assert result.status is Status.FAILS
    assert "no such program" in result.found or "no API" in result.found


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.id)
def test_an_empty_state_holds_for_nobody(check: Any) -> None:
    """A state where nothing was found, and nothing was reported unreadable, cannot pass but where none is right."""
    result = check.check(good.context("node-b", here=NodeState("node-b")))
    of_the_api = (
        "node-ready",
        "node-address",
        "network-agent-ready",
        "kube-proxy-ready",
        "kubelet-reached",
        "control-plane-healthy",
        "endpoints-current",
    )
    assert result.ok == (check.id in (*of_the_api, "swap", "docker0-down", "containers-paused"))


# Where no pod of the pod network runs ---------------------------------------------------------------------------------


def test_without_pods_the_bridge_may_be_absent_but_not_wrong() -> None:
    here = good.state("node-a")
    assert here.network.link("cni0") is None
    result = by_name("cni0-address").check(good.context("node-a"))
    assert result.ok
    assert "no pod of the pod network runs here (API)" in result.found
    stale = more("links", Link(5, "cni0", "", 1450, "DOWN", frozenset({"UP"})))(here)
    stale = more("addresses", Address("cni0", IPv4Interface("10.98.7.1/24"), "global"))(stale)
    assert not by_name("cni0-address").check(good.context("node-a", here=stale)).ok
    assert not by_name("route-to-own-pods").check(good.context("node-a", here=stale)).ok


def test_a_bridge_that_its_last_pod_has_left_has_the_kernels_mtu() -> None:
    def emptied(state: NodeState) -> NodeState:
        links = tuple(replace(item, master=None) if item.master == "cni0" else item for item in state.network.links)
        return link("cni0", mtu=1500)(replace(state, network=replace(state.network, links=links)))

    result = by_name("cni-mtu").check(good.context("node-b", here=emptied(good.context("node-b").state)))
    assert result.ok


def test_that_no_pod_runs_is_asked_from_the_api_and_not_assumed() -> None:
    objects = pod("web-b2", node="node-a", ip=IPv4Address("10.98.0.2"))(good.api())
    for name in ("cni0-address", "route-to-own-pods", "pod-addresses"):
        assert not by_name(name).check(good.context("node-a", objects=objects)).ok, name


# Details --------------------------------------------------------------------------------------------------------------


def test_the_mac_of_a_node_that_cannot_be_read_is_taken_from_its_announcement() -> None:
    context = good.context("node-b")
    states = {name: state for name, state in context.states.items() if name != "node-c"}
    without = replace(context, states=states)
    assert not by_name("arp-entries").check(without).ok
    annotation = {"podnet.kubeproof.dev/vtep-mac": good.mac("node-c")}
    announced = replace(without, objects=node_object("node-c", annotations=annotation)(good.api()))
    assert by_name("arp-entries").check(announced).ok
    assert by_name("fdb-entries").check(announced).ok


def test_flannel_announces_the_mac_of_a_node_as_json() -> None:
    mac = good.mac("node-c")
    annotation = {"flannel.alpha.coreos.com/backend-data": f'{{"VNI":1,"VtepMAC":"{mac}"}}'}
    assert flannel.announced_mac(annotation) == mac
    assert flannel.announced_mac({}) is flannel.announced_mac({"flannel.alpha.coreos.com/backend-data": "[]"}) is None


def test_rules_of_others_that_cannot_match_pods_are_nobodys_business() -> None:
    harmless = "-A POSTROUTING -s 192.168.122.0/24 ! -d 192.168.122.0/24 -j MASQUERADE\n"
    here = rules((KUBE_FIRST, harmless + KUBE_FIRST))(good.state("node-b"))
    assert by_name("postrouting-order").check(good.context("node-b", here=here)).ok


def test_session_affinity_adds_rules_that_are_right() -> None:
    recent = "-m recent --rcheck --seconds 10800 --reap --name {0} --mask 255.255.255.255 --rsource -j {0}\n"
    first = '-A KUBE-SVC-WEB -m comment --comment "default/web" -m statistic --mode random --probability 0.33333333349'
    sticky = "".join(f"-A KUBE-SVC-WEB {recent.format(f'KUBE-SEP-{number}')}" for number in (1, 2, 3))
    changes = [(first, sticky + first)]
    for number, ip in ((1, "10.98.1.2"), (2, "10.98.1.3"), (3, "10.98.2.2")):
        name = f"-m recent --set --name KUBE-SEP-{number} --mask 255.255.255.255 --rsource"
        old = (
            f'-A KUBE-SEP-{number} -p tcp -m comment --comment "default/web" -m tcp -j DNAT --to-destination {ip}:8080'
        )
        changes.append((old, old.replace("-p tcp", f"-p tcp {name}")))
    here = rules(*changes)(good.state("node-b"))
    assert not by_name("service-endpoints").check(good.context("node-b", here=here)).ok
    sticky_service = service("web", session_affinity=True)(good.api())
    result = by_name("service-endpoints").check(good.context("node-b", here=here, objects=sticky_service))
    assert result.ok, result.found


def test_external_traffic_policy_local() -> None:
    masqueraded = WEB_NODE_PORT.replace("-A KUBE-NODEPORTS", "-A KUBE-NODEPORTS -s 127.0.0.0/8") + "KUBE-MARK-MASQ"
    here = rules(
        (WEB_NODE_PORT + "KUBE-MARK-MASQ", masqueraded),
        (WEB_NODE_PORT + "KUBE-SVC-WEB", WEB_NODE_PORT + "KUBE-XLB-WEB"),
    )(good.state("node-b"))
    local = service("web", local_traffic_only=True)(good.api())
    assert by_name("node-ports").check(good.context("node-b", here=here, objects=local)).ok


def test_a_node_with_no_other_needs_no_routes() -> None:
    context = good.context("node-b")
    alone = replace(
        context,
        loaded=replace(context.loaded, cluster=replace(context.cluster, nodes=(context.node,))),
        state=replace(
            context.state,
            fdb=(),
            network=Namespace(routes=(Route(SUBNET_B, "cni0"),), links=context.state.network.links),
        ),
    )
    for name in ("routes-to-other-nodes", "arp-entries", "fdb-entries"):
        assert by_name(name).check(alone).ok


def test_subnet_env_prints_as_the_file_does() -> None:
    env = SubnetEnv(good.PODS, IPv4Interface("10.98.1.1/24"), 1450, masquerade=True)
    result = by_name("subnet-env").check(good.context("node-b"))
    assert (result.expected, result.found) == (str(env), str(env))


@pytest.mark.parametrize("name", CONTROL_PLANE)
@pytest.mark.parametrize("answer", ["", "[-]etcd failed: reason withheld", '{"health":"false"}'])
def test_each_part_of_the_control_plane_has_to_answer(name: str, answer: str) -> None:
    here = good.state("node-a")
    parts = {**here.control_plane, name: answer}
    result = by_name("control-plane-healthy").check(good.context("node-a", here=replace(here, control_plane=parts)))
    assert result.status is Status.FAILS
    assert f"{name}: {answer or 'nothing'}" in result.found
    parts.pop(name)
    result = by_name("control-plane-healthy").check(good.context("node-a", here=replace(here, control_plane=parts)))
    assert f"{name}: was not asked" in result.found
