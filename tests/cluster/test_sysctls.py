"""The kernel of a node: it forwards, bridged packets pass iptables, and nothing is swapped."""

import pytest
from testinfra.host import Host


@pytest.mark.parametrize("name", ["net.ipv4.ip_forward", "net.bridge.bridge-nf-call-iptables"])
def test_is_on(host: Host, name: str) -> None:
    # The second is there with the module br_netfilter only.
    assert host.file(f"/proc/sys/{name.replace('.', '/')}").exists, f"expected {name}, found no such sysctl"
    assert host.sysctl(name) == 1


def test_no_swap(host: Host) -> None:
    assert host.file("/proc/swaps").content_string.splitlines()[1:] == []
