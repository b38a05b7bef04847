"""Causes in what has to run: the container runtime, kubelet, the control plane, and pods of kube-system. Pure."""

import json
import shlex
from collections.abc import Iterable, Iterator

from kubeproof.config.tables import paths
from kubeproof.doctor.diagnosis import Case, Follows, cause, cause_on_node
from kubeproof.doctor.evidence import Evidence
from kubeproof.proof.probes import TITLES
from kubeproof.rules.api import Pod
from kubeproof.rules.context import Context
from kubeproof.rules.membership import (
    containers_paused,
    control_plane_healthy,
    kube_proxy_ready,
    kubelet_healthy,
    network_agent_ready,
    network_agents,
    proxies,
    refuses_itself,
)
from kubeproof.rules.repair import kill_containers, unit
from kubeproof.rules.result import CheckResult, Remedy
from kubeproof.rules.rule import KUBECTL
from kubeproof.state.node import CONTROL_PLANE

NODES_ROWS = (
    *("routes-to-other-nodes", "routes-by-nodes", "routes-to-blocks", "route-to-flanneld"),
    *("arp-entries", "fdb-entries"),
)
"""Checks that ask the API about the other nodes, too."""
ROWS_OF_KUBELET = (
    *("kubelet-healthy", "kubelet-reached", "node-ready", "network-agent-ready", "control-plane-healthy"),
    "kube-proxy-ready",
    *("pod-addresses", "pod-default-routes", "pod-veths", "pod-namespaces", "pod-single-addresses"),
)
"""Checks that fail for want of a kubelet, sooner or later."""
SERVICE_ROWS = (
    *("service-chains", "service-endpoints", "node-ports", "service-masquerade"),
    *("ipvs-addresses", "ipvs-servers", "ipvs-sets", "ipvs-masquerade"),
    *("nft-services", "nft-endpoints", "nft-node-ports", "nft-masquerade"),
)
"""Of kube-proxy in each of its modes."""
ROWS_OF_ENDPOINTS = ("endpoints-current", "service-by-address", "service-by-name", "node-port")
"""What fails when a pod gets another address and nobody tells its Services."""
NAME_ROWS = ("service-by-name", "dns-names", "dns-reverse")
POD_ROWS = ROWS_OF_KUBELET[6:]


@cause_on_node(
    "the container runtime runs",
    symptom="the node is NotReady, and its pods are gone",
    meaning="without its container runtime a node runs nothing: no pods, and no kubelet for long",
    outsiders=True,
    follows=Follows(here=("*",), hides=("*",)),
)
def container_runtime_stopped(evidence: Evidence, context: Context) -> Case | None:
    """By systemd's word."""
    state, runtime = context.state.runtime, context.cluster.settings.container_runtime
    if state == "active" or not context.state.joined:
        return None
    return Case(context.node.name, (f"{runtime} is {state}",), (Remedy(context.node.name, unit(runtime, "start")),))


@cause(
    "each host of the inventory is a node of the cluster",
    symptom="a host of the inventory is no node",
    meaning="the host has not joined the cluster, or its node object was deleted; nothing that is said of a node "
    "holds for it until it does",
    follows=Follows(here=("*",), everywhere=NODES_ROWS),
)
def not_joined(evidence: Evidence) -> Iterator[Case]:
    """By its own files, and by the API."""
    for context in evidence.snapshot.contexts():
        host, name = context.state, context.node.name
        if evidence.is_member(context) or host.runtime != "active":
            continue
        if not host.joined:
            yield Case(name, ("has not joined the cluster",), (evidence.applying(name),))
        elif not host.token_ids:
            seen = f"it has {paths.KUBELET_CONF}, but the API has no node {name}: kubelet registers it when it starts"
            yield Case(name, (seen,), (Remedy(name, "systemctl restart kubelet"),))
        else:
            seen = "an attempt to join was not finished: the API has no such node"
            yield Case(name, (seen,), (evidence.applying(name),))


