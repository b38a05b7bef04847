"""What Kubernetes wants of a host: no swap, kernel settings, names of all nodes, and nothing that keeps nodes apart."""

from pyinfra.api import deploy

from kubeproof.config.tables import paths
from kubeproof.config.tables.systems import System
from kubeproof.deploy.context import cluster, node, system
from kubeproof.deploy.operations import host_settings, managed_files
from kubeproof.networks import artifacts
from kubeproof.node import between_hosts, proxies, templates


@deploy("Host preparation")
def prepare() -> None:
    """Prepare this host. Needs nothing of the other hosts."""
    settings, machine = cluster().settings, system()
    managed_files.remember_host(
        name="Remember what the host is like now", replaced_files=replaced_files(settings.runtime.config, machine)
    )
    host_settings.swap_off(name="Turn swap off, now and at boot")
    managed_files.put(
        name="Load the bridge's netfilter module at boot",
        path=paths.MODULES_FILE,
        text=templates.render("modules.conf.j2", settings=settings),
    )
    host_settings.bridge_netfilter(name="Load the bridge's netfilter module now")
    sysctls = templates.render("sysctl.conf.j2")
    managed_files.put(name="Set sysctls at boot", path=paths.SYSCTL_FILE, text=sysctls)
    host_settings.sysctls(name="Set sysctls now", text=sysctls)
    if settings.network.tmpfiles:
        managed_files.put(
            name="Start no pod after a boot before policies are in force",
            path=paths.TMPFILES,
            text=settings.network.tmpfiles,
        )
    # Nodes find each other without a name server.
    names = templates.render("hosts.j2", cluster=cluster())
    managed_files.have_block(name="Name all nodes in /etc/hosts", path=paths.HOSTS, text=names)
    _use_proxy(machine)
    _let_nodes_speak(machine)


def replaced_files(runtime_config: str, machine: System) -> tuple[str, ...]:
    """Files that may be there already and that the deploy replaces or changes."""
    return (runtime_config, paths.ROOT_KUBECONFIG, *((paths.SELINUX_CONFIG,) if machine.selinux else ()))


def _use_proxy(machine: System) -> None:
    """Have the package manager use the proxy, or none if there is none."""
    wanted = cluster()
    if not proxies.is_used(wanted.settings):
        _use_no_proxy(machine)
    elif machine.manager == "apt":
        text = proxies.apt_configuration(wanted)
        managed_files.put(name="Have apt use the proxy", path=paths.APT_PROXY, text=text, mode="600")
    else:
        text_of_dnf = proxies.dnf_configuration(wanted.settings)
        managed_files.have_block(name="Have dnf use the proxy", path=paths.DNF_CONFIG, text=text_of_dnf)


def _use_no_proxy(machine: System) -> None:
    if machine.manager == "apt":
        managed_files.remove(name="Have apt use no proxy", path=paths.APT_PROXY, why="there is no proxy any more")
    else:
        managed_files.remove_block(name="Have dnf use no proxy", path=paths.DNF_CONFIG)


def _let_nodes_speak(machine: System) -> None:
    """SELinux, firewalld and NetworkManager, where a system comes with them."""
    wanted = cluster()
    if machine.selinux and wanted.settings.selinux == "permissive":
        host_settings.permissive(name="Have SELinux refuse nothing")
    if machine.firewalld and wanted.settings.firewalld == "ports":
        host_settings.open_ports(
            name="Open the ports of a node in firewalld",
            ports=between_hosts.ports(wanted, node().role),
            sources=between_hosts.sources(wanted),
        )
    if machine.firewalld and wanted.settings.firewalld == "off":
        host_settings.turn_firewalld_off(name="Turn firewalld off, now and at boot")
    if machine.network_manager:
        managed_files.configure_service(
            name="Have NetworkManager leave the pod network's devices alone",
            path=paths.NETWORK_MANAGER_CONFIG,
            text=templates.render("networkmanager.conf.j2", links=artifacts.LINKS),
            service="NetworkManager.service",
        )
