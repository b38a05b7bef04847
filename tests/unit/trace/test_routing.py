"""Which of several routes is taken, and which packets may come in."""

import json
from ipaddress import IPv4Address
from typing import Any

from kubeproof.trace.passing import Chance
from kubeproof.trace.routing import Key, lookup, refusal, text, type_of
from kubeproof.trace.world import Space

TO = IPv4Address("10.244.1.0")
HERE = IPv4Address("192.0.2.9")
MAIN = {"priority": 32766, "src": "all", "table": "main"}


def space(*routes: dict[str, Any], rules: tuple[dict[str, Any], ...] = (MAIN,), kernel: str = "") -> Space:
    texts = {"routes": json.dumps(routes), "rules": json.dumps(rules), "kernel": kernel}
    return Space("node", "", {**texts, "links": "[]", "addresses": "[]", "neighbours": "[]"})


def of_kernel(*names: str) -> str:
    return "".join(f"/proc/sys/net/ipv4/conf/{name}:1\n" for name in names)


def test_of_routes_that_are_equal_the_first_is_taken() -> None:
    """Old kernels have the broadcast address of a bridge's network beside the tunnel device's own."""
    own = {"type": "local", "dst": str(TO), "dev": "flannel.1", "table": "local", "scope": "host"}
    other = {"type": "broadcast", "dst": str(TO), "dev": "cni0", "table": "local", "scope": "link"}
    assert type_of(space(own, other), TO) == "local"
    assert type_of(space(other, own), TO) == "broadcast"


HOPS = [{"gateway": "192.0.2.1", "dev": "eth0"}, {"gateway": "192.0.3.1", "dev": "eth1"}]
MULTIPATH = {"dst": "default", "nexthops": HOPS}


def test_a_multipath_route_is_taken_by_chance() -> None:
    chance = Chance()
    route = lookup(space(MULTIPATH), Key(TO), chance)
    assert (route and route.device, chance.alternatives) == ("eth0", [(1,)])


def test_a_packet_may_come_in_by_every_next_hop_of_the_route_back() -> None:
    strict = space(MULTIPATH, kernel=of_kernel("all/rp_filter"))
    answers = {device: refusal(strict, Key(HERE, TO, in_device=device)) for device in ("eth0", "eth1", "eth2")}
    assert (answers["eth0"], answers["eth1"]) == ("", "")
    assert answers["eth2"] == "rp_filter 1 of eth2: the route back to 10.244.1.0 leads by eth0"


def test_own_addresses_are_accepted_where_all_devices_accept_them() -> None:
    own = {"type": "local", "dst": str(TO), "dev": "eth0", "table": "local"}
    assert "martian source" in refusal(space(own), Key(HERE, TO, in_device="eth0"))
    assert refusal(space(own, kernel=of_kernel("all/accept_local")), Key(HERE, TO, in_device="eth0")) == ""


def test_what_decides_is_named_with_its_table_or_is_the_rule_itself() -> None:
    other = {"priority": 77, "src": "all", "dst": "10.244.0.0", "dstlen": 16, "table": "77"}
    prohibit = {"priority": 70, "src": "all", "dst": "10.244.1.0", "dstlen": 24, "action": "prohibit"}
    nowhere = {"type": "unreachable", "dst": "default", "table": "77"}
    decided = [lookup(space(nowhere, rules=rules), Key(TO), Chance()) for rules in ((other, MAIN), (prohibit, MAIN))]
    assert [route and text(route) for route in decided] == [
        "route unreachable 0.0.0.0/0 table 77",
        "ip rule priority 70 src all dst 10.244.1.0 dstlen 24 action prohibit",
    ]


def test_without_a_carrier_a_route_is_taken_all_the_same() -> None:
    flags = (["linkdown"], ["dead", "linkdown"])
    found = [lookup(space({"dst": "default", "dev": "eth0", "flags": each}), Key(TO), Chance()) for each in flags]
    assert [route and route.device for route in found] == ["eth0", None]


def test_a_rule_that_is_inverted_selects_what_does_not_fit() -> None:
    inverted = {"priority": 1, "not": None, "src": "all", "fwmark": "0x1", "table": "51"}
    routes = ({"dst": "default", "dev": "wg0", "table": "51"}, {"dst": "default", "dev": "eth0"})
    here = space(*routes, rules=(inverted, MAIN))
    found = [lookup(here, Key(TO, mark=mark), Chance()) for mark in (0, 1)]
    assert [route and route.device for route in found] == ["wg0", "eth0"]
