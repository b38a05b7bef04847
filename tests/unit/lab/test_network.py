"""The lab's rules as text, and routes of the machine that lead to the lab's addresses."""

from ipaddress import IPv4Network

import pytest

from lab import network
from lab.network import Route
from lab.settings import FILE, LabSettings, parse, read_file

LAB = parse(read_file(FILE), {})
OTHER_RANGE = parse(read_file(FILE), {"KUBEPROOF_LAB_SERVICE_CIDR": "10.2.0.0/16"})
PROC_ROUTES = """\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
kubeproof0\t00C8A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
*\t0000F40A\t00000000\t0200\t0\t0\t-1\t0000FFFF\t0\t0\t0
tun0\t4DC8A8C0\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0
"""
FOUND = [
    Route(IPv4Network("192.0.2.0/24"), "eth0"),
    Route(IPv4Network("192.168.200.0/24"), "kubeproof0"),
    Route(IPv4Network("192.168.200.77/32"), "tun0"),
]


def test_routes_that_lead_somewhere() -> None:
    assert network.parse_routes(PROC_ROUTES) == FOUND


def test_only_routes_of_others_that_lead_to_the_lab_are_problems() -> None:
    (line,) = network.overlaps(LAB, FOUND)
    assert "192.168.200.0/24 of the lab overlaps this machine's route to 192.168.200.77/32 (dev tun0)" in line
    assert "lab/lab.toml" in line


def test_a_wide_route_overlaps_every_range_in_it() -> None:
    assert len(network.overlaps(LAB, [Route(IPv4Network("10.0.0.0/8"), "vpn0")])) == 2


LOCAL = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     +-- 10.96.0.0/24 2 0 2
        |-- 10.96.0.1
           /32 host LOCAL
        |-- 10.96.0.255
           /32 link BROADCAST
     |-- 192.168.200.1
        /32 host LOCAL
     |-- 192.168.200.77
        /32 host LOCAL
Local:
  +-- 0.0.0.0/0 3 0 5
     |-- 10.96.0.1
        /32 host LOCAL
     |-- 10.244.3.4
        /32 host LOCAL
"""


def test_addresses_of_the_machine_that_are_the_labs_too() -> None:
    """But its gateway's, and those that a route has told of already."""
    (line,) = network._taken(LAB, FOUND[:1] + FOUND[2:], LOCAL)
    assert line.startswith("10.244.0.0/16 of the lab has an address of this machine in it (10.244.3.4)")


def rules(chain: str) -> list[str]:
    """The lines of a chain, without its head."""
    body = network.render_table(LAB).partition(f"chain {chain} {{")[2].partition("}\n    chain")[0]
    return [line.strip() for line in body.strip().splitlines()[1:] if line.strip(" }")]


def test_nothing_is_forwarded_between_the_bridge_and_any_other_device() -> None:
    assert rules("forward") == [
        'iifname "kubeproof0" oifname != "kubeproof0" counter drop',
        'oifname "kubeproof0" iifname != "kubeproof0" counter drop',
    ]


def test_nodes_reach_the_mirror_and_nothing_else_of_the_machine() -> None:
    from_nodes = rules("input")[rules("input").index('iifname != "kubeproof0" accept') + 1 :]
    assert from_nodes == [
        "ct state established,related accept",
        "ip daddr 192.168.200.1 tcp dport { 5000, 3142 } accept",
        "ip daddr 192.168.200.1 icmp type echo-request accept",
        "counter drop",
    ]


def test_the_labs_addresses_are_never_asked_for_elsewhere() -> None:
    ranges = "192.168.200.0/24, 10.244.0.0/16, 10.1.0.0/16"
    assert rules("output")[0] == f'oifname != {{ "lo", "kubeproof0" }} ip daddr {{ {ranges} }} counter drop'


def test_the_table_is_replaced_in_one_transaction() -> None:
    lines = network.render_table(LAB).splitlines()
    assert lines[:2] == [f"table inet {network.TABLE} {{}}", f"delete table inet {network.TABLE}"]


@pytest.mark.parametrize(("other", "same"), [(LAB, True), (OTHER_RANGE, False)])
def test_the_tables_comment_tells_its_content(other: LabSettings, same: bool) -> None:
    comments = [network._comment(network.render_table(lab)) for lab in (LAB, other)]
    assert all(comments)
    assert (comments[0] == comments[1]) is same
