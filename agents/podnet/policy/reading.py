"""NetworkPolicy objects as the agent understands them. What it cannot express allows nothing, and is said. Pure.

The API server validates what it stores, so what is refused here comes from a server of another version. Fields that are
not known may restrict a rule, so a rule with one allows nothing.
"""

import re
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Any, TypeVar, cast

from agents.podnet.policy.objects import (
    DIRECTIONS,
    HIGHEST_PORT,
    Block,
    Direction,
    PodPeer,
    Policy,
    PortMatch,
    Protocol,
    Rule,
)
from agents.podnet.policy.selectors import EVERYTHING, Operator, Requirement, Selector
from agents.podnet.policy.spans import merge, of_network, subtract

PEERS: dict[Direction, str] = {"ingress": "from", "egress": "to"}
T = TypeVar("T")


class InexpressibleError(Exception):
    """A part of a policy that podnet cannot express; the text names it."""


def read_policy(item: dict[str, Any]) -> Policy:
    """Reduce a NetworkPolicy object (networking.k8s.io/v1). Never fails: see Policy.inexpressible."""
    metadata = item["metadata"]
    problems: list[str] = []
    spec = item.get("spec")
    if not isinstance(spec, dict):
        problems.append("spec is missing")
        spec = {"policyTypes": ["Ingress", "Egress"]}
    # What the whole policy selects and restricts has to be known, or its rules could allow too much.
    known = _attempt(lambda: _known(spec, "spec", "podSelector", "policyTypes", *DIRECTIONS), problems)
    selector = _attempt(lambda: read_selector(spec.get("podSelector"), "spec.podSelector"), problems)
    isolates = _attempt(lambda: _types(spec), problems)
    whole = known and selector is not None and isolates is not None
    namespace = metadata["namespace"]
    return Policy(
        namespace=namespace,
        name=metadata["name"],
        version=str(metadata.get("resourceVersion", "")),
        selector=selector or EVERYTHING,
        isolates=isolates or frozenset(DIRECTIONS),
        ingress=tuple(_rules(namespace, spec, "ingress", problems)) if whole else (),
        egress=tuple(_rules(namespace, spec, "egress", problems)) if whole else (),
        inexpressible=tuple(problems),
    )


def _attempt(read: Callable[[], T], problems: list[str]) -> T | None:
    try:
        return read()
    except InexpressibleError as problem:
        problems.append(str(problem))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        problems.append(f"not understood: {type(error).__name__} {error}")
    return None


def _known(fields: Any, where: str, *names: str) -> bool:
    if not isinstance(fields, dict):
        raise InexpressibleError(f"{where} is no object")
    unknown = sorted(str(name) for name in fields.keys() - set(names))
    if unknown:
        raise InexpressibleError(f"{where}: unknown field {', '.join(unknown)}")
    return True


def _types(spec: dict[str, Any]) -> frozenset[Direction]:
    """The directions that a policy isolates; without policyTypes ingress always, and egress if it has rules for it."""
    named = spec.get("policyTypes")
    if not named:
        return frozenset(DIRECTIONS if spec.get("egress") else ("ingress",))
    kinds: dict[Any, Direction] = {"Ingress": "ingress", "Egress": "egress"}
    if unknown := [str(kind) for kind in named if kind not in kinds]:
        raise InexpressibleError(f"spec.policyTypes: unknown type {', '.join(unknown)}")
    return frozenset(kinds[kind] for kind in named)


def _rules(namespace: str, spec: dict[str, Any], direction: Direction, problems: list[str]) -> Iterator[Rule]:
    entries = spec.get(direction) or []
    if not isinstance(entries, list):
        problems.append(f"spec.{direction} is no list")
        return
    for index, entry in enumerate(entries):
        rule = _attempt(lambda: _rule(namespace, entry, direction, index), problems)  # noqa: B023 (called at once)
        if rule is not None:
            yield rule


