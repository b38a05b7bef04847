"""iptables: forwarding is refused but for pods, and packets are masqueraded where they leave the pod network."""

import re
from ipaddress import IPv4Network

import pytest
from testinfra.host import Host

from kubeproof.config.settings import Settings

COMMENT = re.compile(r' -m comment --comment ("[^"]*"|\S+)')


def rules(host: Host, table: str, chain: str, own: str) -> list[str]:
    """Rules of a chain, and of flannel's own that it calls, without comments and without the chain's name."""
    lines = [COMMENT.sub("", line) for line in host.iptables.rules(table)]
    called = f"-A {chain} -j {own}" in lines
    own_lines = [line.removeprefix(f"-A {own} ") for line in lines if line.startswith(f"-A {own} ")] if called else []
    return own_lines + [line.removeprefix(f"-A {chain} ") for line in lines if line.startswith(f"-A {chain} ")]


@pytest.mark.runtime("docker")
def test_forward_drops_by_default(host: Host) -> None:
    assert host.iptables.rules("filter", "FORWARD")[0] == "-P FORWARD DROP"


def test_forward_accepts_pods(host: Host, settings: Settings) -> None:
    found = rules(host, "filter", "FORWARD", "FLANNEL-FWD")
    expected = [f"-s {settings.pod_cidr} -j ACCEPT", f"-d {settings.pod_cidr} -j ACCEPT"]
    assert [line for line in found if line in expected] == expected, f"expected {expected}, found {found}"


def test_masquerading(host: Host, settings: Settings, subnet: IPv4Network) -> None:
    pods = settings.pod_cidr
    found = rules(host, "nat", "POSTROUTING", "FLANNEL-POSTRTG")
    mine = [line.removesuffix(" --random-fully") for line in found if str(pods) in line]
    assert mine == [
        f"-s {pods} -d {pods} -j RETURN",
        f"-s {pods} ! -d 224.0.0.0/4 -j MASQUERADE",
        f"! -s {pods} -d {subnet} -j RETURN",
        f"! -s {pods} -d {pods} -j MASQUERADE",
    ]
