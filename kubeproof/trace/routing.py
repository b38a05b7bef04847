"""Which route a packet takes, and whether it may come in where it does (ip-rule(8), ip-route(8)). Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from kubeproof.state.model import Route
from kubeproof.trace.passing import Chance, undecided
from kubeproof.trace.world import Space

RULE = "ip rule"
STRICT = 1
"""Value of rp_filter (Documentation/networking/ip-sysctl)."""
_KNOWN = {"priority", "src", "srclen", "dst", "dstlen", "fwmark", "fwmask", "iif", "table", "action", "protocol", "not"}
_NOWHERE = ("unreachable", "blackhole", "prohibit")
_DEAD = "dead"
"""Flag of a route whose device is down. One without a carrier (linkdown) is taken all the same, as by default
(ignore_routes_with_linkdown)."""


@dataclass(frozen=True)
class Key:
    """What a route is looked up by; ``in_device`` is "" for a packet that the namespace sends itself."""

    destination: IPv4Address
    source: IPv4Address | None = None
    mark: int = 0
    in_device: str = ""


def lookup(space: Space, key: Key, chance: Chance) -> Route | None:
    """The route, which may be one of a type that leads nowhere; None if there is none.

    Raises EndedError where a rule of policy routing is not understood, and UnknownError where they were not read.
    """
    found = _candidates(space, key)
    return found[chance.choose([1 / len(found)] * len(found)) if len(found) > 1 else 0] if found else None


def _candidates(space: Space, key: Key) -> list[Route]:
    """The next hops of the route, each as a route."""
    for rule in space.rules:
        selected, inverted = _selects(rule, key), "not" in rule
        if not (selected or inverted):
            continue
        if strange := set(rule) - _KNOWN:
            raise undecided(f"a rule of policy routing is not understood ({', '.join(sorted(strange))})", _text(rule))
        if selected is inverted:
            continue
        if rule.get("action") in _NOWHERE:
            return [Route(IPv4Network("0.0.0.0/0"), None, type=rule["action"], table=_text(rule))]
        found = _in_table(space, str(rule.get("table", "main")), key.destination)
        if found and found[0].type != "throw":
            return found
    return []


def _selects(rule: Mapping[str, Any], key: Key) -> bool:
    return (
        _within(rule, "src", key.source)
        and _within(rule, "dst", key.destination)
        and _is_marked(rule, key.mark)
        and ("iif" not in rule or rule["iif"] == (key.in_device or "lo"))
    )


def _within(rule: Mapping[str, Any], name: str, address: IPv4Address | None) -> bool:
    network = rule.get(name, "all")
    if network == "all":
        return True
    return address is not None and address in IPv4Network(f"{network}/{rule.get(f'{name}len', 32)}", strict=False)


def _is_marked(rule: Mapping[str, Any], mark: int) -> bool:
    if "fwmark" not in rule:
        return True
    mask = int(str(rule.get("fwmask", "0xffffffff")), 0)
    return mark & mask == int(str(rule["fwmark"]), 0)


def _text(rule: Mapping[str, Any]) -> str:
    return f"{RULE} " + " ".join(f"{name} {value}" for name, value in rule.items() if value is not None)


def text(route: Route) -> str:
    """What decides, as its tool prints it: a rule of policy routing, or a route and the table that it is in."""
    if route.table.startswith(RULE):
        return route.table
    return f"route {route}{f' table {route.table}' if route.table not in ('main', 'local') else ''}"


def _in_table(space: Space, table: str, destination: IPv4Address) -> list[Route]:
    """The next hops of a table's best route: of the longest prefix, then of the least metric, then the first."""
    fitting = [
        route
        for route in space.network.routes_in(table)
        if destination in route.destination and _DEAD not in route.flags and _is_usable(space, route)
    ]
    if not fitting:
        return []
    best = min((-route.destination.prefixlen, route.metric) for route in fitting)
    equal = [route for route in fitting if (-route.destination.prefixlen, route.metric) == best]
    return [route for route in equal if _identity(route) == _identity(equal[0])]


def _identity(route: Route) -> tuple[object, ...]:
    """What the next hops of one multipath route share."""
    return route.type, route.protocol, route.scope, route.source


def _is_usable(space: Space, route: Route) -> bool:
    if route.type == "local":
        return True  # own addresses are reached with their link down, as kube-ipvs0 is (fib_sync_down_dev)
    link = space.network.link(route.device) if route.device else None
    return link is None or link.is_up


def source_for(space: Space, route: Route, next_hop: IPv4Address) -> IPv4Address | None:
    """The address that the kernel takes for what the namespace sends itself (inet_select_addr)."""
    if route.source is not None:
        return route.source
    own = space.network.addresses_of(route.device or "")
    near = (each.ip for each in own if next_hop in each.interface.network)
    usable = (each.ip for each in own if each.scope != "host")
    others = (each.ip for each in space.network.addresses if each.scope not in ("host", "link"))
    return next(near, None) or next(usable, None) or next(others, None)


def refusal(space: Space, key: Key) -> str:
    """Why a packet from ``key.source`` may not come in by ``key.in_device``; "" if it may (fib_validate_source)."""
    return next(_refusals(space, key), "")


def _refusals(space: Space, key: Key) -> Iterator[str]:
    device = key.in_device
    if device == "lo" or key.source is None:
        return
    local = _in_table(space, "local", key.source)
    accepted = space.setting("accept_local", "all") or space.setting("accept_local", device)
    if local and local[0].type == "local" and not accepted:
        yield f"its source {key.source} is an address of {space} itself (martian source)"
    strictness = max(space.setting("rp_filter", "all"), space.setting("rp_filter", device))
    if not strictness:
        return
    back = _candidates(space, Key(key.source, key.destination, key.mark))
    setting = f"rp_filter {strictness} of {device}"
    if not back or back[0].type in _NOWHERE:
        yield f"{setting}: there is no route back to {key.source}"
    elif strictness == STRICT and all(route.device != device for route in back):
        yield f"{setting}: the route back to {key.source} leads by {back[0].device}"


def type_of(space: Space, address: IPv4Address) -> str:
    """What an address is to a namespace: "local", "broadcast", "multicast" or "unicast" (addrtype)."""
    if address.is_multicast:
        return "multicast"
    local = _in_table(space, "local", address)
    return local[0].type if local else "unicast"
