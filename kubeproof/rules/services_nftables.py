"""Rules of kube-proxy in its mode nftables, of which all is in its table ``ip kube-proxy`` (pkg/proxy/nftables). Pure.

They are what its sources and its own tests say; none was run: the mode is of Kubernetes 1.31 and newer.
"""

import re
from functools import partial
from ipaddress import IPv4Address

from kubeproof.networks.artifacts import PROXY_TABLE
from kubeproof.rules.context import Context
from kubeproof.rules.repair import restart_of
from kubeproof.rules.result import Outcome, all_of, same_sequence, same_set
from kubeproof.rules.rule import rule
from kubeproof.rules.services import MASQUERADE_MARK, NO_SERVICE, Served, served_ports
from kubeproof.state.nftables import ProxyTable

ENTRANCES = ("nat-prerouting", "nat-output")
MARK = "jump mark-for-masquerade"
_TO_ENDPOINT = re.compile(r"\d+ : goto (endpoint-[^ ,]+)")


table_rule = partial(
    rule,
    needs=("proxy_table",),
    look=f"nft list table ip {PROXY_TABLE}",
    # It writes its table as a whole when it starts.
    remedies=restart_of("kube-proxy"),
)


def _key(item: Served) -> str:
    return f"{item.cluster_ip} . {item.port.protocol} . {item.port.port}"


def _chain(table: ProxyTable, item: Served) -> str:
    """The Service's chain; empty where there is none."""
    return table.maps.get("service-ips", {}).get(_key(item), "").removeprefix("goto ")


def _rules(table: ProxyTable, chain: str) -> list[str]:
    return list(table.rules.get(chain, ()))


@table_rule(
    "the map service-ips leads from each Service's cluster IP and port to its chain, no-endpoint-services from those "
    "without endpoints; no other cluster IP is there; both are looked up in PREROUTING and OUTPUT",
    meaning="the Service is not reached, or a cluster IP leads to pods that are gone",
)
def nft_services(context: Context) -> Outcome:
    """One look-up by address, protocol and port."""
    table, served = context.state.proxy_table, list(served_ports(context))
    outcomes = [(chain, same_sequence(["jump services"], _rules(table, chain))) for chain in ENTRANCES]
    services = context.cluster.settings.service_cidr
    look_up = "ip daddr . meta l4proto . th dport vmap @service-ips"
    outcomes.append(("services", same_sequence([look_up], _rules(table, "services")[:1])))
    for name, wanted in (
        ("service-ips", {_key(item) for item in served if item.backends}),
        ("no-endpoint-services", {_key(item) for item in served if not item.backends}),
    ):
        found = (key for key in table.maps.get(name, {}) if IPv4Address(key.partition(" ")[0]) in services)
        outcomes.append((name, same_set(wanted, found)))
    return all_of(outcomes, expected="for each Service with ready endpoints a chain", nothing=NO_SERVICE)


@table_rule(
    "each Service's chain marks what comes from outside of the pods, and spreads evenly over one chain for each ready "
    "endpoint, which DNATs to it",
    meaning="requests to a Service end at pods that are gone, or always at the same",
)
def nft_endpoints(context: Context) -> Outcome:
    """A random number chooses among n chains; rules of sessionAffinity before it are not looked at."""
    outcomes = [(item.name, _spread(context, item)) for item in served_ports(context) if item.backends]
    return all_of(outcomes, expected="for each Service one chain for each ready endpoint", nothing=NO_SERVICE)


def _spread(context: Context, item: Served) -> Outcome:
    table, port = context.state.proxy_table, item.port
    rules = _rules(table, _chain(table, item))
    chosen = _TO_ENDPOINT.findall(rules[-1]) if rules else []
    at = f"ip daddr {item.cluster_ip} {port.protocol} dport {port.port}"
    count = len(item.backends)
    wanted = [f"{at} ip saddr != {context.cluster.settings.pod_cidr} {MARK}", f"numgen random mod {count}"]
    found = [*rules[:1], *(line.partition(" vmap ")[0] for line in rules[1:][-1:])]
    ends = [f"ip saddr {end.address} {MARK}; meta l4proto {port.protocol} dnat to {end}" for end in item.backends]
    return same_set([*wanted, *ends], [*found, *("; ".join(_plain(table, chain)) for chain in chosen)])


def _plain(table: ProxyTable, chain: str) -> list[str]:
    """An endpoint's rules without those of sessionAffinity, which remember the client in a set."""
    return [line for line in _rules(table, chain) if line.startswith("ip saddr ") or " dnat to " in line]


@table_rule(
    "the map service-nodeports leads from each NodePort to its Service, and from no other port; nodeport-ips has the "
    "node's address",
    meaning="a NodePort does not answer, or another port leads into the cluster",
)
def nft_node_ports(context: Context) -> Outcome:
    """Through a chain that marks first; with externalTrafficPolicy Local that is not looked at."""
    table = context.state.proxy_table
    served = [item for item in served_ports(context) if item.port.node_port and item.backends]
    found = table.maps.get("service-nodeports", {})
    own = str(context.node.address)
    own_address = [each for each in table.sets.get("nodeport-ips", ()) if each == own]
    wanted = {f"{item.port.protocol} . {item.port.node_port}": item for item in served}
    outcomes = [("nodeport-ips", same_set([own], own_address)), ("service-nodeports", same_set(wanted, found))]
    for key, item in wanted.items():
        if not item.service.local_traffic_only:
            rules = _rules(table, found.get(key, "").removeprefix("goto "))
            outcomes.append((item.name, same_sequence([MARK, f"goto {_chain(table, item) or 'service-…'}"], rules)))
    return all_of(outcomes, expected="for each NodePort a mark, then its Service's chain", nothing="no NodePort (API)")


@table_rule(
    "the chain mark-for-masquerade sets the mark by which nat-postrouting masquerades, and only that",
    meaning="answers to a Service's clients come back by another way, and are not taken for answers",
)
def nft_masquerade(context: Context) -> Outcome:
    """What is marked leaves with the node's address."""
    table, mark = context.state.proxy_table, MASQUERADE_MARK.value
    chains = {
        "mark-for-masquerade": [f"meta mark set meta mark | {mark}"],
        "nat-postrouting": ["jump masquerading"],
        "masquerading": [f"meta mark & {mark} 0 return", f"meta mark set meta mark ^ {mark}", "masquerade"],
    }
    outcomes = [(name, same_sequence(wanted, _rules(table, name))) for name, wanted in chains.items()]
    return all_of(outcomes, expected="what is marked is masqueraded", nothing=NO_SERVICE)