@cause_on_node(
    containers_paused,
    outsiders=True,
    follows=Follows(here=("*",), everywhere=("api", *NODES_ROWS, *SERVICE_ROWS), hides=("*",)),
)
def paused(_: Evidence, context: Context) -> Case | None:
    """It comes before all others: what is held still makes much else fail."""
    row = containers_paused.check(context)
    return None if row.ok else Case(context.node.name, tuple(row.found.splitlines()), row.remedies)


@cause_on_node(
    control_plane_healthy,
    follows=Follows(
        here=("control-plane-healthy", "pod-namespaces", "api"), everywhere=ROWS_OF_ENDPOINTS, traffic=False
    ),
)
def control_plane_down(evidence: Evidence, context: Context) -> Case | None:
    """By their health ports; why, from the host's own logs, since the API may be what is silent."""
    if context.node.role != "control-plane":
        return None
    result = control_plane_healthy.check(context)
    if result.ok or _kubelet_down(context) or refuses_itself(context):
        return None
    host = context.state
    down = [name for name in CONTROL_PLANE if any(line.startswith(f"{name}: ") for line in result.found.splitlines())]
    running = {item.name for item in context.state.containers}
    seen, remedies = [], []
    # What runs and does not answer waits for what does not run, if there is something.
    for name in [name for name in down if name not in running] or down[:1]:
        said = host.last_lines.get(name, "")
        last = f", its last line: {said}" if said else ""
        if name not in host.manifests:
            seen.append(f"{name} does not run: {paths.KUBERNETES}/manifests/{name}.yaml is missing")
        else:
            seen.append(f"{name} runs and does not answer ok" if name in running else f"{name} does not run{last}")
        phase = "etcd local" if name == "etcd" else f"control-plane {name.removeprefix('kube-')}"
        remedies.append(f"kubeadm init phase {phase} --config {paths.INIT_CONFIG} >/dev/null")
        # One that crashes again and again runs at times: it needs its manifest as well.
        remedies += [kill_containers(context, name)] if name in running else []
    seen += result.found.splitlines()
    return Case(context.node.name, tuple(seen), (Remedy(context.node.name, " && ".join(remedies)),))


def _kubelet_down(context: Context) -> bool:
    return context.state.kubelet is not None and not context.state.kubelet.is_healthy


@cause_on_node(kubelet_healthy, follows=Follows(here=ROWS_OF_KUBELET, traffic=False))
def kubelet_stopped(evidence: Evidence, context: Context) -> Case | None:
    """Its health port, and what it said last."""
    kubelet = context.state.kubelet
    if kubelet is None or kubelet.is_healthy or (kubelet.state == "active" and refuses_itself(context)):
        return None
    words = context.state.kubelet_words
    seen = (f"kubelet is {kubelet.state}, and answers {kubelet.health or 'nothing'}", *([words] if words else []))
    if words and kubelet.state == "activating":
        look = evidence.snapshot.line(context.node.name, "journalctl -u kubelet --no-pager -n 30")
        return Case(context.node.name, seen, (), look)
    return Case(context.node.name, seen, (Remedy(context.node.name, unit("kubelet", "restart")),))


# Pods of kube-system --------------------------------------------------------------------------------------------------

DNS_DEPLOYMENTS = ("coredns", "kube-dns")
"""kubeadm's, by the type that its configuration names."""
CALICO_ROWS = ("felix-chains", "felix-first")
AGENTS_ROWS = (
    *("network-agent-ready", "node-ready", "cni-order", "subnet-env", "subnet-of-node-object"),
    *("flannel-device", "flannel-address", "ipip-device", "tun-device", "cni-mtu", *NODES_ROWS),
    *("forward-accepts", "forward-verdicts"),
    *("postrouting-order", "postrouting-verdicts", "policies-in-force", *CALICO_ROWS, *POD_ROWS, "cni0-address"),
    *("route-to-own-pods", "routes-to-pods", "calico-links", "pod-link-local-gateways"),
)


@cause(network_agent_ready, follows=Follows(here=AGENTS_ROWS, hides=("policies-in-force", "udp-path")))
def network_pods_down(evidence: Evidence) -> Iterator[Case]:
    """And why: kubelet's word by the API, the last warning about them, the last line that they logged."""
    network = evidence.snapshot.loaded.cluster.settings.network
    for context in _members(evidence):
        row = network_agent_ready.check(context)
        if row.ok or _kubelet_down(context):
            continue
        if isinstance(context.objects, str):
            yield from _without_agent(evidence, context)
        elif pods := network_agents(context):
            yield _not_running(evidence, context, row, pods, network.agent.container)
        else:
            yield _without_pod(evidence, context)


