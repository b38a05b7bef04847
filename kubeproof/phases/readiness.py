"""The deploy ends when the cluster works, not when it has been told to."""

from pyinfra.api import deploy

from kubeproof.node.readiness import Expectation
from kubeproof.operations import kubectl
from kubeproof.roles import cluster

SECONDS = 300
"""Enough for slow disks: with images on the nodes it takes about twenty seconds."""


@deploy("Readiness")
def wait() -> None:
    """Wait until every node is Ready and every pod of the system runs."""
    nodes = tuple(node.name for node in cluster().nodes)
    expected = Expectation(nodes=nodes, namespaces=("kube-system",), workloads=("daemonset/kube-system/kube-proxy",))
    kubectl.wait_ready(name="Wait for nodes and system pods", expected=expected, seconds=SECONDS)