def _rule(namespace: str, entry: dict[str, Any], direction: Direction, index: int) -> Rule:
    where, peers = f"spec.{direction}[{index}]", PEERS[direction]
    _known(entry, where, "ports", peers)
    return Rule(
        index=index,
        peers=_all_of(entry.get(peers), lambda peer, at: _peer(namespace, peer, at), f"{where}.{peers}"),
        ports=_all_of(entry.get("ports"), _port, f"{where}.ports"),
    )


def _all_of(entries: Any, read: Callable[[Any, str], T], where: str) -> tuple[T, ...] | None:
    """None for a missing or an empty list: both stand for everything."""
    if not entries:
        return None
    return tuple(read(entry, f"{where}[{index}]") for index, entry in enumerate(entries))


def _peer(namespace: str, peer: Any, where: str) -> PodPeer | Block:
    _known(peer, where, "podSelector", "namespaceSelector", "ipBlock")
    present = {name for name, value in peer.items() if value is not None}
    if present == {"ipBlock"}:
        return _block(peer["ipBlock"], f"{where}.ipBlock")
    if not present or "ipBlock" in present:
        raise InexpressibleError(f"{where}: neither selectors alone nor an ipBlock alone")
    return PodPeer(
        namespace=None if "namespaceSelector" in present else namespace,
        namespaces=read_selector(peer.get("namespaceSelector"), f"{where}.namespaceSelector"),
        pods=read_selector(peer.get("podSelector"), f"{where}.podSelector"),
    )


def _block(block: Any, where: str) -> Block:
    _known(block, where, "cidr", "except")
    cidr = _network(block.get("cidr"), f"{where}.cidr")
    holes = [_network(text, f"{where}.except") for text in block.get("except") or ()]
    if isinstance(cidr, IPv6Network):
        return Block(())
    return Block(subtract(merge([of_network(cidr)]), merge(of_network(hole) for hole in holes if hole.version == 4)))


def _network(text: Any, where: str) -> IPv4Network | IPv6Network:
    # The API takes host bits that are set (10.0.0.5/24), and Go's net.ParseCIDR clears them; it takes no netmask.
    for kind in (IPv4Network, IPv6Network) if re.search(r"/\d+$", str(text)) else ():
        try:
            return kind(str(text), strict=False)
        except ValueError:
            continue
    raise InexpressibleError(f"{where}: {text!r} is no CIDR")


def _port(entry: Any, where: str) -> PortMatch:
    _known(entry, where, "protocol", "port", "endPort")
    protocol = entry.get("protocol") or "TCP"
    if protocol not in ("TCP", "UDP", "SCTP"):
        raise InexpressibleError(f"{where}: unknown protocol {protocol}")
    port, last = entry.get("port"), entry.get("endPort")
    if port is None and last is None:
        return PortMatch(cast("Protocol", protocol))
    if isinstance(port, str) and port and last is None:
        return PortMatch(cast("Protocol", protocol), 0, 0, port)
    last = port if last is None else last
    if type(port) is not int or type(last) is not int or not 1 <= port <= last <= HIGHEST_PORT:
        raise InexpressibleError(f"{where}: port {port!r} to {last!r} is no range of ports")
    return PortMatch(cast("Protocol", protocol), port, last)


def read_selector(selector: Any, where: str) -> Selector:
    """A LabelSelector (meta/v1); a missing one is an empty one. Raises InexpressibleError."""
    if selector is None:
        return EVERYTHING
    _known(selector, where, "matchLabels", "matchExpressions")
    equal = (Requirement(key, "In", frozenset({value})) for key, value in (selector.get("matchLabels") or {}).items())
    expressions = (_requirement(entry, where) for entry in selector.get("matchExpressions") or ())
    return Selector(frozenset((*equal, *expressions)))


def _requirement(entry: Any, where: str) -> Requirement:
    _known(entry, f"{where}.matchExpressions", "key", "operator", "values")
    operator, values = entry.get("operator"), entry.get("values") or []
    if operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
        raise InexpressibleError(f"{where}: unknown operator {operator}")
    if bool(values) != (operator in ("In", "NotIn")):
        raise InexpressibleError(f"{where}: {operator} with {len(values)} values")
    return Requirement(entry["key"], cast("Operator", operator), frozenset(values))
