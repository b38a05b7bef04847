"""Pods: a node reaches every pod of the cluster, those of other nodes too."""

from testinfra.host import Host

from kubeproof.config.cluster import Node
from tests.cluster.conftest import Api


def test_every_pod_answers(host: Host, api: Api, node: Node, others: list[Node]) -> None:
    isolating = {policy["metadata"]["namespace"] for policy in api.items("networkpolicies")}
    pods = [pod for each in (node, *others) for pod in api.pods(each.name)]
    asked = {pod["status"]["podIP"] for pod in pods if pod["metadata"]["namespace"] not in isolating}
    assert {ip for ip in asked if host.addr(ip).is_reachable} == asked
