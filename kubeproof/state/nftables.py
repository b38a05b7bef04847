"""kube-proxy's table in its mode nftables, from ``nft -j`` (libnftables-json(5)). Pure."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubeproof.state.errors import ParseError
from kubeproof.state.jsontext import read

_SOURCE = "nft -j list table ip kube-proxy"


@dataclass(frozen=True)
class ProxyTable:
    """All of it as nft writes it; empty where there is no such table."""

    rules: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By chain."""
    maps: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Verdicts by key, such as "10.96.0.1 . tcp . 443", by the map's name."""
    sets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Elements by name."""


def parse_proxy_table(text: str) -> ProxyTable:
    """Raises ParseError for a text that is not what nft prints."""
    try:
        listed = read(_SOURCE, text)["nftables"] if text.strip() else []
        objects = [(kind, value) for each in listed for kind, value in each.items()]
        rules: dict[str, list[str]] = {value["name"]: [] for kind, value in objects if kind == "chain"}
        for kind, value in objects:
            if kind == "rule":
                rules[value["chain"]].append(" ".join(map(_written, value["expr"])))
        return ProxyTable(
            {name: tuple(lines) for name, lines in rules.items()},
            {
                value["name"]: {_written(key): _written(verdict) for key, verdict in value.get("elem", ())}
                for kind, value in objects
                if kind == "map"
            },
            {value["name"]: tuple(map(_written, value.get("elem", ()))) for kind, value in objects if kind == "set"},
        )
    except (LookupError, TypeError, AttributeError) as error:
        raise ParseError(_SOURCE, "top", f"is not as nft prints a table ({error!r})") from None


def _written(value: Any) -> str:
    """A statement or an expression in nft's own words; JSON for what is not of kube-proxy's rules."""
    if not isinstance(value, dict):
        return str(value)
    ((name, inner),) = value.items()
    write = _WRITTEN.get(name)
    return write(inner) if write else json.dumps(value)


def _match(inner: Any) -> str:
    operator = "" if inner["op"] == "==" else f"{inner['op']} "
    return f"{_written(inner['left'])} {operator}{_written(inner['right'])}"


def _set(inner: Any) -> str:
    entries = (" : ".join(map(_written, each)) if isinstance(each, list) else _written(each) for each in inner)
    return f"{{ {', '.join(entries)} }}"


def _operation(name: str) -> Callable[[Any], str]:
    return lambda inner: f" {name} ".join(map(_written, inner))


_WRITTEN: Mapping[str, Callable[[Any], str]] = {
    **{name: _operation(name) for name in ("&", "|", "^")},
    "return": lambda _: "return",
    "masquerade": lambda _: "masquerade",
    "jump": lambda inner: f"jump {inner['target']}",
    "goto": lambda inner: f"goto {inner['target']}",
    "match": _match,
    "dnat": lambda inner: f"dnat to {inner['addr']}:{inner['port']}",
    "mangle": lambda inner: f"{_written(inner['key'])} set {_written(inner['value'])}",
    "vmap": lambda inner: f"{_written(inner['key'])} vmap {_written(inner['data'])}",
    "numgen": lambda inner: f"numgen {inner['mode']} mod {inner['mod']}",
    "payload": lambda inner: f"{inner['protocol']} {inner['field']}",
    "meta": lambda inner: f"meta {inner['key']}",
    "concat": lambda inner: " . ".join(map(_written, inner)),
    "prefix": lambda inner: f"{inner['addr']}/{inner['len']}",
    "elem": lambda inner: _written(inner["val"]),
    "set": _set,
}
