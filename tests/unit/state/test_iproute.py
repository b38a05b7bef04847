"""Parsers of iproute2's JSON."""

import contextlib
import json
from ipaddress import IPv4Address, IPv4Interface, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeproof.state.errors import ParseError
from kubeproof.state.iproute import parse_addresses, parse_fdb, parse_links, parse_neighbours, parse_routes
from kubeproof.state.model import BridgePort, Namespace, Vxlan


def link(index: int, name: str, **more: object) -> dict[str, object]:
    base = {"ifindex": index, "ifname": name, "flags": ["UP", "LOWER_UP"], "mtu": 1500, "operstate": "UP"}
    return {**base, "address": f"02:00:00:00:00:{index:02x}", **more}


def test_a_vxlan_link_has_its_tunnel_data() -> None:
    data = {"id": 7, "local": "10.99.0.11", "link": "eth9", "port": 8472, "learning": False}
    text = json.dumps([link(4, "flannel.1", mtu=1450, linkinfo={"info_kind": "vxlan", "info_data": data})])
    (parsed,) = parse_links(text)
    assert parsed.vxlan == Vxlan(7, 8472, IPv4Address("10.99.0.11"), "eth9", learning=False)
    assert (parsed.kind, parsed.mtu, parsed.is_up, parsed.has_carrier) == ("vxlan", 1450, True, True)


def test_a_bridge_port_has_master_hairpin_and_the_index_of_its_other_end() -> None:
    slave = {
        "info_kind": "veth",
        "info_slave_kind": "bridge",
        "info_slave_data": {"state": "forwarding", "hairpin": True},
    }
    (parsed,) = parse_links(json.dumps([link(9, "veth1", master="cni0", link_index=2, link_netnsid=0, linkinfo=slave)]))
    assert (parsed.master, parsed.peer_index) == ("cni0", 2)
    assert parsed.bridge_port == BridgePort("forwarding", hairpin=True)


def test_the_other_end_of_a_veth_in_the_same_namespace_is_found_by_name() -> None:
    info = {"info_kind": "veth"}
    parsed = parse_links(json.dumps([link(2, "a", link="b", linkinfo=info), link(3, "b", link="a", linkinfo=info)]))
    assert [item.peer_index for item in parsed] == [3, 2]


def test_a_link_without_carrier() -> None:
    (parsed,) = parse_links(json.dumps([link(5, "docker0", flags=["NO-CARRIER", "UP"], operstate="DOWN")]))
    assert not parsed.has_carrier
    assert parsed.is_up


def test_addresses_of_another_family_are_left_out() -> None:
    info = [
        {"family": "inet", "local": "10.98.1.1", "prefixlen": 24, "scope": "global"},
        {"family": "inet6", "local": "fe80::1", "prefixlen": 64, "scope": "link"},
    ]
    (parsed,) = parse_addresses(json.dumps([{"ifname": "cni0", "addr_info": info}]))
    assert (parsed.device, parsed.interface, str(parsed)) == ("cni0", IPv4Interface("10.98.1.1/24"), "10.98.1.1/24")


def test_routes_keep_what_decides_where_a_packet_goes() -> None:
    rows = [
        {"dst": "default", "gateway": "10.99.0.1", "dev": "eth9", "flags": []},
        {"dst": "10.98.2.0/24", "gateway": "10.98.2.0", "dev": "flannel.1", "flags": ["onlink"], "table": "main"},
        {"type": "blackhole", "dst": "10.98.3.0/24", "flags": []},
        {"type": "local", "dst": "10.98.1.1", "dev": "cni0", "table": "local", "flags": []},
    ]
    default, onlink, blackhole, local = parse_routes(json.dumps(rows))
    assert default.destination == IPv4Network("0.0.0.0/0")
    assert str(onlink) == "10.98.2.0/24 via 10.98.2.0 dev flannel.1 onlink"
    assert str(blackhole) == "blackhole 10.98.3.0/24"
    assert (local.type, local.table, local.destination) == ("local", "local", IPv4Network("10.98.1.1/32"))


def test_a_multipath_route_has_a_route_for_each_hop() -> None:
    hops = [
        {"gateway": "10.99.0.1", "dev": "a", "flags": []},
        {"gateway": "10.99.0.2", "dev": "b", "flags": ["onlink"]},
    ]
    routes = parse_routes(json.dumps([{"dst": "default", "flags": [], "nexthops": hops}]))
    assert [(route.device, route.onlink) for route in routes] == [("a", False), ("b", True)]


def test_neighbours_and_fdb() -> None:
    neighbours = [{"dst": "10.98.2.0", "dev": "flannel.1", "lladdr": "02:00:00:00:00:0b", "state": ["PERMANENT"]}]
    (neighbour,) = parse_neighbours(json.dumps(neighbours))
    assert (neighbour.mac, neighbour.is_permanent) == ("02:00:00:00:00:0b", True)
    rows = [
        {
            "mac": "02:00:00:00:00:0b",
            "ifname": "flannel.1",
            "dst": "10.99.0.12",
            "flags": ["self"],
            "state": "permanent",
        },
        {"mac": "02:00:00:00:00:0c", "ifname": "veth1", "flags": [], "master": "cni0", "state": ""},
    ]
    tunnel, bridged = parse_fdb(json.dumps(rows))
    assert (tunnel.destination, tunnel.flags, tunnel.state) == (
        IPv4Address("10.99.0.12"),
        frozenset({"self"}),
        "permanent",
    )
    assert (bridged.destination, bridged.master) == (None, "cni0")


