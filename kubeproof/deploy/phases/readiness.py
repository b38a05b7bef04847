"""The deploy ends when the cluster works, not when it has been told to."""

from pyinfra.api import deploy

from kubeproof.config.patience import patient
from kubeproof.deploy.context import cluster, network_plan
from kubeproof.deploy.operations import kubectl
from kubeproof.node.readiness import Expectation

SECONDS = 300
"""Enough for slow disks: with images on the nodes it takes about twenty seconds."""


@deploy("Readiness")
def wait() -> None:
    """Wait until every node is Ready and gets pods, and every pod of the system runs."""
    nodes = tuple(node.name for node in cluster().nodes)
    network = network_plan()
    expected = Expectation(
        nodes=nodes,
        namespaces=tuple(dict.fromkeys(("kube-system", *network.namespaces))),
        workloads=("daemonset/kube-system/kube-proxy", *network.workloads),
    )
    kubectl.wait_ready(name="Wait for nodes and system pods", expected=expected, seconds=patient(SECONDS))
