"""Rules of a node as a member of its cluster: kubelet, the control plane, and the agents that every node has. Pure."""

import shlex
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Interface

from kubeproof.config.tables import paths
from kubeproof.networks.artifacts import CONFIGURATION_ENDINGS, CONFIGURATIONS
from kubeproof.rules.api import Pod
from kubeproof.rules.context import Context, UndecidedError
from kubeproof.rules.repair import agent_restart, restart_agent, unit
from kubeproof.rules.result import Outcome, same
from kubeproof.rules.rule import KUBECTL, rule
from kubeproof.state.collector import CTR
from kubeproof.state.hostfiles import SUBNET_ENV, SubnetEnv
from kubeproof.state.node import CONTROL_PLANE

WELL = ("ok", '{"health":"true"}')
MANIFESTS = f"{paths.KUBERNETES}/manifests"
KUBELETS_LOG = "journalctl -u kubelet --no-pager -n 30"


def _runtimes_look(context: Context) -> str:
    return context.cluster.settings.runtime.look


@rule(
    "the API says that the node is Ready",
    meaning="nothing new is scheduled on the node, and what is there is moved away after five minutes",
    look=KUBELETS_LOG,
)
def node_ready(context: Context) -> Outcome:
    """Kubelet's own word, by the API."""
    found = context.node_object(context.node.name)
    why = "" if found.ready == "True" else f" ({found.ready_message})"
    return Outcome(found.ready == "True", "Ready=True", f"Ready={found.ready}{why}")


RESUME = {"docker": "docker unpause", "containerd": f"{CTR} tasks resume"}
FAMILIAR = 12
"""Digits of a container's id that its runtime shows."""


def _resume(context: Context, _: Outcome) -> Iterator[str]:
    ids = " ".join(item.id for item in context.state.paused)
    one = RESUME[context.cluster.settings.container_runtime]
    yield f"for id in {ids}; do {one} $id; done" if " " in ids else f"{one} {ids}"


@rule(
    "no container of a pod is paused",
    symptom="something of the cluster hangs, and no container has ended",
    meaning="the runtime holds containers of pods still; their connections are open and nobody answers",
    needs=("paused",),
    look=_runtimes_look,
    remedies=_resume,
)
def containers_paused(context: Context) -> Outcome:
    """Somebody debugged, or made a backup, and did not come to the end of it."""
    found = [f"{item.name} of {item.pod} is paused ({item.id[:FAMILIAR]})" for item in context.state.paused]
    return Outcome(not found, "none", "\n".join(found) or "none")


def refuses_itself(context: Context) -> bool:
    """Whether nobody on the host is answered, since a policy drops what no rule accepts, the host's own packets too."""
    ruleset = context.state.iptables
    devices = {
        "INPUT": [rule.in_interface for rule in ruleset.rules("filter", "INPUT") if rule.target == "ACCEPT"],
        "OUTPUT": [rule.out_interface for rule in ruleset.rules("filter", "OUTPUT") if rule.target == "ACCEPT"],
    }
    return any(
        ruleset.is_closed(name) and not any(match is not None and match.value == "lo" for match in accepted)
        for name, accepted in devices.items()
    )


def _restart_kubelet(context: Context, _: Outcome) -> Iterator[str]:
    if not refuses_itself(context):
        yield unit("kubelet", "restart")


@rule(
    "kubelet answers at its health port",
    symptom="the node is NotReady, pods of it are neither started nor stopped",
    meaning="kubelet does not run or does not answer; what it started goes on without it",
    needs=("kubelet",),
    look=KUBELETS_LOG,
    remedies=_restart_kubelet,
)
def kubelet_healthy(context: Context) -> Outcome:
    """Sooner than the API, which calls a node NotReady 40 seconds after kubelet's last word."""
    kubelet = context.state.kubelet
    if kubelet is None:
        raise UndecidedError("kubelet was not asked")
    found = f"kubelet is {kubelet.state or 'unknown to systemd'}, and answers {kubelet.health or 'nothing'}"
    return Outcome(kubelet.is_healthy, "kubelet is active, and answers ok", found)


@rule(
    "the control plane's parts answer at their health ports",
    symptom="the API does not answer, or nothing new is scheduled, repaired or known",
    meaning="a part of the control plane does not run: kubelet starts it from its manifest, and starts it again with "
    "growing pauses when it ends",
    needs=("control_plane",),
    look=lambda context: f"ls {MANIFESTS}; {_runtimes_look(context)}",
)
def control_plane_healthy(context: Context) -> Outcome:
    if context.node.role != "control-plane":
        return Outcome(True, "a worker has none", "a worker has none")
    answers = {name: context.state.control_plane.get(name, "was not asked") for name in CONTROL_PLANE}
    wrong = [f"{name}: {answer or 'nothing'}" for name, answer in answers.items() if not answer.startswith(WELL)]
    return Outcome(not wrong, f"{', '.join(CONTROL_PLANE)} answer ok", "\n".join(wrong) or "all answer ok")


@rule(
    "the control plane reaches this node's kubelet",
    meaning="kubectl logs, exec and port-forward fail for all pods of the node",
    look="ss -ltnp 'sport = :10250'; nft list ruleset | grep -n 10250",
)
def kubelet_reached(context: Context) -> Outcome:
    """As the API server asks it: from the control plane host, at port 10250, with the API server's certificate."""
    found = context.api.kubelets.get(context.node.name)
    if found is None:
        raise UndecidedError("the control plane host did not ask it")
    return Outcome(found == "ok 200", "ok 200", found)


