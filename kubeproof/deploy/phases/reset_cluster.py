"""Takes the cluster off the hosts and leaves the hosts as they are: packages, Docker and settings stay."""

from pyinfra import host
from pyinfra.api import deploy

from kubeproof.deploy.context import cluster
from kubeproof.deploy.facts.files import Text
from kubeproof.deploy.facts.hosts import Remembered
from kubeproof.deploy.operations import kubeconfig, resetting
from kubeproof.networks import artifacts
from kubeproof.node import leftovers
from kubeproof.node.removal import Owners, pod_cidrs
from kubeproof.state.hostfiles import SUBNET_ENV


@deploy("Leave the cluster")
def leave() -> None:
    resetting.leave(name="Reset kubeadm", settings=cluster().settings)


@deploy("Kubeconfig")
def forget_kubeconfig() -> None:
    """Remove the copies of this cluster's kubeconfig: the user's, and root's on this host."""
    wanted = cluster()
    server = wanted.api_url
    kubeconfig.forget(name="Remove the user's copy", destination=wanted.settings.kubeconfig, server=server)
    kubeconfig.forget_roots(name="Remove root's copy", server=server)


@deploy("Pod network")
def remove_network() -> None:
    """Remove the devices, rules and files of the pod network and of kube-proxy, where a deploy has been.

    Elsewhere they are somebody else's: other clusters, such as k3s, give theirs the same names.
    """
    if host.get_fact(Remembered) is None:
        return
    networks = pod_cidrs(cluster().settings.pod_cidr, host.get_fact(Text, path=SUBNET_ENV))
    settings = cluster().settings
    resetting.remove_virtual_servers(
        name="Take its Services out of IPVS", services=str(settings.service_cidr), node_ports=settings.node_ports
    )
    resetting.remove_links(name="Delete its links", names=artifacts.LINKS)
    resetting.empty_links(name="Empty the kernel's own", networks=networks)
    resetting.remove_routes(name="Delete its routes", networks=networks)
    resetting.remove_rules(name="Remove its iptables rules", owners=Owners(networks, docker=False))
    resetting.remove_own_tables(name="Remove its nft tables")
    # After the rules that use them.
    resetting.remove_sets(name="Remove its sets of addresses")
    resetting.remove_files(name="Remove its files", leftovers=leftovers.of_cluster())
