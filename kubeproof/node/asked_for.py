"""What of the objects in a manifest the cluster does not have. Pure.

Only what the manifest asks for is compared: the API server adds fields of its own (defaults, status, managedFields,
the addresses of Services, the secrets of ServiceAccounts), and leaves out those that are empty.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from kubeproof.networks.documents import identity
from kubeproof.node.texts import difference

Object = dict[str, Any]

_SERVERS = ("status", "apiVersion", "kind")
"""Top-level fields that no manifest decides; the version is the one that was asked for."""
_SERVERS_METADATA = ("creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid")
_QUANTITIES = ("capacity", "hard", "limits", "requests", "sizeLimit")
"""Fields whose values, or the values within, are quantities, which the server writes in their shortest form."""
_UNITS = {"": 0, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_QUANTITY = re.compile(r"(-?[0-9]*\.?[0-9]+)(?:([KMGTPE])i|([numkMGTPE]?)|[eE]([+-]?[0-9]+))")
"""Resource quantities (apimachinery, api/resource/quantity.go)."""


def differences(wanted: Sequence[Object], live: Sequence[Object]) -> list[str]:
    """A line for each object that is not there, and lines that would go (``- ``) and come (``+ ``) for each field."""
    there = {_key(item): item for item in live}
    lines: list[str] = []
    for item in wanted:
        found = there.get(_key(item))
        if found is None:
            lines.append(f"+ {identity(item)}")
        else:
            lines += _of_object(item, found)
    return lines


def _key(item: Object) -> tuple[str, str, str]:
    """Group and kind, namespace and name; what has no namespace, or leaves it out, is taken for one in default."""
    metadata = item["metadata"]
    group = str(item.get("apiVersion", "")).rpartition("/")[0]
    return f"{group}/{item['kind']}", metadata.get("namespace") or "default", metadata["name"]


def _of_object(wanted: Object, live: Object) -> Iterator[str]:
    asked = {key: value for key, value in wanted.items() if key not in _SERVERS}
    asked["metadata"] = {key: value for key, value in wanted["metadata"].items() if key not in _SERVERS_METADATA}
    for path, now, value in _fields(asked, live, ()):
        yield f"{identity(wanted)}: {'.'.join(path).replace('.[', '[')}"
        yield from difference(_text(now), _text(value))


def _fields(wanted: Any, live: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """Path, value in the cluster and value that is asked for, of the outermost that cannot be compared further."""
    if _is_empty(wanted):
        # An empty one asks for what the server does without it, which may have been filled in since.
        if not _is_empty(live) and not isinstance(wanted, dict) and wanted is not None and path[-1] != "caBundle":
            yield path, live, wanted
    elif isinstance(wanted, Mapping) and isinstance(live, Mapping):
        for key, value in wanted.items():
            yield from _fields(value, live.get(key), (*path, str(key)))
    elif isinstance(wanted, list) and isinstance(live, list):
        pairs = _pairs(wanted, live, path)
        if pairs is None:
            yield path, live, wanted
        for name, value, now in pairs or ():
            yield from _fields(value, now, (*path, name))
    elif not _same(wanted, live, path):
        yield path, live, wanted


def _pairs(wanted: list[Any], live: list[Any], path: tuple[str, ...]) -> list[tuple[str, Any, Any]] | None:
    """Items that belong together, by name or place; None if the lists are of other items."""
    names = [_name(item) for item in wanted]
    if len(set(names)) == len(names) and None not in names:
        by_name = {_name(item): item for item in live}
        # The controller of ServiceAccounts adds to their secrets.
        if set(names) == set(by_name) or (path == ("secrets",) and set(names) <= set(by_name)):
            return [(f"[{name}]", item, by_name[name]) for name, item in zip(names, wanted, strict=True)]
        return None
    if len(wanted) != len(live):
        return None
    return [(f"[{place}]", item, now) for place, (item, now) in enumerate(zip(wanted, live, strict=True))]


def _name(item: Any) -> str | None:
    name = item.get("name") if isinstance(item, dict) else None
    return name if isinstance(name, str) else None


def _is_empty(value: Any) -> bool:
    return value is None or value is False or value in ("", 0, {}, [])


def _same(wanted: Any, live: Any, path: Iterable[str]) -> bool:
    if wanted == live and isinstance(wanted, bool) == isinstance(live, bool):
        return True
    if any(field in _QUANTITIES for field in path):
        one, other = _quantity(wanted), _quantity(live)
        return one is not None and one == other
    return False


def _quantity(value: Any) -> Decimal | None:
    match = _QUANTITY.fullmatch(str(value))
    if not match:
        return None
    number, binary, decimal, exponent = match.groups()
    if binary:
        return Decimal(number) * Decimal(1024 ** ("KMGTPE".index(binary) + 1))
    return Decimal(number).scaleb(int(exponent) if exponent else _UNITS[decimal or ""])


def _text(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else repr(value)