def _ready(pods: Sequence[Pod], what: str) -> Outcome:
    found = [f"{pod.full_name} is {pod.phase}{', ready' if pod.ready else ', not ready'}" for pod in pods]
    ok = any(pod.ready and pod.is_running for pod in pods)
    return Outcome(ok, f"a ready pod of {what}", ", ".join(found) or "none")


def _delete(pods: Sequence[Pod]) -> Iterator[str]:
    for pod in pods:
        if not pod.trouble:  # which says why, and starting it anew would end in the same way
            yield f"{KUBECTL} -n {pod.namespace} delete pod {pod.name} --force --grace-period=0 --ignore-not-found"


@rule(
    "the pod network's agent is ready on this node",
    symptom="nodes stay NotReady, pods get no address, or what changes in the cluster does not reach a node",
    meaning="the pods of the pod network do not run; everything that they set is missing or not kept up to date",
    references="flannel#728 kubernetes#48798",
    look=_runtimes_look,
    remedies=lambda context, _: _delete(network_agents(context)),
)
def network_agent_ready(context: Context) -> Outcome:
    """Without it what is there stays, but nothing that changes in the cluster reaches this node."""
    return _ready(network_agents(context), context.cluster.settings.cni)


@rule(
    "kube-proxy is ready on this node",
    symptom="Services lead to pods that are gone, or nowhere",
    meaning="kube-proxy does not run on the node: its rules for Services stay as they are, while pods come and go",
    look=_runtimes_look,
    remedies=lambda context, _: _delete(proxies(context)),
)
def kube_proxy_ready(context: Context) -> Outcome:
    return _ready(proxies(context), "kube-proxy")


def proxies(context: Context) -> list[Pod]:
    """kube-proxy's pods on this node (kubeadm, addons/proxy/manifests.go)."""
    return _labelled(context, "k8s-app", "kube-proxy")


def network_agents(context: Context) -> list[Pod]:
    """The pods of the pod network's DaemonSet on this node."""
    return _labelled(context, *context.cluster.settings.network.agent.label)


def _labelled(context: Context, label: str, value: str) -> list[Pod]:
    return [pod for pod in context.api.pods if pod.node == context.node.name and pod.labels.get(label) == value]


# What the agent leaves for kubelet and CNI plugins --------------------------------------------------------------------


def configurations_before(names: Sequence[str], ours: str) -> list[str]:
    """Configurations in /etc/cni/net.d that kubelet takes rather than the pod network's own, in its order."""
    return sorted(name for name in names if name < ours and name.endswith(CONFIGURATION_ENDINGS))


def _remove_configurations(context: Context, _: Outcome) -> Iterator[str]:
    if before := configurations_before(context.state.cni_files, context.cluster.settings.network.conflist):
        yield f"rm {shlex.join(f'{CONFIGURATIONS}/{name}' for name in before)}"
    else:
        yield agent_restart(context)


@rule(
    "the pod network's configuration is the first by name, the one that kubelet takes",
    symptom="the old pod network is still in use after a switch: new pods get its addresses, or none",
    meaning="of the files in /etc/cni/net.d the first by name is taken, and it is not the network's own",
    references="kubernetes#107127 flannel#1608",
    needs=("cni_files",),
    before_deploy="error",
    look=f"ls {CONFIGURATIONS}",
    remedies=_remove_configurations,
)
def cni_order(context: Context) -> Outcome:
    ours, names = context.cluster.settings.network.conflist, context.state.cni_files
    first = [*configurations_before(names, ours), *(name for name in names if name == ours)]
    return same(ours, first[0] if first else None)


@rule(
    f"{SUBNET_ENV} holds pod CIDR, first address of S, MTU and masquerading",
    meaning="CNI plugins read this file for each new pod: without it none starts, with another one it gets wrong "
    "addresses or an MTU that loses packets",
    needs=("subnet_env", "network"),
    look=f"cat {SUBNET_ENV}",
    remedies=restart_agent,
)
def subnet_env(context: Context) -> Outcome:
    """The file that the agent leaves for CNI plugins."""
    first = IPv4Interface((context.gateway, context.subnet.prefixlen))
    expected = SubnetEnv(context.cluster.settings.pod_cidr, first, context.network_mtu, masquerade=True)
    return same(expected, context.state.subnet_env)


@rule(
    "the subnet in subnet.env is the podCIDR of the node object, and a part of the pod CIDR",
    meaning="pods get addresses that the other nodes have routes for to somewhere else",
    needs=("subnet_env",),
    look=f"cat {SUBNET_ENV}; hostname",
    remedies=restart_agent,
)
def subnet_of_node_object(context: Context) -> Outcome:
    """S equals .spec.podCIDR, lies in the cluster's pod CIDR, has the node mask and belongs to no other node."""
    if context.state.subnet_env is None:
        raise UndecidedError(f"there is no {SUBNET_ENV}")
    settings = context.cluster.settings
    found = context.state.subnet_env.subnet.network
    inside = found.subnet_of(settings.pod_cidr) and found.prefixlen == settings.pod_subnet_bits
    sharing = [node.name for node in context.api.nodes if node.pod_cidr == found and node.name != context.node.name]
    return Outcome(
        found == context.subnet and inside and not sharing,
        f"{context.subnet} (podCIDR of {context.node.name}), a /{settings.pod_subnet_bits} of {settings.pod_cidr}",
        str(found) + (f", which is also the podCIDR of {', '.join(sharing)}" if sharing else ""),
    )
