"""The links of a node's pod network: the VXLAN device, and the bridge that pods are plugged into."""

import json
from ipaddress import IPv4Network

import pytest
from testinfra.host import Host

from kubeproof.config.cluster import Node
from kubeproof.config.settings import Settings
from tests.cluster.conftest import Api


@pytest.mark.backend("vxlan")
def test_tunnel(host: Host, settings: Settings, tunnel: str, uplink: str, mtu: int) -> None:
    link = json.loads(host.check_output("ip -d -j link show %s", tunnel))[0]
    data = link["linkinfo"]["info_data"]
    found = (data["id"], data["port"], data["link"], data["learning"], "UP" in link["flags"], link["mtu"])
    assert found == (settings.vxlan_vni, settings.vxlan_port, uplink, False, True, mtu)


@pytest.mark.backend("vxlan")
def test_address_of_the_tunnel(host: Host, subnet: IPv4Network, tunnel: str) -> None:
    assert host.interface(tunnel, "inet").addresses == [str(subnet[0])]


@pytest.mark.network("podnet", "flannel")
def test_bridge(host: Host, api: Api, node: Node, subnet: IPv4Network) -> None:
    bridge = host.interface("cni0", "inet")
    if not api.pods(node.name) and not bridge.exists:
        return  # It comes with the first pod.
    assert (bridge.addresses, "UP" in bridge.link[0]["flags"]) == ([str(subnet[1])], True)


@pytest.mark.network("podnet", "flannel")
def test_pods_are_plugged_into_the_bridge(host: Host, api: Api, node: Node, settings: Settings, mtu: int) -> None:
    ports = [port for port in json.loads(host.check_output("ip -j link show type veth")) if "UP" in port["flags"]]
    assert [port["mtu"] for port in ports if port.get("master") == "cni0"] == [settings.cni_mtu or mtu] * len(
        api.pods(node.name)
    )


@pytest.mark.parametrize("name", ["cni0", "flannel.1"])
def test_nothing_of_another_network(host: Host, settings: Settings, tunnel: str, name: str) -> None:
    own = {tunnel} if settings.cni_backend == "vxlan" else set()
    own |= {"cni0"} if settings.cni != "canal" else set()
    assert name in own or not host.interface(name).exists, f"expected no {name}, found one"