@pytest.mark.parametrize("text", ["", "[]", "[{}]", "[{},{}]"])
def test_nothing_is_an_empty_list(text: str) -> None:
    assert parse_neighbours(text) == ()


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (parse_links, "[{", "ip link: line 1 column 3: is not JSON"),
        (parse_links, "{}", "ip link: top: expected a list"),
        (parse_links, "[4]", r"ip link: \[0\]: expected an object, found 4"),
        (parse_links, '[{"ifindex": 1}]', r"ip link: \[0\].ifname: is missing"),
        (parse_links, '[{"ifname": "a", "ifindex": true}]', r"ifindex: expected a number, found True"),
        (parse_links, '[{"ifname": "a", "ifindex": 1, "mtu": "x"}]', r"mtu: expected a number"),
        (parse_routes, '[{"dst": "fd00::/8"}]', r"ip route: \[0\].dst: is not an IPv4 network: 'fd00::/8'"),
        (parse_routes, '[{"dst": "default", "gateway": "x"}]', r"gateway: is not an IPv4 address: 'x'"),
        (parse_routes, '[{"dst": "default", "flags": "x"}]', r"flags: expected a list"),
        (parse_neighbours, '[{"dst": 4}]', r"dst: expected a text, found 4"),
        (
            parse_addresses,
            '[{"ifname": "a", "addr_info": [{"family": "inet", "local": "10.0.0.1", "prefixlen": 40}]}]',
            r"ip addr: \[0\].addr_info\[0\].prefixlen: is not a prefix length: 40",
        ),
    ],
)
def test_malformed_output_is_named(parse: object, text: str, message: str) -> None:
    with pytest.raises(ParseError, match=message):
        parse(text)  # type: ignore[operator]


def vxlan(**data: object) -> str:
    info = {"info_kind": "vxlan", "info_data": {"port": 8472, **data}}
    return json.dumps([link(4, "v", linkinfo=info, altnames=["w"], qdisc="noqueue", promiscuity=0)])


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"id": 1, "local": "10.99.0.11", "link": "eth9"}, Vxlan(1, 8472, IPv4Address("10.99.0.11"), "eth9", False)),
        ({"id": 1, "local6": "fd00::1", "learning": True}, Vxlan(1, 8472, None, None, True)),
        ({"external": True, "port": 4789}, Vxlan(None, 4789, None, None, False)),
    ],
)
def test_tunnels_of_others_are_read_too(data: dict[str, object], expected: Vxlan) -> None:
    (parsed,) = parse_links(vxlan(**data))
    assert parsed.vxlan == expected


@pytest.mark.parametrize(
    ("row", "shown"),
    [
        (
            {"dst": "default", "via": {"family": "inet6", "host": "fe80::1"}, "dev": "a"},
            "0.0.0.0/0 via inet6 fe80::1 dev a",
        ),
        ({"dst": "10.0.0.0/8", "type": "unreachable", "metric": 4}, "unreachable 10.0.0.0/8 metric 4"),
        ({"dst": "10.0.0.0/8", "nhid": 5, "dev": "a", "flags": ["dead", "linkdown"]}, "10.0.0.0/8 dev a"),
        ({"dst": "10.0.0.0/8", "encap": "mpls", "encap_dst": 7, "gateway": "10.1.0.1"}, "10.0.0.0/8 via 10.1.0.1"),
        (
            {"dst": "10.0.0.0/8", "nexthops": [{"gateway": "10.1.0.1", "weight": 2, "flags": []}]},
            "10.0.0.0/8 via 10.1.0.1",
        ),
    ],
)
def test_routes_of_other_kinds(row: dict[str, object], shown: str) -> None:
    assert [str(route) for route in parse_routes(json.dumps([{}, row]))] == [shown]


def test_an_odd_entry_hides_no_other_and_is_told() -> None:
    rows = [{"mac": "02::1", "ifname": "a", "dst": "fd00::1", "vni": 3, "viaIf": "b"}, {"mac": "02::2"}, 4]
    odd: list[str] = []
    assert [entry.destination for entry in parse_fdb(json.dumps(rows), odd)] == [None]
    assert odd == [
        'bridge fdb: [1].ifname: is missing: {"mac": "02::2"}',
        "bridge fdb: [2]: expected an object, found 4: 4",
    ]
    assert parse_fdb(json.dumps(rows)) == parse_fdb(json.dumps(rows[:1]))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=12,
)


@given(JSON, st.sampled_from(["", "linkinfo", "addr_info", "nexthops", "via", "flags", "state", "dst", "mtu"]))
def test_any_json_is_parsed_or_refused(value: object, key: str) -> None:
    text = json.dumps(
        [{"ifindex": 1, "ifname": "a", "dst": "10.0.0.0/8", "mac": "m", "dev": "d", key: value}] if key else value
    )
    for parse in (parse_links, parse_addresses, parse_routes, parse_neighbours, parse_fdb):
        odd: list[str] = []
        if key:
            assert len(parse(text, odd)) + len(odd) <= 4
        else:
            with contextlib.suppress(ParseError):
                parse(text)


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused(text: str) -> None:
    for parse in (parse_links, parse_addresses, parse_routes, parse_neighbours, parse_fdb):
        with contextlib.suppress(ParseError):
            parse(text)


def test_a_vpns_table_has_no_say_in_the_default_route() -> None:
    routes = [
        {"type": "unicast", "dst": "default", "dev": "wg0", "table": "51820"},
        {"type": "unreachable", "dst": "default", "metric": 4278198272},
        {"type": "unicast", "dst": "default", "gateway": "192.0.2.1", "dev": "eth0"},
    ]
    assert Namespace(routes=parse_routes(json.dumps(routes))).default_link == "eth0"
    assert Namespace().default_link == ""
