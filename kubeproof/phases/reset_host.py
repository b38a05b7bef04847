"""Puts a host back to what it was before the first deploy, from what that deploy has remembered of it."""

from pyinfra import host
from pyinfra.api import deploy
from pyinfra.operations import systemd

from kubeproof.facts.hosts import Remembered
from kubeproof.node import leftovers, paths
from kubeproof.node.leftovers import Leftovers
from kubeproof.node.record import DOCKER_GROUP, SHARED_DIRECTORIES
from kubeproof.node.removal import Owners
from kubeproof.operations import hosts, kernel, resetting
from kubeproof.roles import cluster

DOCKER_UNITS = ("docker.socket", "docker.service", "containerd.service")
"""The socket first: it would start the service again."""


@deploy("Restore the host")
def restore() -> None:
    """Undo the deploy. A host that had Docker before keeps it; one that no deploy is remembered of is left alone."""
    record = host.get_fact(Remembered)
    if record is None:
        return
    settings = cluster().settings
    docker = settings.docker_package in record.packages
    if docker:
        _stop_docker()
    owners = Owners(pod_networks=(), docker=docker, policies=record.policies)
    resetting.remove_rules(name="Restore iptables", owners=owners)
    # While there is still an nft to do it with.
    resetting.remove_idle_tables(name="Delete nft tables without effect", before=record.nft_tables)
    resetting.purge(name="Remove packages", packages=record.packages)
    if docker and DOCKER_GROUP not in record.groups:
        resetting.remove_group(name="Remove Docker's group", group=DOCKER_GROUP)
    restored = resetting.restore_files(name="Put replaced files back", files=(paths.DOCKER_CONFIG,))
    resetting.remove_files(name="Remove what is left", leftovers=leftovers.of_deploy(record, docker))
    shared = [directory for directory in SHARED_DIRECTORIES if directory in record.paths]
    resetting.restore_directories(name="Make directories that packages took with them", directories=shared)
    if not docker:
        systemd.service(
            name="Restart Docker with its own configuration",
            service="docker.service",
            restarted=True,
            daemon_reload=True,
            enabled=None,
            _if=restored.did_change,
        )
    lists = Leftovers(removed=leftovers.apt_lists(settings.kubernetes_apt_url))
    resetting.remove_files(name="Remove apt's lists of the Kubernetes packages", leftovers=lists)
    hosts.forget_nodes(name="Remove the nodes from /etc/hosts")
    resetting.unload_modules(name="Unload modules", before=record.modules)
    resetting.restore_sysctls(name="Restore sysctls", before=record.sysctls)
    kernel.swap_on(name="Give swap back", devices=record.swaps)
    # Last: until then an interrupted reset can be repeated.
    resetting.remove_files(name="Forget the host", leftovers=Leftovers(removed=(paths.STATE,)))


def _stop_docker() -> None:
    for unit in host.loop(DOCKER_UNITS):
        systemd.service(name=f"Stop {unit}", service=unit, running=False, enabled=None)
    resetting.remove_links(name="Delete Docker's bridge", names=("docker0",))
