"""Whether hosts can be told apart, and names mean the same on all of them. Pure."""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address

from kubeproof.config import reading
from kubeproof.config.cluster import Cluster, Node
from kubeproof.config.tables import paths
from kubeproof.node.finding import Finding
from kubeproof.node.texts import without_block
from kubeproof.rules.before_deploy.inspection import Inspection, of_each_host
from kubeproof.rules.identity import (
    NEW_MACHINE_ID,
    duplicate_hostname,
    duplicate_machine_id,
    duplicate_product_uuid,
    duplicates,
)
from kubeproof.rules.rule import Rule, error_rule, warning_rule
from kubeproof.state.hostfiles import Identity
from kubeproof.state.node import NodeState

LOCALHOST = "localhost"

hostname = warning_rule(
    "hostname", "the host's own name is one, and not localhost", "which no log or DHCP server can tell from others"
)
name_resolution = warning_rule(
    "name-resolution", "the host resolves its own name", "which programs wait for, kubeadm and sudo among them"
)
hosts_file = error_rule(
    "hosts-file",
    "/etc/hosts gives no node's name to another address than the inventory does",
    "so the host reaches something else by that name",
)


def findings(inspection: Inspection) -> Iterator[Finding]:
    """Findings of each host by itself, and then those of several that are the same."""
    yield from _names(inspection)
    yield from _same(inspection, duplicate_hostname, lambda own: own.hostname)
    yield from _same(inspection, duplicate_machine_id, lambda own: own.machine_id)
    # Containers show the machine's that they share.
    yield from _same(inspection, duplicate_product_uuid, lambda own: "" if own.container else own.product_uuid)


@of_each_host
def _names(inspection: Inspection, node: Node, facts: NodeState) -> Iterator[Finding]:
    yield from _own_name(inspection.cluster, node, facts)
    yield from _hosts_file(inspection.cluster, node, facts.hosts_file)


def _own_name(cluster: Cluster, node: Node, facts: NodeState) -> Iterator[Finding]:
    name = facts.identity.hostname
    if not name or name in (other.name for other in cluster.nodes):
        # The deploy names all nodes in /etc/hosts. Another one's name is a finding of its own.
        return
    if name.partition(".")[0] == LOCALHOST or not _valid(name):
        yield hostname.finding(f"calls itself {name}", f"run `hostnamectl set-hostname {node.name}` there")
    elif not facts.own_addresses:
        yield name_resolution.finding(
            f"does not resolve its own name {name}", f"add `{node.address} {name}` to {paths.HOSTS}"
        )


def _valid(name: str) -> bool:
    try:
        reading.dns_name(name.lower())
    except reading.RefusedError:
        return False
    return True


def _hosts_file(cluster: Cluster, node: Node, text: str) -> Iterator[Finding]:
    """The deploy's own block comes last in the file, and the first entry of a name counts."""
    wanted = {other.name.lower(): other.address for other in cluster.nodes}
    for line in without_block(text).splitlines():
        written, *names = re.split(r"\s+", line.partition("#")[0].strip(_BLANKS), flags=re.ASCII)
        address = _address(written)
        if address is None:
            # The C library takes no such line either.
            continue
        for name in dict.fromkeys(word.lower().removesuffix(".") for word in names):
            if right := _instead(name, address, node.name.lower(), wanted):
                yield hosts_file.finding(
                    f"has `{written} {name}` in {paths.HOSTS}, {right}", f"run `{_without(written, name)}` there"
                )


_BLANKS = " \t\r\v\f"
"""What the C library takes for blanks in the file (nss_files, isspace); Python's own idea of them is wider."""


def _address(written: str) -> IPv4Address | IPv6Address | None:
    """As the C library reads it, which takes ::ffff:192.0.2.1 for an IPv4 address."""
    try:
        address = ip_address(written)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _instead(name: str, address: IPv4Address | IPv6Address, own: str, wanted: Mapping[str, IPv4Address]) -> str:
    """What a name has to have instead of an address; empty if the address may be right.

    Of an IPv6 address nobody knows whether it is the node's too, unless it is the host itself.
    """
    if name == LOCALHOST:
        return "" if address.is_loopback else "and programs of this host find each other by that name"
    # Debian gives a host's own name 127.0.1.1 too; kubelet is told its address.
    if name not in wanted or address == wanted[name] or (name == own and address.is_loopback):
        return ""
    known = isinstance(address, IPv4Address) or address.is_loopback
    return f"and the inventory says {wanted[name]}" if known else ""


def _without(address: str, name: str) -> str:
    """The command that takes a name off an address in every line of it, and lines away that have no other name.

    It is GNU sed's, as all systems here have it.
    """
    line, word = (rf"^\s*{address}\s".replace(".", r"\."), name.replace(".", r"\."))
    script = rf"/{line}/I{{:a;s/^([^#]*)\s{word}\.?(\s|#|$)/\1\2/I;ta;/{line}*(#.*)?$/Id}}"
    return f"sed -i -E {shlex.quote(script)} {paths.HOSTS}"


_SAME = {
    duplicate_hostname: (
        "call themselves the same",
        "and DHCP and logs take one for the other (kubeadm#31)",
        "run `hostnamectl set-hostname NAME` on all but one of them",
    ),
    duplicate_machine_id: (
        "have the same machine-id",
        "so they take each other's DHCP leases and node identity (kubeadm#31)",
        f"run `{NEW_MACHINE_ID}` on all but one of them and reboot",
    ),
    duplicate_product_uuid: (
        "have the same product UUID",
        "and pod networks tell machines apart by it (kubeadm#31)",
        "give each virtual machine its own, as cloning them anew does",
    ),
}


def _same(inspection: Inspection, rule: Rule, value: Callable[[Identity], str]) -> Iterator[Finding]:
    found, breaks, remedy = _SAME[rule]
    for shared, names in duplicates(
        {node.name: value(facts.identity) for node, facts in inspection.answered()}
    ).items():
        yield rule.finding(f"{found} ({shared})", remedy, host=", ".join(names), breaks=breaks)
