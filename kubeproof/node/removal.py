"""Which iptables rules and nft tables a cluster leaves on a host, and how to take out those and no others. Pure."""

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, ip_network
from itertools import pairwise

from kubeproof.networks import artifacts
from kubeproof.state.hostfiles import parse_values
from kubeproof.state.iptables import split_words, whole_lines
from kubeproof.state.ipvs import VirtualServer

CLUSTER_CHAINS = ("KUBE-", "CNI-", *artifacts.CHAINS)
"""Prefixes of chains made by kubelet and kube-proxy, by CNI plugins (portmap), and by pod networks."""
DOCKER_CHAINS = ("DOCKER",)
DOCKER_LINK = re.compile(r"docker0|br-[0-9a-f]{12}")
"""Docker's own bridge, and those of its user-defined networks (br- and the begin of the network's id)."""
POD_NETWORK_CHAINS = ("FORWARD", "POSTROUTING")
"""Built-in chains into which flannel and podnet put rules without a chain of their own (docs: flannel, iptables.go)."""
IPTABLES_TABLES = ("filter", "nat", "mangle", "raw", "security")
"""Names that iptables-nft gives to its nft tables."""
OWN_NFT_TABLES = re.compile(rf"(?:ip|ip6|inet) (?:{'|'.join(artifacts.NFT_TABLES)})")


@dataclass
class Table:
    """What of one iptables table has to go."""

    chains: list[str] = field(default_factory=list)
    rules: list[str] = field(default_factory=list)
    """As iptables-save prints them: ``-A CHAIN …``."""
    policies: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Owners:
    pod_cidrs: tuple[IPv4Network, ...]
    docker: bool
    """Docker's too."""
    runtime: bool = False
    """The container runtime goes, whichever it is: no one is left who would want packets to be dropped by default."""
    policies: Mapping[str, str] = field(default_factory=dict)
    """Policies before the first deploy by "table chain": that of FORWARD is set back."""

    @property
    def chains(self) -> tuple[str, ...]:
        return CLUSTER_CHAINS + (DOCKER_CHAINS if self.docker else ())


def removal(saved: str, owners: Owners) -> str:
    """Input for ``iptables-restore --noflush`` that takes out the owners' chains and rules; empty if there are none.

    ``saved`` is what iptables-save (or ip6tables-save) printed. Everything that is not the owners' stays as it is, in
    its order.
    """
    tables = _tables_to_change(saved, owners)
    return "".join(line + "\n" for name, table in tables.items() for line in _transaction(name, table))


def _tables_to_change(saved: str, owners: Owners) -> dict[str, Table]:
    tables: dict[str, Table] = {}
    name = ""
    for _, line in whole_lines(saved):
        if line.startswith("*"):
            name = line[1:].strip()
            tables.setdefault(name, Table())
        elif line.startswith(":") and name:
            _take_chain(name, tables[name], line, owners)
        elif line.startswith("-A ") and name and "\n" not in line and _is_owned(line, owners):
            tables[name].rules.append(line)
    return {name: table for name, table in tables.items() if table.chains or table.rules or table.policies}


def _take_chain(table_name: str, table: Table, line: str, owners: Owners) -> None:
    chain, policy, *_ = [*line[1:].split(), "-", "-"]
    if policy == "-":
        if chain.startswith(owners.chains):
            table.chains.append(chain)
        return
    # Docker and the deploy set the policy of FORWARD to DROP and leave it so. Where nothing is known, there was none.
    wanted = owners.policies.get(f"{table_name} {chain}", "ACCEPT" if owners.runtime else policy)
    if chain == "FORWARD" and policy != wanted:
        table.policies[chain] = wanted


def _is_owned(rule: str, owners: Owners) -> bool:
    """Whether a rule outside of the owners' chains belongs to them; rules within go with their chains."""
    try:
        words = split_words(rule)
    except ValueError:
        return False  # what cannot be read is nothing that a cluster writes
    if len(words) < 2:
        return False
    chain = words[1]
    if chain.startswith(owners.chains):
        return False
    if any(target.startswith(owners.chains) for target in _values(words, "-j", "-g")):
        return True
    if any(comment.startswith(artifacts.COMMENTS) for comment in _values(words, "--comment")):
        return True
    if chain in POD_NETWORK_CHAINS and any(_within(value, owners.pod_cidrs) for value in _values(words, "-s", "-d")):
        return True
    return owners.docker and any(DOCKER_LINK.fullmatch(value) for value in _values(words, "-i", "-o"))


def _values(words: Sequence[str], *options: str) -> Iterator[str]:
    return (value for option, value in pairwise(words) if option in options)


def _within(written: str, networks: Iterable[IPv4Network]) -> bool:
    try:
        network = ip_network(written)
    except ValueError:
        return False
    return isinstance(network, IPv4Network) and any(network.subnet_of(other) for other in networks)


def _transaction(name: str, table: Table) -> Iterator[str]:
    """One table's lines. Naming a chain of one's own empties it, and only an empty one can be deleted."""
    yield f"*{name}"
    yield from (f":{chain} {policy} [0:0]" for chain, policy in table.policies.items())
    yield from (f":{chain} - [0:0]" for chain in table.chains)
    yield from (f"-D {rule.removeprefix('-A ')}" for rule in table.rules)
    yield from (f"-X {chain}" for chain in table.chains)
    yield "COMMIT"


def pod_cidrs(settings: IPv4Network, subnet_env: str) -> tuple[IPv4Network, ...]:
    """The pod CIDR of the settings, and the one that the pod network really used (flannel's subnet.env)."""
    networks = {settings}
    for word in parse_values(subnet_env).get("FLANNEL_NETWORK", "").strip("\"'").split(","):
        with contextlib.suppress(ValueError):  # no such file, or none that can be read
            networks.add(IPv4Network(word))
    return tuple(sorted(networks))


def own_nft_tables(tables: Iterable[str]) -> list[str]:
    """Those of the pod network and of kube-proxy, of tables named as "family name"."""
    return [table for table in tables if OWN_NFT_TABLES.fullmatch(table)]


def own_virtual_servers(
    servers: Iterable[VirtualServer], services: IPv4Network, node_ports: Sequence[int]
) -> list[VirtualServer]:
    """Those at addresses of Services and at NodePorts."""
    return [server for server in servers if server.address in services or server.port in node_ports]


def ipvsadm_words(server: VirtualServer) -> str:
    """How ipvsadm(8) names a virtual server."""
    return f"--{server.protocol}-service {server.address}:{server.port}"


def idle_nft_tables(tables: Mapping[str, str], before: Sequence[str]) -> list[str]:
    """nft tables to delete: those that iptables made and that have no effect any more.

    ``tables`` maps "family name" to a listing. A table that was there ``before`` the first deploy stays.
    """
    candidates = {f"{family} {name}" for family in ("ip", "ip6") for name in IPTABLES_TABLES}
    return [
        table for table, listing in tables.items() if table in candidates and table not in before and is_idle(listing)
    ]


def is_idle(listing: str) -> bool:
    """Whether a table holds nothing but base chains that accept everything."""
    harmless = re.compile(r"table \S+ \S+ \{|chain \S+ \{|type .* policy accept;|\}|#.*|")
    return all(harmless.fullmatch(line.strip()) for line in listing.splitlines())
