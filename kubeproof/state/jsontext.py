"""Typed access to JSON that a tool printed; every surprise becomes a ParseError that says where."""

import json
from collections.abc import Callable, Iterable, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import Any, TypeVar

from kubeproof.state.errors import ParseError

T = TypeVar("T")


class Item:
    """One JSON object, with the place that it came from."""

    def __init__(self, source: str, where: str, value: object) -> None:
        if not isinstance(value, Mapping):
            raise ParseError(source, where, f"expected an object, found {_shown(value)}")
        self.source = source
        self.where = where
        self._value: Mapping[str, Any] = value

    def __contains__(self, key: str) -> bool:
        return self._value.get(key) is not None

    def wrong(self, key: str, wrong: str) -> ParseError:
        return ParseError(self.source, f"{self.where}.{key}", wrong)

    def _typed(self, key: str, kind: type | tuple[type, ...], name: str) -> Any:
        value = self._value.get(key)
        if value is None:
            raise self.wrong(key, "is missing")
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.wrong(key, f"expected {name}, found {_shown(value)}")
        return value

    def text(self, key: str) -> str:
        return str(self._typed(key, str, "a text"))

    def text_or_none(self, key: str) -> str | None:
        return self.text(key) if key in self else None

    def number(self, key: str) -> int:
        return int(self._typed(key, int, "a number"))

    def number_or_none(self, key: str) -> int | None:
        return self.number(key) if key in self else None

    def truth(self, key: str) -> bool:
        return bool(self._typed(key, bool, "true or false")) if key in self else False

    def texts(self, key: str) -> tuple[str, ...]:
        values = self._typed(key, list, "a list") if key in self else []
        if not all(isinstance(value, str) for value in values):
            raise self.wrong(key, f"expected a list of texts, found {_shown(values)}")
        return tuple(values)

    def mapping(self, key: str) -> dict[str, str]:
        """An object of texts, such as labels; {} where it is absent."""
        values = self._typed(key, dict, "an object") if key in self else {}
        if not all(isinstance(value, str) for value in values.values()):
            raise self.wrong(key, f"expected an object of texts, found {_shown(values)}")
        return dict(values)

    def item(self, key: str) -> "Item":
        """An object within; an empty one where it is absent."""
        return Item(self.source, f"{self.where}.{key}", self._value.get(key) or {})

    def items(self, key: str) -> tuple["Item", ...]:
        values = self._typed(key, list, "a list") if key in self else []
        return tuple(Item(self.source, f"{self.where}.{key}[{index}]", value) for index, value in enumerate(values))

    def json(self, key: str) -> str:
        """A value of any kind as JSON text again, for the parser that knows it."""
        if key not in self:
            raise self.wrong(key, "is missing")
        return json.dumps(self._value[key])

    def address(self, key: str) -> IPv4Address:
        return self.as_address(key, self.text(key))

    def as_address(self, key: str, text: str) -> IPv4Address:
        """A text that came from ``key``, or from a list that goes with it."""
        try:
            return IPv4Address(text)
        except AddressValueError:
            raise self.wrong(key, f"is not an IPv4 address: {text!r}") from None

    def address_or_none(self, key: str) -> IPv4Address | None:
        return self.address(key) if key in self else None

    def network(self, key: str) -> IPv4Network:
        return self.as_network(key, self.text(key))

    def as_network(self, key: str, text: str) -> IPv4Network:
        try:
            return IPv4Network(text)
        except ValueError:
            raise self.wrong(key, f"is not an IPv4 network: {text!r}") from None


def read(source: str, text: str) -> Any:
    """Parse JSON. Raises ParseError with line and column."""
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise ParseError(source, where, f"is not JSON ({error.msg}), text begins {text[:40]!r}") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, lists a thousand deep
        raise ParseError(source, "text", f"is no JSON that can be read: {error}") from None


def read_each(
    source: str, text: str, make: Callable[[Item], Iterable[T]], odd: list[str] | None = None
) -> tuple[T, ...]:
    """What ``make`` makes of each object of a JSON list; what it cannot read is left out, and added to ``odd``.

    iproute2 prints nothing at all for some empty lists, and {} within others. Raises ParseError if the text is no list,
    and without ``odd`` where nothing of it could be read.
    """
    values = read(source, text) if text.strip() else []
    if not isinstance(values, list):
        raise ParseError(source, "top", f"expected a list, found {_shown(values)}")
    found: list[T] = []
    errors: list[ParseError] = []
    for index, value in enumerate(values):
        try:
            found += make(Item(source, f"[{index}]", value)) if value != {} else ()
        except ParseError as error:
            errors.append(error)
            (odd if odd is not None else []).append(f"{error}: {json.dumps(value)[:200]}")
    if errors and not found and odd is None:
        raise errors[0]
    return tuple(found)


def _shown(value: object) -> str:
    return repr(value)[:60]
