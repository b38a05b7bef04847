"""Reports of clusters that are whole, broken, and large."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from typing import Any
from unittest.mock import patch

from kubeproof.policy import reading
from kubeproof.policy.model import Namespace, World
from kubeproof.policy.model import Pod as PolicyPod
from kubeproof.proof.probes import TITLES
from kubeproof.proof.proving import checks
from kubeproof.proof.report import TITLES_BY_NAME, Report, ordered
from kubeproof.proof.snapshot import Snapshot
from kubeproof.rules.api import ApiObjects
from kubeproof.rules.result import CheckResult, Remedy, Status
from kubeproof.trace.model import Direction, End, Hop, Outcome, Packet, Place, Prediction, Start, Walk
from tests.unit.proof import good

TAKEN_AT = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
INFO = {
    "kubeletVersion": "v1.20.2",
    "kubeProxyVersion": "v1.20.2",
    "containerRuntimeVersion": "docker://20.10.24",
    "osImage": "Debian GNU/Linux 12 (bookworm)",
    "kernelVersion": "6.1.0-18-amd64",
    "architecture": "amd64",
}
PKI = "/etc/kubernetes/pki/"
POLICIES: tuple[dict[str, Any], ...] = (
    {"name": "deny-all", "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}},
    {
        "name": "web-from-clients",
        "spec": {
            "podSelector": {"matchLabels": {"app": "web"}},
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "client"}}}], "ports": [{"port": 8080}]}],
        },
    },
)


def objects(api: ApiObjects) -> ApiObjects:
    """With what kubelet tells of nodes, and with policies for pods of two kinds."""
    own = [pod for pod in api.pods if not pod.host_network]
    pods = [
        PolicyPod(pod.namespace, pod.name, {"app": "client" if number == 0 else "web"}, pod.ip, pod.node)
        for number, pod in enumerate(own)
    ]
    return replace(api, nodes=tuple(replace(node, info=INFO) for node in api.nodes), world=world(*pods))


def world(*pods: PolicyPod, policies: tuple[dict[str, Any], ...] = POLICIES) -> World:
    made = [
        {
            "apiVersion": "networking.k8s.io/v1",
            "kind": "NetworkPolicy",
            "metadata": {"name": policy["name"], "namespace": "default"},
            "spec": policy["spec"],
        }
        for policy in policies
    ]
    return World.of([Namespace("default")], pods, reading.read_documents(made, "sample").policies)


def snapshot(**changes: Any) -> Snapshot:
    ends = {f"{PKI}apiserver.crt": TAKEN_AT + timedelta(days=364), f"{PKI}etcd/server.crt": TAKEN_AT + timedelta(9)}
    states = {name: replace(good.state(name), certificates={} if name != "node-a" else ends) for name in good.NAMES}
    return good.snapshot(**({"states": states, "objects": objects(good.api())} | changes))


def report(made: Snapshot, *changed: CheckResult) -> Report:
    """Checks as they come out, and probes that hold, but for those that are given."""
    names = [node.name for node in made.loaded.cluster.nodes]
    probes = [
        CheckResult(node, name, Status.HOLDS, "HTTP 200", "HTTP 200", "true") for name in TITLES for node in names
    ]
    results = {(item.name, item.node): item for item in (*checks(made), *probes, *changed)}
    return Report(made, ordered(list(results.values()), made.loaded.cluster), TAKEN_AT, 4.2)


def whole() -> Report:
    return report(snapshot())


def broken() -> Report:
    """One node cannot be reached; the other has no tunnel, no address on a pod, and none of its probes works."""
    state = good.state("node-b")
    links = tuple(link for link in state.network.links if link.name != "flannel.1")
    containers = tuple(
        replace(item, network=replace(item.network, addresses=())) if item.network and item.pod.endswith("b2") else item
        for item in state.containers
    )
    state = replace(state, network=replace(state.network, links=links), containers=containers, fdb=())
    reason = "connect to host 10.99.0.13 port 22: No route to host; start the node, or take it out of the inventory"
    made = snapshot(states={"node-a": good.state("node-a"), "node-b": state}, unreachable={"node-c": reason})
    lost = [result("node-b", name, Status.FAILS) for name in ("pod-to-pod-other-node", "path-mtu")]
    return report(made, *lost, result("node-a", "pod-to-pod-other-node", Status.BROKEN))


def many() -> Report:
    """Ten nodes with many pods; rows of the proof hold but for some."""
    names = tuple(f"node-{letter}" for letter in "abcdefghij")
    pods = {name: tuple(range(2, 2 + number * 2)) for number, name in enumerate(names)}
    with patch.multiple(good, NAMES=names, POD_INDICES=pods):
        made = snapshot()
        every = [result(node, name) for node in names for name in TITLES_BY_NAME if name != "api"]
    bad = {("node-d", "fdb-entries"), ("node-d", "arp-entries"), ("node-g", "ip-forward"), ("node-h", "pod-veths")}
    results = [replace(item, status=Status.FAILS) if (item.node, item.name) in bad else item for item in every]
    return Report(made, ordered(results, made.loaded.cluster), TAKEN_AT, 4.2)


def result(node: str, name: str, status: Status = Status.HOLDS) -> CheckResult:
    remedies = (Remedy(node, "systemctl restart kubelet"),) if status is Status.FAILS else ()
    found = "no answer within 4 s" if status is not Status.HOLDS else "it answers"
    return CheckResult(node, name, status, "an answer", found, f"ssh {node} 'ip route'", remedies)


def prediction(*, answered: bool = True, node: str = "node-b", pod: str = "default/web-b2") -> Prediction:
    """From a pod, or with no node from outside, to a pod of node-c through the tunnel, and back if it is answered."""
    sent = Packet("tcp", IPv4Address("10.98.1.2"), IPv4Address("10.98.2.2"), 40000, 8080)
    outer = Packet("udp", IPv4Address("10.99.0.12"), IPv4Address("10.99.0.13"), 50000, 8472)
    far = Hop("node-c", "default/web-c2", Place.SOCKET, "nothing listens" if not answered else "received", sent)
    hops = (
        Hop(node, pod, Place.SOCKET, "sent", sent),
        *(Hop(name, "", place, place.value, sent) for name in (node,) if name for place in (Place.VETH, Place.FORWARD)),
        *(
            Hop(name, "", place, place.value, sent, outer=outer, owner="podnet", decided_by="fdb entry")
            for name in (node, "node-c")
            if name
            for place in (Place.ENCAPSULATION, Place.OUTPUT, Place.NIC)[:: 1 if name == node else -1]
        ),
        *(Hop("node-c", "", place, place.value, sent) for place in (Place.ROUTE, Place.VETH)),
        far,
    )
    answer = tuple(replace(hop, packet=sent.reply, direction=Direction.REPLY) for hop in reversed(hops))
    there = Outcome(End.ARRIVED) if answered else Outcome(End.REFUSED, "nothing listens on tcp 8080")
    back = Outcome(End.ARRIVED) if answered else None
    walk = Walk((*hops, *answer) if answered else hops, there, back)
    return Prediction(Start(node, pod, sent), (walk,))
