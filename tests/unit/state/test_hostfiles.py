"""Parsers of subnet.env, sysctl and /proc/swaps."""

import re
from ipaddress import IPv4Interface, IPv4Network

import pytest

from kubeproof.state.errors import ParseError
from kubeproof.state.hostfiles import (
    Identity,
    SubnetEnv,
    parse_clock,
    parse_identity,
    parse_subnet_env,
    parse_swaps,
    parse_sysctls,
)

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
        ("FLANNEL_MTU=", "FLANNEL_MTU ", "file: lacks FLANNEL_MTU"),
        ("10.98.0.0/16", "fd00::/48", "values to unpack"),
    ],
)
def test_a_bad_subnet_env_is_named(old: str, new: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse_subnet_env(GOOD.replace(old, new))


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("\n", "\r\n"),
        "# of flannel\n" + GOOD + "\nno assignment\n",
        re.sub("=(.*)", r'="\1"', GOOD),
        GOOD + "FLANNEL_IPV6_NETWORK=fd00:10:98::/56\nFLANNEL_IPV6_SUBNET=fd00:10:98:1::1/64\n",
        GOOD.replace("FLANNEL_NETWORK=", "FLANNEL_NETWORK=fd00:10:98::/56,"),
        GOOD.replace("true", "True"),
    ],
)
def test_a_subnet_env_may_be_written_otherwise(text: str) -> None:
    assert parse_subnet_env(text) == parse_subnet_env(GOOD)


def test_further_networks_of_flannel_are_kept() -> None:
    text = GOOD.replace("10.98.0.0/16", "10.98.0.0/16,172.16.0.0/16")
    assert str(parse_subnet_env(text)) == " ".join(text.split())
    assert parse_subnet_env(text) != parse_subnet_env(GOOD)


def test_an_identity_needs_a_hostname_and_nothing_else() -> None:
    assert parse_identity("hostname=a\nmachine_id=\nbanner\n") == Identity("a", "")
    with pytest.raises(ParseError, match="there is no hostname"):
        parse_identity("hostname=\nmachine_id=b\n")


@pytest.mark.parametrize(("text", "seconds"), [("1800000000.5\n", 1800000000.5), ("1800000000.%N\n", 1800000000.0)])
def test_clock(text: str, seconds: float) -> None:
    assert parse_clock(text) == seconds
    with pytest.raises(ParseError, match="is no number of seconds"):
        parse_clock(f"at {text}")


def test_sysctls() -> None:
    assert parse_sysctls("net.ipv4.ip_forward = 1\nkernel.x = a b\n") == {"net.ipv4.ip_forward": "1", "kernel.x": "a b"}
    assert parse_sysctls("sysctl: cannot stat\nnet.ipv4.ip_forward = 1\n") == {"net.ipv4.ip_forward": "1"}


def test_swaps() -> None:
    header = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
    assert parse_swaps(header) == ()
    assert parse_swaps(header + "/dev/dm-1  partition\t1024\t0\t-2\n") == ("/dev/dm-1",)
    with pytest.raises(ParseError, match="/proc/swaps: line 1"):
        parse_swaps("")
