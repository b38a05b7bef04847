"""What rules of iptables and nftables do to one packet, and which of them are not understood."""

import json
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from kubeproof.trace.collecting import Facts
from kubeproof.trace.model import End, Packet, Place
from kubeproof.trace.netfilter import Firewall
from kubeproof.trace.passing import ESTABLISHED, INVALID, Chance, EndedError, Passing, Tracked
from kubeproof.trace.world import Space

FACTS = Facts((), IPv4Network("10.244.0.0/16"), IPv4Network("10.1.0.0/16"), "podnet")
PACKET = Packet("tcp", IPv4Address("10.244.1.2"), IPv4Address("10.244.2.3"), 40000, 80)
ROUTES = [
    {"type": "unicast", "dst": "default", "dev": "eth0", "table": "main"},
    {"type": "local", "dst": "192.0.2.9", "dev": "eth0", "table": "local"},
]
RULES = [{"priority": 0, "src": "all", "table": "local"}, {"priority": 32766, "src": "all", "table": "main"}]
SETS = "create web hash:ip,port family inet\nadd web 10.244.2.3,tcp:80\ncreate nets hash:net\nadd nets 10.244.0.0/16\n"
OWN = {"family": "inet", "local": "192.0.2.9", "prefixlen": 24, "scope": "global"}
ADDRESSES = [{"ifname": "eth0", "addr_info": [OWN]}]


def space(iptables: str = "", nft: Sequence[object] = ()) -> Space:
    texts = {
        "iptables": iptables,
        "nft": json.dumps({"nftables": nft}),
        "routes": json.dumps(ROUTES),
        "rules": json.dumps(RULES),
        "addresses": json.dumps(ADDRESSES),
        "ipsets": SETS,
    }
    return Space("node", "", texts)


def passing(where: Space, hook: Place = Place.FORWARD, chance: Chance | None = None, **more: Any) -> Passing:
    packet = more.pop("packet", PACKET)
    more = {"in_device": "cni0", "out_device": "eth0", "tracked": Tracked(packet, packet.reply), **more}
    return Passing(where, hook, packet, chance or Chance(), **more)


def filtered(*rules: str, policy: str = "ACCEPT", **more: Any) -> str:
    """What the filter table does at FORWARD: "passed", or how it ended."""
    chains = sorted({word for rule in rules for word in rule.split() if word.startswith("own")})
    declared = [f":FORWARD {policy} [0:0]", *(f":{chain} - [0:0]" for chain in chains)]
    where = space("\n".join(["*filter", *declared, *(f"-A {rule}" for rule in rules), "COMMIT"]))
    try:
        Firewall(where, FACTS).traverse(passing(where, **more))
    except EndedError as ended:
        return ended.outcome.end.value
    return "passed"


UDP = replace(PACKET, protocol="udp")
MATCHING = {
    "-s 10.244.1.0/24": True,
    "! -s 10.244.1.0/24": False,
    "-p tcp -m tcp --dport 80": True,
    "-p tcp -m tcp ! --dport 80": False,
    "-p udp -m udp --dport 80": False,
    "-i cni+": True,
    "-o cni0": False,
    "-m addrtype --dst-type LOCAL": False,
    "-m addrtype ! --src-type LOCAL": True,
    "-m conntrack --ctstate RELATED,ESTABLISHED": False,
    "-m mark --mark 0x0/0x4000": True,
    "-p tcp -m multiport --dports 22,79:81": True,
    "-p tcp -m multiport --dports 22": False,
    "-m iprange --src-range 10.244.1.1-10.244.1.3": True,
    "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN": True,
    "-m set --match-set web dst,dst": True,
    "-m set ! --match-set nets src": False,
    "-m physdev --physdev-is-bridged": False,
    "-m physdev --physdev-in veth1": True,
    '-m comment --comment "for nobody"': True,
    "-m recent --rcheck --seconds 10800 --reap --name X --mask 255.255.255.255 --rsource": False,
    "-m connmark --mark 0x0/0x1": True,
    "-m rpfilter --validmark --invert": True,
}
UNKNOWN = (
    "-m set --match-set nobodys src",
    "-m string --string x --algo bm",
    "-m owner --uid-owner 0",
    "-m limit --limit 5/min",
    "-m u32 --u32 0x0",
    "-m statistic --mode nth --every 2 --packet 0",
    "-m mark --mark 0x0 -m mark --mark 0x1",
)


