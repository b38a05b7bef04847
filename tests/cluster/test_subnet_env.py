"""/run/flannel/subnet.env, by which flannel, and podnet as it, tells the CNI plugin the node's part of the pod CIDR."""

from ipaddress import IPv4Network

import pytest
from testinfra.host import Host

from kubeproof.config.settings import Settings


# Canal's flanneld writes its own inside of its pod only.
@pytest.mark.network("podnet", "flannel")
def test_subnet_env(host: Host, settings: Settings, subnet: IPv4Network, mtu: int) -> None:
    assert sorted(host.file("/run/flannel/subnet.env").content_string.split()) == [
        "FLANNEL_IPMASQ=true",
        f"FLANNEL_MTU={mtu}",
        f"FLANNEL_NETWORK={settings.pod_cidr}",
        f"FLANNEL_SUBNET={subnet[1]}/{subnet.prefixlen}",
    ]


def test_cni_configuration_that_counts(host: Host, settings: Settings) -> None:
    assert sorted(host.file("/etc/cni/net.d").listdir())[0] == f"10-{settings.cni}.conflist"
