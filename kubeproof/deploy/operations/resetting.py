"""Takes a cluster off a host and puts the host back to what it was. Each operation finds out what there is to do."""

import shlex
from collections.abc import Generator, Iterable, Sequence
from ipaddress import IPv4Network

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host
from pyinfra.facts.files import Sha256File
from pyinfra.facts.server import Groups

from kubeproof.access.deadlines import PACKAGES_SECONDS
from kubeproof.config.settings import Settings
from kubeproof.config.tables import paths
from kubeproof.deploy.facts.files import Existing, NotEmpty
from kubeproof.deploy.facts.hosts import Sysctls
from kubeproof.deploy.facts.kubernetes import Remains
from kubeproof.deploy.facts.network import (
    AddressSets,
    ClusterLinks,
    IptablesRules,
    KernelsLink,
    NftTables,
    RoutesInto,
    VirtualServers,
)
from kubeproof.deploy.operations.kubeadm import leave_cluster, unmount_below
from kubeproof.deploy.operations.packages import MANAGERS, PackageManager, simulate
from kubeproof.deploy.operations.remote import NodeError, on_host, run, shell
from kubeproof.node.leftovers import Leftovers
from kubeproof.node.removal import (
    Owners,
    idle_nft_tables,
    ipvsadm_words,
    own_nft_tables,
    own_virtual_servers,
    removal,
)
from kubeproof.state.ipvs import parse_virtual_servers

EMPTY = 'for path; do if [ -d "$path" ]; then find "$path" -xdev -mindepth 1 -delete; fi; done'
"""Empties those of its arguments that are directories, without what is mounted there."""
TIDY = 'for path; do if [ -d "$path" ]; then rmdir --ignore-fail-on-non-empty "$path"; fi; done'
"""Removes those of its arguments that are empty directories."""


@operation()
def leave(settings: Settings) -> Generator[PyinfraCommand, None, None]:
    """Run kubeadm's reset, if there is anything of a cluster on this host."""
    if not host.get_fact(Remains):
        host.noop("there is no cluster on this host")
        return
    yield on_host(leave_cluster, settings)


@operation()
def remove_links(names: Sequence[str]) -> Generator[str, None, None]:
    """Delete network devices, and with them their addresses, routes and neighbours."""
    links: list[str] = host.get_fact(ClusterLinks, names=list(names))
    # The other end of a veth pair goes with it.
    commands = (f"if [ -e /sys/class/net/{link} ]; then ip link delete dev {link}; fi" for link in links)
    yield from _each("links", commands)


@operation()
def empty_links(networks: Sequence[IPv4Network]) -> Generator[str, None, None]:
    """Take addresses off the kernel's own link, and set it down, which takes its routes: nobody can delete it."""
    links: list[str] = host.get_fact(KernelsLink, networks=[str(network) for network in networks])
    yield from _each("links", (f"ip addr flush dev {link} && ip link set dev {link} down" for link in links))


def _each(things: str, commands: Iterable[str]) -> Generator[str, None, None]:
    found = list(commands)
    if not found:
        host.noop(f"there are no such {things}")
    yield from found


@operation()
def remove_routes(networks: Sequence[IPv4Network]) -> Generator[str, None, None]:
    """Delete routes into networks of pods that no link of the pod network has taken with it."""
    routes: list[str] = host.get_fact(RoutesInto, networks=[str(network) for network in networks])
    yield from _each("routes", (f"ip -4 route delete {route}" for route in routes))


@operation()
def remove_rules(owners: Owners) -> Generator[PyinfraCommand, None, None]:
    """Take the owners' iptables rules out, in one transaction for each family; all others stay."""
    plans = {tool: removal(rules, owners) for tool, rules in host.get_fact(IptablesRules).items()}
    if not any(plans.values()):
        host.noop("there are no such rules")
    for tool, plan in plans.items():
        if plan:
            yield on_host(_restore, tool, plan)


def _restore(host: Host, tool: str, plan: str) -> None:
    run(host, [f"{tool}-restore", "--noflush", "--wait", "30"], stdin=plan)


@operation()
def remove_virtual_servers(services: str, node_ports: Sequence[int]) -> Generator[str, None, None]:
    """Take kube-proxy's Services out of IPVS; a host may have virtual servers of others, which stay."""
    lines: list[str] = host.get_fact(VirtualServers)
    own = own_virtual_servers(parse_virtual_servers("\n".join(lines)), IPv4Network(services), node_ports)
    yield from _each("virtual servers", (f"ipvsadm --delete-service {ipvsadm_words(server)}" for server in own))


