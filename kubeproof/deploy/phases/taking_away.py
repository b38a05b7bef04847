"""Takes the cluster off the hosts, and puts a host back to what it was before the first deploy."""

from pyinfra import host
from pyinfra.api import deploy
from pyinfra.operations import systemd

from kubeproof.config.settings import Settings
from kubeproof.config.tables import paths
from kubeproof.config.tables.runtimes import Runtime
from kubeproof.config.tables.systems import System
from kubeproof.deploy.context import cluster, node, system
from kubeproof.deploy.facts.files import Text
from kubeproof.deploy.facts.hosts import Remembered
from kubeproof.deploy.operations import host_settings, kubeconfig, managed_files, resetting
from kubeproof.deploy.phases.host_preparation import replaced_files
from kubeproof.networks import artifacts
from kubeproof.node import between_hosts, leftovers
from kubeproof.node.leftovers import Leftovers
from kubeproof.node.record import SHARED_DIRECTORIES, Record
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


@deploy("Restore the host")
def restore() -> None:
    """Undo the deploy. A host that had the runtime before keeps it; one without a record of a deploy is left alone."""
    record = host.get_fact(Remembered)
    if record is None:
        return
    settings, machine = cluster().settings, system()
    used = settings.runtime
    runtime = (settings.own_runtime_package or machine.package(used.name)) in record.packages
    if runtime:
        _stop(used)
    owners = Owners(pod_cidrs=(), docker=runtime and used.name == "docker", runtime=runtime, policies=record.policies)
    resetting.remove_rules(name="Restore iptables", owners=owners)
    # While there is still an nft to do it with.
    resetting.remove_idle_tables(name="Delete nft tables without effect", before=record.nft_tables)
    resetting.purge(name="Remove packages", packages=record.packages, manager=machine.manager)
    if runtime and used.group and used.group not in record.groups:
        resetting.remove_group(name=f"Remove {used.title}'s group", group=used.group)
    kept = [file for file in replaced_files(used.config, machine) if file != paths.ROOT_KUBECONFIG]
    restored = resetting.restore_files(name="Put replaced files back", files=kept)
    _remove_files(record, settings, runtime)
    if not runtime:
        systemd.service(
            name=f"Restart {used.title} with its own configuration",
            service=used.service,
            restarted=True,
            daemon_reload=True,
            enabled=None,
            _if=restored.did_change,
        )
    _guard_again(record, machine)
    _forget_source(settings, machine)
    managed_files.remove_block(name="Remove the nodes from /etc/hosts", path=paths.HOSTS)
    resetting.unload_modules(name="Unload modules", before=record.modules)
    resetting.restore_sysctls(name="Restore sysctls", before=record.sysctls)
    host_settings.swap_on(name="Give swap back", devices=record.swaps)
    # Last: until then an interrupted reset can be repeated.
    resetting.remove_files(name="Forget the host", leftovers=Leftovers(removed=(paths.STATE,)))


def _stop(runtime: Runtime) -> None:
    for unit in host.loop(runtime.stop_units):
        systemd.service(name=f"Stop {unit}", service=unit, running=False, enabled=None)
    if runtime.name == "docker":
        resetting.remove_links(name="Delete Docker's bridge", names=("docker0",))


def _remove_files(record: Record, settings: Settings, runtime: bool) -> None:
    mirrored = ("docker.io",) if settings.registry_mirrors else ()
    registries = (*mirrored, *settings.insecure_registries) if settings.runtime.name == "containerd" else ()
    found = leftovers.of_deploy(record, runtime, registries)
    resetting.remove_files(name="Remove what is left", leftovers=found)
    shared = [directory for directory in SHARED_DIRECTORIES if directory in record.paths]
    resetting.restore_directories(name="Make directories that packages took with them", directories=shared)


def _guard_again(record: Record, machine: System) -> None:
    wanted = cluster()
    if machine.selinux:
        host_settings.enforce_again(name="Have SELinux enforce again", before=record.selinux)
    if machine.firewalld:
        host_settings.turn_firewalld_on(name="Turn firewalld on again", before="running" in record.firewalld)
        host_settings.close_ports(
            name="Close the ports of a node in firewalld",
            ports=between_hosts.ports(wanted, node().role),
            sources=between_hosts.sources(wanted),
            kept=record.firewalld,
        )


def _forget_source(settings: Settings, machine: System) -> None:
    if machine.manager == "apt":
        lists = leftovers.apt_lists(settings.kubernetes_apt_url or settings.era.repository("deb"))
        resetting.remove_files(name="Remove apt's lists of the Kubernetes packages", leftovers=Leftovers(removed=lists))
    else:
        managed_files.remove_block(name="Have dnf use no proxy", path=paths.DNF_CONFIG)
