"""The cluster by kubeadm: its control plane, the workers that join it, and the wait until all of it works."""

from pyinfra.api import deploy

from kubeproof.config.patience import patient
from kubeproof.config.tables import paths
from kubeproof.deploy.context import cluster, leader_host, network_plan, node
from kubeproof.deploy.operations import kubeadm, kubeconfig, kubectl, managed_files
from kubeproof.node.kubeadm_config import init_config
from kubeproof.node.readiness import Expectation


@deploy("Control plane")
def initialise() -> None:
    """Initialise the control plane on this host and hand out its kubeconfig."""
    wanted = cluster()
    managed_files.put(
        name="Write kubeadm's configuration", path=paths.INIT_CONFIG, text=init_config(wanted), mode="600"
    )
    kubeadm.init(name="Initialise the control plane", cluster=wanted)
    server = wanted.api_url
    kubeconfig.for_root(name="Give root the admin kubeconfig", server=server)
    kubeconfig.fetch(
        name="Copy the admin kubeconfig for the user", destination=wanted.settings.kubeconfig, server=server
    )


@deploy("API server")
def wait_for_api() -> None:
    """Wait until this host, of whatever role, reaches the API server."""
    kubeadm.wait_for_api(name="Reach the API server", cluster=cluster(), leader=leader_host())


@deploy("Workers")
def join() -> None:
    kubeadm.join(name="Join the cluster", cluster=cluster(), node=node(), leader=leader_host())


@deploy("Kubelet")
def keep_kubelet() -> None:
    """Have kubelet run on this host, of whatever role, so that the node comes back after a reboot."""
    managed_files.run_service(name="Start kubelet, now and at boot", service="kubelet.service")


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
