"""Rules of each pod's own network namespace, and of its link on the node. Pure."""

import re
from collections.abc import Callable, Iterator
from functools import partial
from ipaddress import IPv4Address, IPv4Network

from kubeproof.networks.calico import POD_LINK
from kubeproof.rules.api import Pod
from kubeproof.rules.context import BRIDGE, POD_DEVICE, Context
from kubeproof.rules.repair import pods_anew
from kubeproof.rules.result import Outcome, all_of, same, same_set
from kubeproof.rules.rule import rule
from kubeproof.state.containers import TOOLS
from kubeproof.state.iproute import DEFAULT_ROUTE
from kubeproof.state.model import Link, Namespace, Route
from kubeproof.state.node import Container

NO_PODS = "no pod of the pod network runs here (API)"
NEEDS = ("network", "containers")
GATEWAY = IPv4Address("169.254.1.1")
"""Link-local address that a node with Calico answers ARP for on every pod's link (proxy_arp; Calico documentation, FAQ,
"Why does my container have a route to 169.254.1.1?")."""
IS_CALICO_LINK = re.compile(POD_LINK)
_FULL_NAME = re.compile(r"^([a-z0-9.-]+/[a-z0-9.-]+): ", re.MULTILINE)


def look_at_pods(context: Context) -> str:
    """The runtime's own way to look into pods."""
    return TOOLS[context.cluster.settings.container_runtime].look_at_pods


pod_rule = partial(rule, needs=NEEDS, look=look_at_pods)


def _look_at_namespaces(context: Context) -> str:
    return TOOLS[context.cluster.settings.container_runtime].look_at_namespaces


def named_pods(found: str) -> list[str]:
    """Pods (namespace/name) that lines of an outcome are about."""
    return list(dict.fromkeys(_FULL_NAME.findall(found)))


def _node_end(context: Context, network: Namespace | None) -> Link | None:
    inner = network.link(POD_DEVICE) if network else None
    return context.state.network.link_by_index(inner.peer_index) if inner and inner.peer_index is not None else None


def _anew(_: Context, outcome: Outcome) -> Iterator[str]:
    yield from pods_anew(named_pods(outcome.found))


@pod_rule(
    "each pod's eth0 has one address, in S, and it is the one that the API names",
    meaning="others reach the pod by an address that it does not have, or the pod has none at all",
    remedies=_anew,
)
def pod_addresses(context: Context) -> Outcome:
    """The address that a pod sees as its own is the one others see."""
    return all_of(
        [*_waiting(context), *each_pod(context, _address(context, context.subnet.prefixlen))],
        expected=f"for each pod its address of the API, in {context.subnet}",
        nothing=NO_PODS,
    )


def _address(context: Context, prefixlen: int) -> Callable[[Pod, Namespace], Outcome]:
    def decide(pod: Pod, network: Namespace) -> Outcome:
        inside = pod.ip is not None and pod.ip in context.pods_network
        found = ", ".join(map(str, network.addresses_of(POD_DEVICE))) or f"no address on {POD_DEVICE}"
        expected = f"{pod.ip}/{prefixlen}"
        where = "" if inside else ", outside S"
        return Outcome(inside and found == expected, f"{expected} in {context.pods_network}", found + where)

    return decide


def _waiting(context: Context) -> Iterator[tuple[str, Outcome]]:
    """Pods that were given to this node and have no address."""
    for pod in context.api.pods:
        waits = pod.node == context.node.name and pod.phase in ("Pending", "Running") and pod.ip is None
        if waits and not pod.host_network and not pod.terminating:
            yield pod.full_name, Outcome(False, "an address", f"none, phase {pod.phase}")


def _default_routes(context: Context, outcome: Outcome) -> Iterator[str]:
    for pod in named_pods(outcome.found):
        pause = context.state.sandbox(pod)
        if pause is None or pause.network is None:
            return
        inside = f"nsenter -t {pause.pid} -n ip"
        link = pause.network.link(POD_DEVICE)
        if link is not None and not link.is_up:
            yield f"{inside} link set dev {POD_DEVICE} up"
        stale = [route for route in pause.network.routes_in() if route.destination.prefixlen == 0]
        yield from (f"{inside} route del {route}" for route in stale)
        yield f"{inside} route add default via {context.gateway} dev {POD_DEVICE}"


@pod_rule(
    "each pod's only default route leads to cni0's address",
    meaning="the pod reaches nothing beyond its own node's pods",
    remedies=_default_routes,
)
def pod_default_routes(context: Context) -> Outcome:
    """default via a.b.N.1 dev eth0."""
    expected = Route(DEFAULT_ROUTE, POD_DEVICE, via=context.gateway)

    def decide(_: Pod, network: Namespace) -> Outcome:
        return same_set([expected], (route for route in network.routes_in() if route.destination == DEFAULT_ROUTE))

    return _of_pods(context, str(expected), decide)


def _plug_in(context: Context, outcome: Outcome) -> Iterator[str]:
    lost = []
    for pod in named_pods(outcome.found):
        pause = context.state.sandbox(pod)
        outer = _node_end(context, pause.network if pause else None)
        if outer is None:
            lost.append(pod)
            continue
        plugged = f"ip link set dev {outer.name} up master {BRIDGE}"
        yield f"{plugged} && bridge link set dev {outer.name} hairpin on state 3"
    yield from pods_anew(lost)


@rule(
    "the other end of each pod's eth0 is a port of cni0 with hairpin on",
    meaning="the pod is cut off; without hairpin it cannot reach itself through its own Service",
    needs=NEEDS,
    look=f"bridge -d link show; ip link show master {BRIDGE}",
    remedies=_plug_in,
)
def pod_veths(context: Context) -> Outcome:
    expected = f"veth in {BRIDGE}, forwarding, hairpin on"
    return _of_pods(context, f"a {expected}", lambda _, network: same(expected, _veth(context, network)))


