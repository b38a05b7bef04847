"""Routes of a node: to its own pods by the bridge or a link each, to those of another by the tunnel or its address."""

from ipaddress import IPv4Network

import pytest
from testinfra.host import Host

from kubeproof.config.cluster import Node
from kubeproof.config.settings import Settings
from tests.cluster.conftest import Api


def test_no_rule_leads_elsewhere(host: Host) -> None:
    lines = host.check_output("ip -4 rule show").splitlines()
    assert [line.partition(":")[2].split() for line in lines] == [
        ["from", "all", "lookup", table] for table in ("local", "main", "default")
    ]


def test_pods_of_other_nodes(
    host: Host, api: Api, settings: Settings, others: list[Node], tunnel: str, uplink: str
) -> None:
    subnets = {node: api.subnet(node.name) for node in others}
    expected = [f"{there} via {there[0]} dev {tunnel} onlink" for there in subnets.values()]
    if settings.cni_backend == "host-gw":
        expected = [f"{there} via {node.address} dev {uplink}" for node, there in subnets.items()]
    assert [route for route in _routes(host, settings) if " dev c" not in route] == sorted(expected)


@pytest.mark.network("podnet", "flannel")
def test_own_pods(host: Host, settings: Settings, subnet: IPv4Network) -> None:
    expected = [f"{subnet} dev cni0"] if host.interface("cni0").exists else []
    assert [route for route in _routes(host, settings) if " dev c" in route] == expected


@pytest.mark.network("canal")
def test_own_pods_of_canal(host: Host, api: Api, node: Node, settings: Settings) -> None:
    found = [route.split(" dev cali")[0] for route in _routes(host, settings) if " dev c" in route]
    assert found == sorted(pod["status"]["podIP"] for pod in api.pods(node.name))


def _routes(host: Host, settings: Settings) -> list[str]:
    """Routes to pods in the words of `ip route`, as far as they decide where a packet goes; in order."""
    found = []
    for line in host.check_output("ip -4 route show table main").splitlines():
        to = next((word for word in line.split()[:2] if word[0].isdigit()), "default")
        if to != "default" and IPv4Network(to).overlaps(settings.pod_cidr):
            found.append(line.partition(" proto ")[0].partition(" scope ")[0].strip())
    return sorted(found)