@pytest.mark.parametrize("condition", MATCHING)
def test_conditions_that_are_understood(condition: str) -> None:
    done = filtered(f"FORWARD {condition} -j DROP", port_in="veth1")
    assert done == ("dropped" if MATCHING[condition] else "passed")


@pytest.mark.parametrize("condition", UNKNOWN)
def test_what_is_not_understood_is_undecided_unless_it_cannot_matter(condition: str) -> None:
    assert filtered(f"FORWARD {condition} -j DROP") == "undecided"
    assert filtered(f"FORWARD {condition} -j LOG") == "passed"
    assert filtered(f"FORWARD -p udp {condition} -j DROP") == "passed"
    assert filtered(f"FORWARD {condition} -j STRANGE") == "undecided"


def test_jumps_returns_and_policies() -> None:
    assert filtered("FORWARD -j own", "own -p tcp -j RETURN", "own -j ACCEPT", policy="DROP") == "dropped"
    assert filtered("FORWARD -j own", "own -j ACCEPT", policy="DROP") == "passed"
    # A chain that was gone to returns to where its caller was jumped to from.
    assert filtered("FORWARD -j own1", "FORWARD -j DROP", "own1 -g own2", "own1 -j ACCEPT", "own2 -p udp") == "dropped"
    assert filtered("FORWARD -j own", "own -j own") == "undecided"
    assert filtered("FORWARD -j REJECT --reject-with icmp-port-unreachable") == "refused"


def test_marks_are_set_and_kept_with_the_connection() -> None:
    marked = ("FORWARD -j MARK --set-xmark 0x4000/0x4000", "FORWARD -m mark --mark 0x4000/0x4000 -j DROP")
    assert filtered(*marked) == "dropped"
    saved = ("FORWARD -j CONNMARK --save-mark --nfmask 0xff --ctmask 0xff", "FORWARD -m connmark --mark 0x7 -j DROP")
    assert filtered(*saved, mark=7) == "dropped"


@pytest.mark.parametrize(("state", "dropped"), [(ESTABLISHED, False), (INVALID, True)])
def test_states(state: str, dropped: bool) -> None:
    rules = ("FORWARD -m conntrack --ctstate INVALID -j DROP", "FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT")
    assert (filtered(*rules, state=state) == "dropped") is dropped


CHANCE = "-m statistic --mode random --probability 0.25"
NAT = f"""*nat
:PREROUTING ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
-A PREROUTING -p tcp -m tcp --dport 80 {CHANCE} -j DNAT --to-destination 192.0.2.1:8080
-A PREROUTING -p tcp -m tcp --dport 80 -j DNAT --to-destination 192.0.2.2
-A PREROUTING -p tcp -m tcp --dport 443 -j REDIRECT --to-ports 8443
-A POSTROUTING -d 192.0.2.1/32 -j MASQUERADE --random-fully
-A POSTROUTING -j SNAT --to-source 192.0.2.77:1000
COMMIT
"""


def translated(hook: Place, chance: Chance | None = None, **more: Any) -> str:
    where = space(NAT)
    found = passing(where, hook, chance, **more)
    Firewall(where, FACTS).traverse(found)
    return str(found.packet)


def test_translation_by_chance() -> None:
    first, second = Chance(), Chance((1,))
    assert translated(Place.PREROUTING, first) == "10.244.1.2:40000 > 192.0.2.1:8080"
    assert first.alternatives == [(1,)]
    assert translated(Place.PREROUTING, second) == "10.244.1.2:40000 > 192.0.2.2:80"
    assert (first.probability, second.probability) == (0.25, 0.75)


def test_other_translations() -> None:
    to = replace(PACKET, destination_port=443)
    assert translated(Place.PREROUTING, in_device="eth0", packet=to) == "10.244.1.2:40000 > 192.0.2.9:8443"
    assert translated(Place.POSTROUTING) == "192.0.2.77:1000 > 10.244.2.3:80"
    masqueraded = replace(PACKET, destination=IPv4Address("192.0.2.1"))
    assert translated(Place.POSTROUTING, packet=masqueraded) == "192.0.2.9:? > 192.0.2.1:80"