def _veth(context: Context, network: Namespace) -> str:
    inner = network.link(POD_DEVICE)
    if inner is None:
        return f"no {POD_DEVICE} in the pod"
    outer = _node_end(context, network)
    if outer is None:
        return f"{POD_DEVICE} of kind {inner.kind} without an end on the node (peer index {inner.peer_index})"
    if outer.master is None or outer.bridge_port is None:
        return f"{outer.kind} {outer.name} in no bridge"
    hairpin = "on" if outer.bridge_port.hairpin else "off"
    return f"{outer.kind} in {outer.master}, {outer.bridge_port.state}, hairpin {hairpin}"


@rule(
    "a pod's containers are in the network namespace of its pause container",
    meaning="a container outside of it has another address than its pod, or the node's own network",
    needs=("containers",),
    look=_look_at_namespaces,
    remedies=_anew,
)
def pod_namespaces(context: Context) -> Outcome:
    """NetworkMode (Docker's word) is container:ID of the pause, and the kernel's namespace is the same.

    Held against the API: each running pod of this node, host network or not, has a pause and a container.
    """
    running = [pod for pod in context.api.pods if pod.node == context.node.name and pod.is_running]
    return all_of(
        ((pod.full_name, _shares(context, pod)) for pod in running),
        expected="for each container NetworkMode container:PAUSE and the pause's network namespace",
        nothing="no pod runs here (API)",
    )


def _shares(context: Context, pod: Pod) -> Outcome:
    pause = context.state.sandbox(pod.full_name)
    if pause is None:
        return Outcome(False, "a pause container", "none")
    members = [item for item in context.state.containers if item.pod == pod.full_name and not item.is_sandbox]
    if not members:
        return Outcome(False, "containers beside the pause", "none")
    mode = "host" if pod.host_network else "none"
    expected = [f"pause NetworkMode {mode}"]
    expected += [f"{item.name} NetworkMode container:{pause.id[:12]} in {pause.netns}" for item in members]
    found = [f"pause NetworkMode {pause.network_mode}"]
    found += [f"{item.name} NetworkMode {_short(item)} in {item.netns}" for item in members]
    return same_set(expected, found)


def _short(container: Container) -> str:
    kind, colon, target = container.network_mode.partition(":")
    return kind + colon + target[:12]


def each_pod(context: Context, decide: Callable[[Pod, Namespace], Outcome]) -> Iterator[tuple[str, Outcome]]:
    for pod in context.pods:
        pause = context.state.sandbox(pod.full_name)
        if pause is None:
            yield pod.full_name, Outcome(False, "a pause container", "none")
        elif pause.network is None:
            yield pod.full_name, Outcome(False, "a network namespace of its own", f"NetworkMode {pause.network_mode}")
        else:
            yield pod.full_name, decide(pod, pause.network)


def _of_pods(context: Context, expected: str, decide: Callable[[Pod, Namespace], Outcome]) -> Outcome:
    return all_of(each_pod(context, decide), expected=f"for each pod {expected}", nothing=NO_PODS)


# Pods of Canal and Calico: no bridge, a link of its own for each, and 169.254.1.1 as everybody's gateway -------------


@pod_rule(
    "each pod's eth0 has its address of the API, as /32 in S, with Calico in the pod CIDR",
    meaning="others reach the pod by an address that it does not have, or the pod takes others for neighbours",
    remedies=_anew,
)
def pod_single_addresses(context: Context) -> Outcome:
    """As /32: a pod has no neighbours, all goes by the node."""
    return _of_pods(context, f"its address, in {context.pods_network}", _address(context, 32))


@pod_rule(
    f"each pod's only default route leads to {GATEWAY}",
    meaning="the pod reaches nothing",
    remedies=_anew,
)
def pod_link_local_gateways(context: Context) -> Outcome:
    """default via 169.254.1.1 dev eth0, and that address on the link."""
    expected = [Route(DEFAULT_ROUTE, POD_DEVICE, via=GATEWAY), Route(IPv4Network(f"{GATEWAY}/32"), POD_DEVICE)]
    both = " and ".join(map(str, expected))
    return _of_pods(context, both, lambda _, network: same_set(expected, network.routes_in()))


@rule(
    "the other end of each pod's eth0 is a link caliXXX of its own, up and in no bridge",
    meaning="Felix knows pods by these names; any other link is not policed",
    needs=NEEDS,
    look="ip -d link",
    remedies=_anew,
)
def calico_links(context: Context) -> Outcome:
    expected = "veth caliXXXXXXXXXXX, up, in no bridge"
    return _of_pods(context, f"a {expected}", lambda _, network: same(expected, _calico_link(context, network)))


def _calico_link(context: Context, network: Namespace) -> str:
    outer = _node_end(context, network)
    if outer is None:
        return f"no {POD_DEVICE} with an end on the node"
    name = "caliXXXXXXXXXXX" if IS_CALICO_LINK.fullmatch(outer.name) else outer.name
    return f"{outer.kind} {name}, {'up' if outer.is_up else 'down'}, in {outer.master or 'no bridge'}"


def pod_links(context: Context) -> Iterator[tuple[str, str]]:
    """Each pod that runs here with the name of its link on the node; pods without one are other checks' affair."""
    for pod in context.pods:
        pause = context.state.sandbox(pod.full_name)
        outer = _node_end(context, pause.network if pause else None)
        if outer is not None:
            yield pod.full_name, outer.name
