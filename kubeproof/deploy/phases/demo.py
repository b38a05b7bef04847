"""The demo application, on which the network is shown and proven."""

from pyinfra.api import deploy

from kubeproof.config.patience import patient
from kubeproof.deploy.context import cluster, context, left_out
from kubeproof.deploy.operations import kubectl
from kubeproof.deploy.phases import manifests
from kubeproof.node.readiness import Expectation

SECONDS = 180
WORKLOADS = ("deployment/default/httpd", "deployment/default/kuard")


@deploy("Demo")
def apply() -> None:
    """Apply the demo and wait until it runs, or take away what an earlier deploy has made of it.

    Not before all nodes are Ready, or one gets all pods; and where --limit leaves out all workers that could run it,
    not at all.
    """
    if not cluster().settings.demo:
        manifests.withdraw("httpd", "httpd.yaml.j2")
        manifests.withdraw("kuard", "kuard.yaml.j2")
        return
    if not _has_workers():
        return
    manifests.apply("httpd", "httpd.yaml.j2")
    manifests.apply("kuard", "kuard.yaml.j2")
    expected = Expectation(nodes=(), namespaces=("default",), workloads=WORKLOADS)
    kubectl.wait_ready(name="Wait for the demo", expected=expected, seconds=patient(SECONDS))
    # Nodes may have joined only after an earlier deploy that had lost them.
    kubectl.spread(name="Have the demo on several nodes", deployments=("httpd", "kuard"))
    kubectl.wait_ready(name="Wait until it is", expected=expected, seconds=patient(SECONDS))


def _has_workers() -> bool:
    """Whether there are workers, or will be at the end of this deploy."""
    known, without = context().hosts, left_out()
    return any(
        node.name not in without or (node.name in known and known[node.name].kubelet_version)
        for node in cluster().workers
    )
