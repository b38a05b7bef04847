"""The demo application, on which the network is shown and proven."""

from pyinfra.api import deploy

from kubeproof.config.patience import patient
from kubeproof.deploy.context import cluster
from kubeproof.deploy.operations import kubectl
from kubeproof.deploy.phases import manifests
from kubeproof.node.readiness import Expectation

SECONDS = 180
WORKLOADS = ("deployment/default/httpd", "deployment/default/kuard")


@deploy("Demo")
def apply() -> None:
    """Apply the demo and wait until it runs, or take away what an earlier deploy has made of it.

    Not before all nodes are Ready, or one gets all pods.
    """
    if not cluster().settings.demo:
        manifests.withdraw("httpd", "httpd.yaml.j2")
        manifests.withdraw("kuard", "kuard.yaml.j2")
        return
    manifests.apply("httpd", "httpd.yaml.j2")
    manifests.apply("kuard", "kuard.yaml.j2")
    expected = Expectation(nodes=(), namespaces=("default",), workloads=WORKLOADS)
    kubectl.wait_ready(name="Wait for the demo", expected=expected, seconds=patient(SECONDS))
    # Nodes may have joined only after an earlier deploy that had lost them.
    kubectl.spread(name="Have the demo on several nodes", deployments=("httpd", "kuard"))
    kubectl.wait_ready(name="Wait until it is", expected=expected, seconds=patient(SECONDS))