@operation()
def remove_own_tables() -> Generator[str, None, None]:
    """Delete the nft tables of the pod network and of kube-proxy: policies of a cluster that is gone would still shut
    pods off."""
    listed: dict[str, str] = host.get_fact(NftTables)
    yield from _each("tables", (f"nft delete table {table}" for table in own_nft_tables(listed)))


@operation()
def remove_sets() -> Generator[str, None, None]:
    """Destroy the ipsets of Calico's agent and of kube-proxy.

    A host without ipset(8) keeps them, without effect, until it reboots.
    """
    sets: list[str] = host.get_fact(AddressSets)
    yield from _each("sets", (f"ipset destroy {shlex.quote(name)}" for name in sets))


@operation()
def remove_idle_tables(before: Sequence[str]) -> Generator[str, None, None]:
    """Delete nft tables of iptables where they came with the deploy and do nothing now."""
    listed: dict[str, str] = host.get_fact(NftTables)
    yield from _each("tables", (f"nft delete table {table}" for table in idle_nft_tables(listed, before)))


@operation()
def purge(packages: Sequence[str], manager: str = "apt") -> Generator[PyinfraCommand, None, None]:
    """Remove packages with their configuration. Refuses if others, installed since, would have to go with them."""
    used = MANAGERS[manager]
    known = host.get_fact(used.known, packages=list(packages)) if packages else []
    if not known:
        host.noop("the packages are not installed")
        return
    yield on_host(_purge, used, tuple(known))


def _purge(host: Host, manager: PackageManager, packages: tuple[str, ...]) -> None:
    planned = manager.removed(simulate(host, manager, (*manager.simulate_remove, *packages)))
    others = sorted(set(planned) - set(packages))
    if others:
        raise NodeError(
            f"packages installed since the deploy need the ones to remove: remove {', '.join(others)} first"
        )
    run(host, [*manager.remove, *packages], exclusive=True, seconds=PACKAGES_SECONDS)


@operation()
def remove_group(group: str) -> Generator[str, None, None]:
    if group not in host.get_fact(Groups):
        host.noop("there is no such group")
        return
    yield f"groupdel {group}"


@operation()
def remove_files(leftovers: Leftovers) -> Generator[PyinfraCommand, None, None]:
    """Remove and empty what is left over."""
    removed, tidied = (
        host.get_fact(Existing, candidates=list(paths)) if paths else []
        for paths in (leftovers.removed, leftovers.tidied)
    )
    emptied = host.get_fact(NotEmpty, directories=list(leftovers.emptied)) if leftovers.emptied else []
    if not removed and not emptied and not tidied:
        host.noop("nothing is left over")
        return
    yield on_host(_remove_files, Leftovers(tuple(removed), tuple(emptied), tuple(tidied)))


def _remove_files(host: Host, leftovers: Leftovers) -> None:
    directories = (*leftovers.emptied, *leftovers.removed)
    unmount_below(host, *directories)
    run(host, [*shell(EMPTY), "sh", *directories])
    run(host, ["rm", "-rf", "--one-file-system", "--", *leftovers.removed])
    run(host, [*shell(TIDY), "sh", *leftovers.tidied])


@operation()
def restore_files(files: Sequence[str]) -> Generator[str, None, None]:
    """Put files that the deploy replaced back as they were; those that were not there are removed."""
    for path in files:
        yield from restore_file(path)


def restore_file(path: str) -> Generator[str, None, None]:
    original = paths.ORIGINALS + path
    now, before = (host.get_fact(Sha256File, path=file) for file in (path, original))
    if now == before:
        host.noop(f"{path} is as it was")
    elif before is None:
        yield f"rm -f {path}"
    else:
        yield f"mkdir -p {path.rpartition('/')[0]}; cp -a {original} {path}"


@operation()
def restore_directories(directories: Sequence[str]) -> Generator[str, None, None]:
    present = host.get_fact(Existing, candidates=list(directories)) if directories else []
    missing = [directory for directory in directories if directory not in present]
    if not missing:
        host.noop("directories are as they were")
        return
    yield f"mkdir -p {shlex.join(missing)}"


@operation()
def restore_sysctls(before: dict[str, str]) -> Generator[str, None, None]:
    now = host.get_fact(Sysctls, names=list(before)) if before else {}
    different = [name for name, value in now.items() if before.get(name) != value]
    if not different:
        host.noop("sysctls are as they were")
    for name in different:
        yield f"sysctl --write {shlex.quote(f'{name}={before[name]}')}"


@operation()
def unload_modules(before: Sequence[str]) -> Generator[str, None, None]:
    """Unload the bridge's netfilter module if it was not loaded; it stays where something else uses it by now."""
    if "br_netfilter" in before or not host.get_fact(Existing, candidates=["/sys/module/br_netfilter/initstate"]):
        host.noop("modules are as they were")
        return
    yield "modprobe --remove br_netfilter || true"
