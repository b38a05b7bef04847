"""Services: for each port of each one, kube-proxy's rules lead to its ready endpoints and to nobody else."""

import re
from typing import Any

import pytest
from testinfra.host import Host

from kubeproof.config.cluster import Node
from tests.cluster.conftest import Api


@pytest.mark.proxy_mode("iptables")
def test_cluster_addresses(host: Host, api: Api) -> None:
    rules = host.iptables.rules("nat")
    expected, found = {}, {}
    for service, port in _ports(api):
        at = f"-d {service['spec']['clusterIP']}/32 -p {port['protocol'].lower()} "
        expected[f"{at}{port['port']}"] = _endpoints(api, service, port)
        found[f"{at}{port['port']}"] = _reached(rules, f"-A KUBE-SERVICES .*{at}.*--dport {port['port']} ")
    assert found == expected


@pytest.mark.proxy_mode("iptables")
def test_node_ports(host: Host, api: Api) -> None:
    rules = host.iptables.rules("nat")
    expected = {port["nodePort"]: _endpoints(api, service, port) for service, port in _ports(api) if "nodePort" in port}
    assert {port: _reached(rules, f"-A KUBE-NODEPORTS .*--dport {port} ") for port in expected} == expected


def test_api_answers_by_its_service(host: Host, api: Api) -> None:
    address = next(
        service["spec"]["clusterIP"] for service, _ in _ports(api) if service["metadata"]["name"] == "kubernetes"
    )
    assert host.addr(address).port(443).is_reachable, f"expected an answer by {address}:443, found none"


def test_node_ports_of_other_nodes_answer(host: Host, api: Api, others: list[Node]) -> None:
    # Whom policies let in is what `./inv verify` and `./inv matrix` try.
    isolating = {policy["metadata"]["namespace"] for policy in api.items("networkpolicies")}
    open_to_all = [(each, port) for each, port in _ports(api) if each["metadata"]["namespace"] not in isolating]
    served = [port["nodePort"] for each, port in open_to_all if "nodePort" in port and _endpoints(api, each, port)]
    asked = {(str(other.address), port) for other in others for port in served}
    assert {(address, port) for address, port in asked if host.addr(address).port(port).is_reachable} == asked


def _ports(api: Api) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each Service with an address of its own, with each of its ports."""
    served = [item for item in api.items("services") if item["spec"].get("clusterIP") not in (None, "", "None")]
    return [(service, port) for service in served for port in service["spec"]["ports"]]


def _endpoints(api: Api, service: dict[str, Any], port: dict[str, Any]) -> set[str]:
    """Ready ones of a port, as IP:PORT."""
    key = (service["metadata"]["namespace"], service["metadata"]["name"])
    item = next(it for it in api.items("endpoints") if (it["metadata"]["namespace"], it["metadata"]["name"]) == key)
    of_port = [
        (subset.get("addresses", []), there["port"])
        for subset in item.get("subsets", [])
        for there in subset.get("ports", [])
        if there.get("name") == port.get("name")
    ]
    return {f"{address['ip']}:{number}" for addresses, number in of_port for address in addresses}


def _reached(rules: list[str], entry: str) -> set[str]:
    """Where the chain of the Service behind a rule translates to."""
    chains = {rule.split()[-1] for rule in rules if re.match(f"{entry}.*-j KUBE-SVC-", rule)}
    ends = {rule.split()[-1] for rule in rules for chain in chains if rule.startswith(f"-A {chain} ")}
    return {rule.split()[-1] for rule in rules if rule.split()[1] in ends and " -j DNAT " in rule}