def _without_pod(evidence: Evidence, context: Context) -> Case:
    """`apply` makes the DaemonSet what its manifest says, but leaves what the manifest does not name."""
    network, node = context.cluster.settings.network, context.node.name
    seen = [f"there is no pod of {network.name} on {node}"]
    patches = []
    for namespace in network.agent.namespaces:
        name = network.agent.daemon_set
        if keys := evidence.control_plane.added_selectors.get(f"{namespace}/{name}"):
            seen.append(f"the DaemonSet {namespace}/{name} selects nodes by {', '.join(keys)}, its manifest does not")
            # A merge patch takes out what is null, and may be repeated: each node without the agent tells it.
            selector = {"nodeSelector": dict.fromkeys(keys)}
            removal = json.dumps({"spec": {"template": {"spec": selector}}})
            patches.append(f"{KUBECTL} -n {namespace} patch daemonset {name} --type merge -p {shlex.quote(removal)}")
    if patches:
        return Case(node, tuple(seen), (Remedy(context.cluster.leader.name, " && ".join(patches)),))
    return Case(node, tuple(seen), (evidence.applying(node),))


def _without_agent(evidence: Evidence, context: Context) -> Iterator[Case]:
    """By the host's own containers and logs, since the API is silent."""
    name, state = context.cluster.settings.network.agent.container, context.state
    running = {item.name for item in state.containers}
    if "containers" in state.unreadable or name not in state.last_lines or name in running:
        return
    seen = (f"no container {name} runs here", f"the last line of {name}: {state.last_lines[name]}")
    look = evidence.snapshot.line(context.node.name, f"tail -n 20 /var/log/pods/*/{name}/*.log")
    yield Case(context.node.name, seen, (), look)


def _members(evidence: Evidence) -> Iterable[Context]:
    return (context for context in evidence.snapshot.contexts() if evidence.is_member(context))


def _not_running(evidence: Evidence, context: Context, row: CheckResult, pods: list[Pod], container: str) -> Case:
    seen = list(_reasons(evidence, context, pods, container))
    text = " ".join(seen)
    name = context.node.name
    if "/sys/fs/bpf" in text:
        mount = "mkdir -p /sys/fs/bpf && mount -t bpf bpf /sys/fs/bpf"
        return Case(name, tuple(seen), (Remedy(name, mount),))
    return Case(name, tuple(seen), row.remedies, "" if row.remedies else _described(evidence, pods[0]))


def _reasons(evidence: Evidence, context: Context, pods: list[Pod], container: str) -> Iterator[str]:
    for pod in pods:
        yield f"{pod.full_name} is {pod.phase or 'in no phase'}, {'ready' if pod.ready else 'not ready'}"
        yield from [pod.trouble] if pod.trouble else []
        event = evidence.control_plane.events.get(pod.full_name)
        yield from [event] if event else []
    told = [pod.trouble.removeprefix("container ").partition(":")[0] for pod in pods if pod.trouble]
    container = next(iter(told), container)
    line = context.state.last_lines.get(container)
    yield from [f"the last line of {container}: {line}"] if line else []


def _described(evidence: Evidence, pod: Pod) -> str:
    leader = evidence.snapshot.loaded.cluster.leader.name
    return evidence.snapshot.line(leader, f"{KUBECTL} -n {pod.namespace} describe pod {pod.name}")


