"""Checks of a node as a member of its cluster: kubelet, the pod network's agent, identity, clock."""

import statistics
from collections.abc import Iterator, Sequence

from kubeproof.networks.artifacts import CONFIGURATION_ENDINGS, CONFIGURATIONS
from kubeproof.node import paths
from kubeproof.proof.api import Pod
from kubeproof.proof.context import Context, Finding, UndecidedError, check, same
from kubeproof.state.hostfiles import Identity
from kubeproof.state.node import CONTROL_PLANE

CLOCK_SECONDS = 30
"""Apart from the others' clocks. Nodes are read within seconds of each other, and certificates and tokens, which are
what a wrong clock breaks, live for minutes at least (kubernetes#42791)."""
WELL = ("ok", '{"health":"true"}')
MANIFESTS = f"{paths.KUBERNETES}/manifests"


@check("kubelet answers at its health port", needs=("kubelet",), look="journalctl -u kubelet --no-pager -n 30")
def kubelet_healthy(context: Context) -> Finding:
    """Sooner than the API, which calls a node NotReady 40 seconds after kubelet's last word."""
    kubelet = context.state.kubelet
    if kubelet is None:
        raise UndecidedError("kubelet was not asked")
    found = f"kubelet is {kubelet.state or 'unknown to systemd'}, and answers {kubelet.health or 'nothing'}"
    return Finding(kubelet.is_healthy, "kubelet is active, and answers ok", found)


@check(
    "the control plane's parts answer at their health ports",
    needs=("control_plane",),
    look=lambda context: f"ls {MANIFESTS}; {context.cluster.settings.runtime.look}",
)
def control_plane_healthy(context: Context) -> Finding:
    """Without one of them what is there goes on, but nothing new is scheduled, repaired or known."""
    if context.node.role != "control-plane":
        return Finding(True, "a worker has none", "a worker has none")
    answers = {name: context.state.control_plane.get(name, "was not asked") for name in CONTROL_PLANE}
    wrong = [f"{name}: {answer or 'nothing'}" for name, answer in answers.items() if not answer.startswith(WELL)]
    return Finding(not wrong, f"{', '.join(CONTROL_PLANE)} answer ok", "\n".join(wrong) or "all answer ok")


@check(
    "the control plane reaches this node's kubelet, by which logs and exec go",
    look="ss -ltnp 'sport = :10250'; nft list ruleset | grep -n 10250",
)
def kubelet_reached(context: Context) -> Finding:
    """As the API server asks it: from the control plane host, at port 10250, with the API server's certificate."""
    found = context.api.kubelets.get(context.node.name)
    if found is None:
        raise UndecidedError("the control plane host did not ask it")
    return Finding(found == "ok 200", "ok 200", found)


@check(
    "the pod network's agent is ready on this node",
    look=lambda context: context.cluster.settings.runtime.look,
)
def network_agent_ready(context: Context) -> Finding:
    """Without it what is there stays, but nothing that changes in the cluster reaches this node."""
    pods = network_agents(context)
    found = [f"{pod.full_name} is {pod.phase}{', ready' if pod.ready else ', not ready'}" for pod in pods]
    return Finding(
        any(pod.ready and pod.is_running for pod in pods),
        f"a ready pod of {context.cluster.settings.cni}",
        ", ".join(found) or "none",
    )


@check(
    "kube-proxy is ready on this node",
    look=lambda context: context.cluster.settings.runtime.look,
)
def kube_proxy_ready(context: Context) -> Finding:
    """Without it the rules for Services stay as they are, while pods come and go."""
    found = [f"{pod.full_name} is {pod.phase}{', ready' if pod.ready else ', not ready'}" for pod in proxies(context)]
    return Finding(
        any(pod.ready and pod.is_running for pod in proxies(context)), "a ready pod of it", ", ".join(found) or "none"
    )


def proxies(context: Context) -> list[Pod]:
    """kube-proxy's pods on this node (kubeadm, addons/proxy/manifests.go)."""
    here = (pod for pod in context.api.pods if pod.node == context.node.name)
    return [pod for pod in here if pod.labels.get("k8s-app") == "kube-proxy"]


def network_agents(context: Context) -> list[Pod]:
    """The pods of the pod network's DaemonSet on this node."""
    label, value = context.cluster.settings.network.agent.label
    return [pod for pod in context.api.pods if pod.node == context.node.name and pod.labels.get(label) == value]


@check(
    "the pod network's configuration is the first by name, the one that kubelet takes",
    needs=("cni_files",),
    look=f"ls {CONFIGURATIONS}",
)
def cni_configuration(context: Context) -> Finding:
    """A file of an earlier network that comes before it is used instead (kubernetes#107127)."""
    names = configurations(context.state.cni_files)
    return same(context.cluster.settings.network.conflist, names[0] if names else None)


def configurations(names: Sequence[str]) -> list[str]:
    """Those that kubelet and container runtimes take for CNI configurations, in their order."""
    return sorted(name for name in names if name.endswith(CONFIGURATION_ENDINGS))


@check(
    "hostname, machine-id and product_uuid are of no other node",
    needs=("identity",),
    look="hostname; cat /etc/machine-id /sys/class/dmi/id/product_uuid",
)
def unique_identity(context: Context) -> Finding:
    """Two nodes with one identity become one, or fight (kubeadm#31). Containers have their machine's product_uuid."""
    own = context.state.identity
    if not own.hostname:
        raise UndecidedError("what identifies the node was not read")
    others = [(node.name, context.states[node.name].identity) for node in context.others if node.name in context.states]
    wrong = [line for name, other in others for line in in_common(own, name, other)]
    return Finding(not wrong, "values of its own", "\n".join(wrong) or "values of its own")


def in_common(own: Identity, name: str, other: Identity) -> Iterator[str]:
    """A line for each value that two nodes share."""
    if own.hostname == other.hostname:
        yield f"hostname {own.hostname} is that of {name} too"
    if own.machine_id and own.machine_id == other.machine_id:
        yield f"machine-id {own.machine_id} is that of {name} too"
    if own.product_uuid and own.product_uuid == other.product_uuid and not (own.container or other.container):
        yield f"product_uuid {own.product_uuid} is that of {name} too"


@check(f"the clock is within {CLOCK_SECONDS} seconds of the other nodes'", needs=("clock",), look="date --utc")
def clock(context: Context) -> Finding:
    """A node whose clock is off sees tokens as expired and certificates as not yet valid."""
    offset = clock_offset(context)
    return Finding(
        abs(offset) <= CLOCK_SECONDS,
        f"at most {CLOCK_SECONDS} seconds off",
        f"{abs(offset):.0f} seconds {'ahead of' if offset > 0 else 'behind'} the others",
    )


def clock_offset(context: Context) -> float:
    """Seconds by which the clock is ahead of the median; of two nodes the control plane's is the one that counts."""
    own, read = context.state.clock, {name: state.clock for name, state in context.states.items()}
    if own is None:
        raise UndecidedError("the node's clock was not read")
    known = [value for value in read.values() if value is not None]
    leader = read.get(context.cluster.leader.name)
    return own - (leader if len(known) == 2 and leader is not None else statistics.median(known))


MEMBERSHIP_CHECKS = (
    kubelet_healthy,
    control_plane_healthy,
    kubelet_reached,
    network_agent_ready,
    kube_proxy_ready,
    cni_configuration,
    unique_identity,
    clock,
)
