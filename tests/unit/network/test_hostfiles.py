"""Parsers of subnet.env, sysctl and /proc/swaps."""

from ipaddress import IPv4Interface, IPv4Network

import pytest

from kubeproof.network.errors import ParseError
from kubeproof.network.hostfiles import SubnetEnv, parse_subnet_env, parse_swaps, parse_sysctls

GOOD = "FLANNEL_NETWORK=10.98.0.0/16\nFLANNEL_SUBNET=10.98.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n"


def test_subnet_env() -> None:
    parsed = parse_subnet_env(GOOD)
    assert parsed == SubnetEnv(IPv4Network("10.98.0.0/16"), IPv4Interface("10.98.1.1/24"), 1450, masquerade=True)
    assert str(parsed) == " ".join(GOOD.split())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("FLANNEL_MTU=1450\n", "", "file: lacks FLANNEL_MTU"),
        ("1450", "many", "invalid literal"),
        ("10.98.1.1/24", "10.98.1/24", "Expected 4 octets"),
        ("true", "yes", "FLANNEL_IPMASQ: is neither true nor false: 'yes'"),
        ("FLANNEL_MTU=", "FLANNEL_MTU ", "line 3: is not KEY=VALUE"),
        ("FLANNEL_MTU=1450", "FLANNEL_IPMASQ=true", "line 4: sets FLANNEL_IPMASQ a second time"),
    ],
)
def test_a_bad_subnet_env_is_named(old: str, new: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse_subnet_env(GOOD.replace(old, new))


def test_sysctls() -> None:
    assert parse_sysctls("net.ipv4.ip_forward = 1\nkernel.x = a b\n") == {"net.ipv4.ip_forward": "1", "kernel.x": "a b"}
    with pytest.raises(ParseError, match="sysctl: line 1"):
        parse_sysctls("sysctl: cannot stat\n")


def test_swaps() -> None:
    header = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    assert parse_swaps(header) == ()
    assert parse_swaps(header + "/dev/dm-1  partition\t1024\t0\t-2\n") == ("/dev/dm-1",)
    with pytest.raises(ParseError, match="/proc/swaps: line 1"):
        parse_swaps("")
