"""How VXLAN finds the other nodes: ARP entries give the MAC of their tunnel, FDB entries the node behind that MAC."""

import pytest
from testinfra.host import Host

from kubeproof.config.cluster import Node
from tests.cluster.conftest import Api

pytestmark = pytest.mark.backend("vxlan")


def test_arp_entries(host: Host, api: Api, others: list[Node], macs: dict[str, str], tunnel: str) -> None:
    lines = host.check_output("ip -4 neigh show dev %s nud permanent", tunnel).splitlines()
    found = {line.split()[0]: line.split("lladdr ")[1].split()[0] for line in lines if "lladdr" in line}
    assert found == {str(api.subnet(other.name)[0]): macs[other.name] for other in others}


def test_fdb_entries(host: Host, others: list[Node], macs: dict[str, str], tunnel: str) -> None:
    lines = [line.split() for line in host.check_output("bridge fdb show dev %s", tunnel).splitlines()]
    found = {line[0]: line[line.index("dst") + 1] for line in lines if "dst" in line}
    expected = {macs[other.name]: str(other.address) for other in others}
    # flannel keeps the entry of a MAC that a node had before it was rebooted, which nobody sends to any more.
    assert {mac: found.get(mac) for mac in expected} == expected
    assert set(found.values()) <= set(expected.values()), f"expected entries for {expected}, found {found}"
