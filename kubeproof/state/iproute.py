"""Parsers for what iproute2 prints as JSON (ip(8) and bridge(8), -j). IPv4 only.

What cannot be read of a list is left out of the result and added to ``odd``, if given. All raise ParseError for a text
that is no list.
"""

from ipaddress import AddressValueError, IPv4Address, IPv4Interface, IPv4Network, IPv6Address

from kubeproof.state.jsontext import Item, read_each
from kubeproof.state.model import MAIN_TABLE, UNICAST, Address, BridgePort, FdbEntry, Link, Neighbour, Route, Vxlan

DEFAULT_ROUTE = IPv4Network("0.0.0.0/0")


def parse_links(text: str, odd: list[str] | None = None) -> tuple[Link, ...]:
    """Links from ``ip -j -d link show`` (without -d they lack kind, VXLAN and bridge port data)."""
    indices = dict(read_each("ip link", text, lambda item: [(item.text("ifname"), item.number("ifindex"))], []))
    return read_each("ip link", text, lambda item: [_link(item, indices)], odd)


def _link(item: Item, indices: dict[str, int]) -> Link:
    info = item.item("linkinfo")
    kind = info.text_or_none("info_kind")
    return Link(
        index=item.number("ifindex"),
        name=item.text("ifname"),
        mac=item.text("address") if "address" in item else "",
        mtu=item.number("mtu"),
        operstate=item.text("operstate"),
        flags=frozenset(item.texts("flags")),
        kind=kind,
        master=item.text_or_none("master"),
        peer_index=_peer_index(item, indices) if kind == "veth" else None,
        vxlan=_vxlan(info.item("info_data")) if kind == "vxlan" else None,
        bridge_port=_slave(info),
    )


def _peer_index(item: Item, indices: dict[str, int]) -> int | None:
    """The other end of a veth: by index where it is in another namespace, by name where it is in this one."""
    if "link_index" in item:
        return item.number("link_index")
    name = item.text_or_none("link")
    return indices.get(name) if name else None


def _vxlan(data: Item) -> Vxlan:
    return Vxlan(
        vni=data.number_or_none("id"),
        port=data.number("port"),
        local=data.address_or_none("local"),
        underlay=data.text_or_none("link"),
        learning=data.truth("learning"),
    )


def _slave(info: Item) -> BridgePort | None:
    if info.text_or_none("info_slave_kind") != "bridge":
        return None
    data = info.item("info_slave_data")
    return BridgePort(state=data.text_or_none("state") or "", hairpin=data.truth("hairpin"))


def parse_addresses(text: str, odd: list[str] | None = None) -> tuple[Address, ...]:
    """Addresses from ``ip -4 -j addr show``; entries of another family are left out."""
    return read_each("ip addr", text, _addresses, odd)


def _addresses(item: Item) -> list[Address]:
    return [
        Address(item.text("ifname"), _interface(info), info.text_or_none("scope") or "")
        for info in item.items("addr_info")
        if info.text_or_none("family") == "inet"
    ]


def _interface(info: Item) -> IPv4Interface:
    address, length = info.address("local"), info.number("prefixlen")
    try:
        return IPv4Interface((address, length))
    except ValueError:
        raise info.wrong("prefixlen", f"is not a prefix length: {length}") from None


def parse_routes(text: str, odd: list[str] | None = None) -> tuple[Route, ...]:
    """Routes from ``ip -4 -j -d route show table all``. A multipath route yields one Route for each next hop."""
    return read_each("ip route", text, _route, odd)


def _route(item: Item) -> tuple[Route, ...]:
    hops = item.items("nexthops") or (item,)
    return tuple(
        Route(
            destination=DEFAULT_ROUTE if item.text("dst") == "default" else item.network("dst"),
            device=hop.text_or_none("dev"),
            via=_gateway(hop),
            type=item.text_or_none("type") or UNICAST,
            table=item.text_or_none("table") or MAIN_TABLE,
            protocol=item.text_or_none("protocol") or "",
            scope=item.text_or_none("scope") or "",
            source=item.address_or_none("prefsrc"),
            metric=item.number_or_none("metric") or 0,
            flags=frozenset(item.texts("flags")) | frozenset(hop.texts("flags")),
        )
        for hop in hops
    )


def _gateway(hop: Item) -> IPv4Address | IPv6Address | None:
    """A next hop of the other family is under "via" (ip-route(8), via FAMILY ADDRESS)."""
    if "via" not in hop:
        return hop.address_or_none("gateway")
    via = hop.item("via")
    try:
        return IPv6Address(via.text("host"))
    except AddressValueError:
        raise via.wrong("host", f"is not an IPv6 address: {via.text('host')!r}") from None


def parse_neighbours(text: str, odd: list[str] | None = None) -> tuple[Neighbour, ...]:
    """ARP entries from ``ip -4 -j neigh show``."""
    return read_each("ip neigh", text, lambda item: [_neighbour(item)], odd)


def _neighbour(item: Item) -> Neighbour:
    return Neighbour(
        address=item.address("dst"),
        device=item.text("dev"),
        mac=item.text_or_none("lladdr"),
        states=frozenset(item.texts("state")),
    )


def parse_fdb(text: str, odd: list[str] | None = None) -> tuple[FdbEntry, ...]:
    """Forwarding database entries of all links from ``bridge -j fdb show``."""
    return read_each("bridge fdb", text, lambda item: [_fdb_entry(item)], odd)


def _fdb_entry(item: Item) -> FdbEntry:
    # VXLAN over IPv6 is none of this project's, but another device on the host may use it.
    is_ipv6 = ":" in (item.text_or_none("dst") or "")
    return FdbEntry(
        mac=item.text("mac"),
        device=item.text("ifname"),
        destination=None if is_ipv6 else item.address_or_none("dst"),
        flags=frozenset(item.texts("flags")),
        state=item.text_or_none("state") or "",
        master=item.text_or_none("master"),
    )