def test_chains_of_nat_are_asked_for_the_first_packet_alone() -> None:
    assert translated(Place.PREROUTING, state=ESTABLISHED) == str(PACKET)
    settled = Tracked(PACKET, PACKET.reply, destination_settled=True)
    assert translated(Place.PREROUTING, tracked=settled) == str(PACKET)


# nftables -------------------------------------------------------------------------------------------------------------

CT = {"ct": {"key": "ip saddr", "dir": "original"}}
PORT = {"ct": {"key": "proto-src", "dir": "reply"}}
SADDR = {"payload": {"protocol": "ip", "field": "saddr"}}
DPORT = {"payload": {"protocol": "tcp", "field": "dport"}}
DROP = {"drop": None}


def match(left: object, right: object, operator: str = "==") -> dict[str, object]:
    return {"match": {"op": operator, "left": left, "right": right}}


def ruleset(*rules: list[Any], family: str = "inet", hook: str = "forward", policy: str = "accept") -> list[Any]:
    of = {"family": family, "table": "own"}
    return [
        {"table": {"family": family, "name": "own"}},
        {"set": {**of, "name": "free", "elem": ["10.244.1.2", {"range": ["10.9.0.0", "10.9.0.9"]}]}},
        {"set": {**of, "name": "pairs", "elem": [{"concat": ["10.244.1.2", 80]}]}},
        {"map": {**of, "name": "verdicts", "elem": [["10.244.1.2", {"jump": {"target": "more"}}]]}},
        {"chain": {**of, "name": "base", "type": "filter", "hook": hook, "prio": -10, "policy": policy}},
        {"chain": {**of, "name": "more"}},
        {"rule": {**of, "chain": "more", "handle": 1, "expr": [DROP]}},
        *({"rule": {**of, "chain": "base", "handle": 2, "expr": rule}} for rule in rules),
    ]


def decided(*rules: list[Any], **more: Any) -> str:
    where = space(nft=ruleset(*rules, **more))
    try:
        Firewall(where, FACTS).traverse(passing(where))
    except EndedError as ended:
        return ended.outcome.end.value
    return "passed"


NFT_MATCHING: list[tuple[dict[str, Any], bool]] = [
    (match({"meta": {"key": "iifname"}}, "cni0"), True),
    (match({"meta": {"key": "iifname"}}, "cni*"), True),
    (match({"meta": {"key": "oifname"}}, "cni0"), False),
    (match({"meta": {"key": "nfproto"}}, "ipv6"), False),
    (match({"meta": {"key": "l4proto"}}, {"set": ["tcp", "udp"]}), True),
    (match({"ct": {"key": "state"}}, ["invalid", "untracked"], "in"), False),
    (match({"ct": {"key": "state"}}, "new", "in"), True),
    (match(CT, "@free"), True),
    (match({"concat": [CT, PORT]}, "@pairs"), True),
    (match(PORT, {"range": [70, 90]}), True),
    (match(SADDR, {"prefix": {"addr": "10.244.0.0", "len": 16}}), True),
    (match(SADDR, {"prefix": {"addr": "10.244.0.0", "len": 16}}, "!="), False),
    (match(DPORT, 80), True),
    (match({"payload": {"protocol": "udp", "field": "dport"}}, 80), False),
    (match({"&": [{"meta": {"key": "mark"}}, 16384]}, 0), True),
    (match({"fib": {"result": "type", "flags": ["daddr"]}}, "local"), False),
    (match({"ct": {"key": "state"}}, {"set": ["established", "related"]}), False),
    (match({"ct": {"key": "state"}}, {"set": ["established", "new"]}), True),
    (match({"meta": {"key": "pkttype"}}, "host"), True),
]


@pytest.mark.parametrize(("condition", "holds"), NFT_MATCHING)
def test_expressions_that_are_understood(condition: dict[str, Any], holds: bool) -> None:
    assert decided([condition, {"counter": None}, DROP]) == ("dropped" if holds else "passed")


STRANGE = match({"osf": {"key": "name"}}, "Linux")