@cause(kube_proxy_ready, follows=Follows(here=("kube-proxy-ready", *SERVICE_ROWS)))
def kube_proxy_down(evidence: Evidence) -> Iterator[Case]:
    for context in _members(evidence):
        row = kube_proxy_ready.check(context)
        if isinstance(context.objects, str) or row.ok or _kubelet_down(context):
            continue
        if pods := proxies(context):
            yield _not_running(evidence, context, row, pods, "kube-proxy")
            continue
        wanted = evidence.control_plane.workloads.get("DaemonSet/kube-system/kube-proxy")
        if wanted is None:
            remedy = f"kubeadm init phase addon kube-proxy --config {paths.INIT_CONFIG} >/dev/null"
            seen = "there is no DaemonSet kube-system/kube-proxy"
        else:
            remedy = f"{KUBECTL} -n kube-system patch daemonset kube-proxy --type json -p {shlex.quote(_ANY_LINUX)}"
            seen = f"the DaemonSet kube-proxy wants {wanted} pods, none on {context.node.name}"
        yield Case(context.node.name, (seen,), (Remedy(evidence.snapshot.loaded.cluster.leader.name, remedy),))


_ANY_LINUX = '[{"op":"replace","path":"/spec/template/spec/nodeSelector","value":{"kubernetes.io/os":"linux"}}]'
"""kubeadm's own node selector of kube-proxy (cmd/kubeadm/app/phases/addons/proxy/manifests.go)."""


@cause(
    "a pod answers behind the Service kube-dns",
    symptom="pods resolve no names",
    meaning="no pod answers behind the Service kube-dns, so no name of the cluster or of others is resolved",
    follows=Follows(everywhere=NAME_ROWS, traffic=False),
)
def cluster_dns_down(evidence: Evidence) -> Iterator[Case]:
    objects, leader = evidence.snapshot.objects, evidence.snapshot.loaded.cluster.leader.name
    if isinstance(objects, str) or not evidence.fails(*NAME_ROWS):
        return
    service = objects.service("kube-system/kube-dns")
    pods = [pod for pod in objects.pods if pod.labels.get("k8s-app") == "kube-dns"]
    wanted = evidence.control_plane.workloads
    deployment = next((name for name in DNS_DEPLOYMENTS if f"Deployment/kube-system/{name}" in wanted), "coredns")
    replicas = wanted.get(f"Deployment/kube-system/{deployment}")
    if service is not None and any(objects.backends(service, port) for port in service.ports):
        return
    if service is None or replicas is None:
        what = "Service kube-system/kube-dns" if service is None else f"Deployment kube-system/{deployment}"
        anew = Remedy(leader, f"kubeadm init phase addon coredns --config {paths.INIT_CONFIG} >/dev/null")
        if evidence.snapshot.loaded.cluster.settings.cluster_dns != "coredns":
            anew = Remedy(leader, evidence.apply, "here")
        yield Case(leader, (f"there is no {what}",), (anew,))
    elif replicas == 0:
        remedy = f"{KUBECTL} -n kube-system scale deployment {deployment} --replicas=2"
        yield Case(leader, (f"the Deployment kube-system/{deployment} has 0 replicas",), (Remedy(leader, remedy),))
    elif pods:
        seen = list(_reasons(evidence, evidence.snapshot.contexts()[0], pods, deployment))
        remedy = f"{KUBECTL} -n kube-system rollout restart deployment {deployment}"
        troubled = any(pod.trouble for pod in pods)
        yield Case(leader, tuple(seen), () if troubled else (Remedy(leader, remedy),), _described(evidence, pods[0]))


@cause(
    "the demo's pods and Services are there, on two nodes at least",
    symptom="the proof has nobody to send packets from, or to",
    meaning="the demo's pods are what the proof's probes run in; without them nothing is known of packets between pods",
    follows=Follows(everywhere=tuple(TITLES), traffic=False),
)
def demo_down(evidence: Evidence) -> Iterator[Case]:
    """Whatever of it is missing, `apply` brings it back and spreads it."""
    lacking = {row.found for row in evidence.failing if row.name in TITLES and row.found.startswith(LACKING)}
    if lacking and not isinstance(evidence.snapshot.objects, str):
        leader = evidence.snapshot.loaded.cluster.leader.name
        pods = [pod for pod in evidence.snapshot.objects.pods if pod.labels.get("app") == "kuard" and not pod.ready]
        seen = [*sorted(lacking), *(f"{pod.full_name}: {pod.trouble}" for pod in pods if pod.trouble)]
        yield Case(leader, tuple(seen), (evidence.applying(leader),))


LACKING = ("no pod of the Deployment default/kuard is ready", "there is no Service", "all demo pods are on one node")
