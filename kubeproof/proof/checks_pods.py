"""Checks of each pod's own network namespace."""

from collections.abc import Callable, Iterator

from kubeproof.proof.api import Pod
from kubeproof.proof.context import BRIDGE, POD_DEVICE, Context, Finding, all_of, check, same, same_set
from kubeproof.state.containers import TOOLS, Tool
from kubeproof.state.iproute import DEFAULT_ROUTE
from kubeproof.state.model import Namespace, Route
from kubeproof.state.node import Container

NO_PODS = "no pod of the pod network runs here (API)"
NEEDS = ("network", "containers")


def look_at_pods(context: Context) -> str:
    """The runtime's own way to look into pods."""
    return _tool(context).look_at_pods


def _look_at_namespaces(context: Context) -> str:
    return _tool(context).look_at_namespaces


def _tool(context: Context) -> Tool:
    return TOOLS[context.cluster.settings.container_runtime]


@check("each pod's eth0 has one address, in S, and it is the one that the API names", needs=NEEDS, look=look_at_pods)
def pod_addresses(context: Context) -> Finding:
    """The address that a pod sees as its own is the one others see."""

    def decide(pod: Pod, network: Namespace) -> Finding:
        inside = pod.ip is not None and pod.ip in context.subnet
        found = ", ".join(map(str, network.addresses_of(POD_DEVICE))) or f"no address on {POD_DEVICE}"
        expected = f"{pod.ip}/{context.subnet.prefixlen}"
        return Finding(
            inside and found == expected, f"{expected} in {context.subnet}", found + ("" if inside else ", outside S")
        )

    return all_of(
        [*_waiting(context), *each_pod(context, decide)],
        expected=f"for each pod its address of the API, in {context.subnet}",
        nothing=NO_PODS,
    )


def _waiting(context: Context) -> Iterator[tuple[str, Finding]]:
    """Pods that were given to this node and have no address."""
    for pod in context.api.pods:
        waits = pod.node == context.node.name and pod.phase in ("Pending", "Running") and pod.ip is None
        if waits and not pod.host_network and not pod.terminating:
            yield pod.full_name, Finding(False, "an address", f"none, phase {pod.phase}")


@check("each pod's only default route leads to cni0's address", needs=NEEDS, look=look_at_pods)
def pod_default_routes(context: Context) -> Finding:
    """default via a.b.N.1 dev eth0."""
    expected = Route(DEFAULT_ROUTE, POD_DEVICE, via=context.gateway)

    def decide(pod: Pod, network: Namespace) -> Finding:
        return same_set([expected], (route for route in network.routes_in() if route.destination == DEFAULT_ROUTE))

    return all_of(each_pod(context, decide), expected=f"for each pod {expected}", nothing=NO_PODS)


@check(
    "the other end of each pod's eth0 is a port of cni0 with hairpin on",
    needs=NEEDS,
    look=f"bridge -d link show; ip link show master {BRIDGE}",
)
def pod_veths(context: Context) -> Finding:
    """Without hairpin a pod cannot reach itself through its own Service."""

    def decide(pod: Pod, network: Namespace) -> Finding:
        return same(f"veth in {BRIDGE}, forwarding, hairpin on", _veth(context, network))

    return all_of(
        each_pod(context, decide), expected=f"for each pod a veth in {BRIDGE}, forwarding, hairpin on", nothing=NO_PODS
    )


def _veth(context: Context, network: Namespace) -> str:
    inner = network.link(POD_DEVICE)
    if inner is None:
        return f"no {POD_DEVICE} in the pod"
    outer = None if inner.peer_index is None else context.state.network.link_by_index(inner.peer_index)
    if outer is None:
        return f"{POD_DEVICE} of kind {inner.kind} without an end on the node (peer index {inner.peer_index})"
    if outer.master is None or outer.bridge_port is None:
        return f"{outer.kind} {outer.name} in no bridge"
    hairpin = "on" if outer.bridge_port.hairpin else "off"
    return f"{outer.kind} in {outer.master}, {outer.bridge_port.state}, hairpin {hairpin}"


@check(
    "a pod's containers are in the network namespace of its pause container",
    needs=("containers",),
    look=_look_at_namespaces,
)
def pod_namespaces(context: Context) -> Finding:
    """NetworkMode (Docker's word) is container:ID of the pause, and the kernel's namespace is the same.

    Held against the API: each running pod of this node, host network or not, has a pause and a container.
    """
    running = [pod for pod in context.api.pods if pod.node == context.node.name and pod.is_running]
    return all_of(
        ((pod.full_name, _shares(context, pod)) for pod in running),
        expected="for each container NetworkMode container:PAUSE and the pause's network namespace",
        nothing="no pod runs here (API)",
    )


def _shares(context: Context, pod: Pod) -> Finding:
    pause = context.state.sandbox(pod.full_name)
    if pause is None:
        return Finding(False, "a pause container", "none")
    members = [item for item in context.state.containers if item.pod == pod.full_name and not item.is_sandbox]
    if not members:
        return Finding(False, "containers beside the pause", "none")
    mode = "host" if pod.host_network else "none"
    expected = [f"pause NetworkMode {mode}"]
    expected += [f"{item.name} NetworkMode container:{pause.id[:12]} in {pause.netns}" for item in members]
    found = [f"pause NetworkMode {pause.network_mode}"]
    found += [f"{item.name} NetworkMode {_short(item)} in {item.netns}" for item in members]
    return same_set(expected, found)


def _short(container: Container) -> str:
    kind, colon, target = container.network_mode.partition(":")
    return kind + colon + target[:12]


def each_pod(context: Context, decide: Callable[[Pod, Namespace], Finding]) -> Iterator[tuple[str, Finding]]:
    for pod in context.pods:
        pause = context.state.sandbox(pod.full_name)
        if pause is None:
            yield pod.full_name, Finding(False, "a pause container", "none")
        elif pause.network is None:
            yield pod.full_name, Finding(False, "a network namespace of its own", f"NetworkMode {pause.network_mode}")
        else:
            yield pod.full_name, decide(pod, pause.network)