def test_an_expression_that_is_not_understood_is_undecided_unless_it_cannot_matter() -> None:
    assert decided([STRANGE, DROP]) == "undecided"
    assert decided([STRANGE, {"counter": None}]) == "passed"
    assert decided([STRANGE, match(DPORT, 81), DROP]) == "passed"
    assert decided([{"xt": {"type": "target", "name": "DNAT"}}]) == "undecided"
    assert decided([{"limit": {"rate": 5}}, DROP]) == "undecided"
    flags = {"payload": {"protocol": "tcp", "field": "flags"}}
    assert decided([match(flags, {"|": ["syn", "ack"]}), DROP]) == "undecided"


def test_a_rule_ends_where_it_asks_for_a_header_that_the_packet_does_not_have() -> None:
    key = {"payload": {"protocol": "udp", "field": "dport"}}
    assert decided([{"vmap": {"key": key, "data": {"set": [[80, DROP]]}}}]) == "passed"
    assert decided([{"mangle": {"key": {"meta": {"key": "mark"}}, "value": key}}, DROP]) == "passed"


def test_what_changes_nothing_that_is_looked_at_is_passed_over() -> None:
    size = {"key": {"tcp option": {"name": "maxseg", "field": "size"}}, "value": {"rt": {"key": "mtu"}}}
    priority = {"key": {"meta": {"key": "priority"}}, "value": "1:2"}
    assert decided([{"mangle": size}, {"mangle": priority}, DROP]) == "dropped"


def test_maps_policies_and_hooks() -> None:
    assert decided([{"vmap": {"key": CT, "data": "@verdicts"}}]) == "dropped"
    states = {"set": [["established", {"accept": None}], ["new", DROP]]}
    assert decided([{"vmap": {"key": {"ct": {"key": "state"}}, "data": states}}]) == "dropped"
    assert decided([{"accept": None}], policy="drop") == "passed"
    assert decided(policy="drop") == "dropped"
    assert decided([DROP], hook="input") == "passed"
    assert decided([DROP], family="ip6") == "passed"
    assert decided([{"jump": {"target": "more"}}]) == "dropped"
    assert decided([{"reject": None}]) == "refused"


@pytest.mark.parametrize(
    ("family", "hook", "place", "device", "done"),
    [
        ("bridge", "forward", Place.BRIDGE, "veth1", "dropped"),
        ("netdev", "ingress", Place.INGRESS, "eth0", "dropped"),
        ("inet", "ingress", Place.INGRESS, "eth0", "dropped"),
        ("netdev", "ingress", Place.INGRESS, "eth1", "passed"),
        ("ip", "forward", Place.BRIDGE, "veth1", "passed"),
        ("netdev", "ingress", Place.BRIDGE, "eth0", "passed"),
    ],
)
def test_chains_that_see_frames(family: str, hook: str, place: Place, device: str, done: str) -> None:
    assert framed([match(DPORT, 80), DROP], family=family, hook=hook, place=place, device=device) == done


def test_of_a_frame_not_everything_is_known() -> None:
    state = match({"ct": {"key": "state"}}, "new", "in")
    assert framed([state, DROP]) == "undecided"
    assert framed([match({"meta": {"key": "pkttype"}}, "host"), DROP]) == "undecided"
    assert framed([match({"payload": {"protocol": "ether", "field": "type"}}, "ip"), DROP]) == "dropped"
    assert framed([{"fwd": {"dev": "eth1"}}], family="netdev", hook="ingress", place=Place.INGRESS) == "undecided"


def framed(
    rule: list[Any], *, family: str = "bridge", hook: str = "forward", place: Place = Place.BRIDGE, device: str = "eth0"
) -> str:
    rules = ruleset(rule, family=family, hook=hook)
    for item in rules:
        if "chain" in item and hook == "ingress":
            item["chain"]["dev"] = "eth0"
    where = space(nft=rules)
    try:
        Firewall(where, FACTS).see_frame(passing(where, place, in_device=device, tracked=None), hook)
    except EndedError as ended:
        return ended.outcome.end.value
    return "passed"


def test_tables_come_in_the_order_of_their_priorities() -> None:
    mark = {"mangle": {"key": {"meta": {"key": "mark"}}, "value": 16384}}
    where = space("*filter\n:FORWARD ACCEPT\n-A FORWARD -m mark --mark 0x4000 -j DROP\nCOMMIT", ruleset([mark]))
    with pytest.raises(EndedError) as caught:
        Firewall(where, FACTS).traverse(passing(where))
    assert (caught.value.outcome.end, caught.value.outcome.owner) == (End.DROPPED, "by hand")
