"""Workers join in parallel once they reach the API server."""

from pyinfra.api import deploy

from kubeproof.deploy.context import cluster, leader_host, node
from kubeproof.deploy.operations import kubeadm, managed_files


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
