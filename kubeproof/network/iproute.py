"""Parsers for what iproute2 prints as JSON (ip(8) and bridge(8), -j). IPv4 only. All raise ParseError."""

from ipaddress import IPv4Address, IPv4Interface, IPv4Network

from kubeproof.network.jsontext import Item, read_items
from kubeproof.network.model import (
    MAIN_TABLE,
    UNICAST,
    Address,
    BridgePort,
    FdbEntry,
    Link,
    Neighbour,
    Route,
    Vxlan,
)

DEFAULT_ROUTE = IPv4Network("0.0.0.0/0")


def parse_links(text: str) -> tuple[Link, ...]:
    """Links from ``ip -j -d link show`` (without -d they lack kind, VXLAN and bridge port data)."""
    items = read_items("ip link", text)
    indices = {item.text("ifname"): item.number("ifindex") for item in items}
    return tuple(_link(item, indices) for item in items)


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
        vni=data.number("id"),
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


def parse_addresses(text: str) -> tuple[Address, ...]:
    """Addresses from ``ip -4 -j addr show``; entries of another family are left out."""
    return tuple(
        Address(item.text("ifname"), _interface(info), info.text_or_none("scope") or "")
        for item in read_items("ip addr", text)
        for info in item.items("addr_info")
        if info.text_or_none("family") == "inet"
    )


def _interface(info: Item) -> IPv4Interface:
    address, length = info.address("local"), info.number("prefixlen")
    try:
        return IPv4Interface((address, length))
    except ValueError:
        raise info.wrong("prefixlen", f"is not a prefix length: {length}") from None


def parse_routes(text: str) -> tuple[Route, ...]:
    """Routes from ``ip -4 -j -d route show table all``. A multipath route yields one Route for each next hop."""
    return tuple(route for item in read_items("ip route", text) for route in _route(item))


def _route(item: Item) -> tuple[Route, ...]:
    hops = item.items("nexthops") or (item,)
    return tuple(
        Route(
            destination=DEFAULT_ROUTE if item.text("dst") == "default" else item.network("dst"),
            device=hop.text_or_none("dev"),
            via=hop.address_or_none("gateway"),
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


def parse_neighbours(text: str) -> tuple[Neighbour, ...]:
    """ARP entries from ``ip -4 -j neigh show``."""
    return tuple(
        Neighbour(
            address=item.address("dst"),
            device=item.text("dev"),
            mac=item.text_or_none("lladdr"),
            states=frozenset(item.texts("state")),
        )
        for item in read_items("ip neigh", text)
    )


def parse_fdb(text: str) -> tuple[FdbEntry, ...]:
    """Forwarding database entries of all links from ``bridge -j fdb show``."""
    return tuple(
        FdbEntry(
            mac=item.text("mac"),
            device=item.text("ifname"),
            destination=_ipv4_or_none(item.text_or_none("dst")),
            flags=frozenset(item.texts("flags")),
            state=item.text_or_none("state") or "",
            master=item.text_or_none("master"),
        )
        for item in read_items("bridge fdb", text)
    )


def _ipv4_or_none(text: str | None) -> IPv4Address | None:
    """An outer destination; VXLAN over IPv6 is none of this project's, but another device on the host may use it."""
    return None if text is None or ":" in text else IPv4Address(text)
