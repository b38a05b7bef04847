"""Turns raw values into checked ones: the readers that every settings object is made of.

A reader takes a raw value and returns the checked one, or raises :class:`RefusedError`. All are pure.
"""

import difflib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from ipaddress import AddressValueError, IPv4Address, IPv4Network, NetmaskValueError
from itertools import combinations
from pathlib import PurePath
from typing import TypeVar

T = TypeVar("T")
Reader = Callable[[object], T]

MAX_PORT = 65535

_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
"""RFC 1123 label, lower case as Kubernetes wants it for names of objects (at most 63 characters)."""
_DNS_NAME_LENGTH = 253
_TAG = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}"
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?(?::[0-9]{1,5})?"
_REPOSITORY = re.compile(rf"(?:{_HOST}/)?{_PATH_PART}(?:/{_PATH_PART})*")
_IMAGE = re.compile(rf"{_REPOSITORY.pattern}(?::{_TAG})?(?:@sha256:[0-9a-f]{{64}})?")
_URL = re.compile(r"https?://[^\s/?#]+(?:/[^\s?#]*)?")


class RefusedError(Exception):
    """A value that cannot be taken: what is wrong with it, and what to do."""

    def __init__(self, wrong: str, advice: str) -> None:
        super().__init__(wrong, advice)
        self.wrong = wrong
        self.advice = advice

    def line(self, name: str, value: object) -> str:
        """The problem as one line: ``name: what is wrong (value), what to do``."""
        return problem(name, self.wrong, value, self.advice)


def problem(name: str, wrong: str, value: object, advice: str) -> str:
    """One line for one problem, whatever is in the value."""
    written = str(value)
    shown = written if written and written.isprintable() else repr(value)
    return f"{name}: {wrong} ({shown}), {advice}"


def printable(line: str) -> str:
    return line if line.isprintable() else repr(line)[1:-1]


def closest(name: str, known: Iterable[str]) -> str | None:
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def text(value: object) -> str:
    """Any text without line breaks or spaces around it."""
    if not isinstance(value, str):
        raise RefusedError(f"is not a text but {_kind(value)}", "put it in quotes")
    if value != value.strip() or not value.isprintable():
        raise RefusedError("has spaces around it or control characters in it", "remove them")
    return value


def truth(value: object) -> bool:
    """True or False and nothing that merely looks like it."""
    if not isinstance(value, bool):
        raise RefusedError(f"is not a truth value but {_kind(value)}", "use True or False")
    return value


def integer(lowest: int, highest: int) -> Reader[int]:
    """A whole number within bounds, both included."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise RefusedError(
                f"is not a whole number but {_kind(value)}", f"use {lowest} to {highest}, without quotes"
            )
        if not lowest <= value <= highest:
            raise RefusedError("is out of range", f"use {lowest} to {highest}")
        return value

    return read


port = integer(1, MAX_PORT)


def number(lowest: float, highest: float) -> Reader[float]:
    """A number within bounds, both included."""

    def read(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise RefusedError(f"is not a number but {_kind(value)}", f"use {lowest:g} to {highest:g}, without quotes")
        if not lowest <= value <= highest:
            raise RefusedError("is out of range", f"use {lowest:g} to {highest:g}")
        return float(value)

    return read


def none_or(read: Reader[T]) -> Reader[T | None]:
    return lambda value: None if value is None else read(value)


def empty_or(read: Reader[str]) -> Reader[str]:
    """The empty text, or what another reader takes."""
    return lambda value: "" if value == "" else read(value)


def filled(read: Reader[str], advice: str) -> Reader[str]:
    """What another reader takes; the empty text that stands for "no default" is refused with advice of its own."""

    def read_filled(value: object) -> str:
        if value == "":
            raise RefusedError("has no value", advice)
        return read(value)

    return read_filled


def one_of(*choices: str) -> Reader[str]:
    """One of the words that work today."""

    def read(value: object) -> str:
        if value not in choices:
            meant = closest(value, choices) if isinstance(value, str) else None
            hint = f" (did you mean {meant}?)" if meant else ""
            raise RefusedError("is not one of the choices", f"use {' or '.join(choices)}{hint}")
        return str(value)

    return read


def matching(pattern: str, wrong: str, advice: str) -> Reader[str]:
    """A text that matches a whole regular expression."""
    compiled = re.compile(pattern)

    def read(value: object) -> str:
        if not compiled.fullmatch(text(value)):
            raise RefusedError(wrong, advice)
        return str(value)

    return read


def list_of(read: Reader[str]) -> Reader[tuple[str, ...]]:
    """A list or tuple of what another reader takes, without repetitions."""

    def read_all(value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple):
            raise RefusedError(f"is not a list but {_kind(value)}", "put it in square brackets")
        items = tuple(_item(read, item) for item in value)
        if len(set(items)) < len(items):
            raise RefusedError("names something twice", "remove the repetition")
        return items

    return read_all


def _item(read: Reader[str], item: object) -> str:
    try:
        return read(item)
    except RefusedError as refused:
        raise RefusedError(f"has the item {item!r}, which {refused.wrong}", refused.advice) from None


def network(value: object) -> IPv4Network:
    """An IPv4 network in CIDR form, such as 10.244.0.0/16: all host bits zero, prefix given."""
    if isinstance(value, IPv4Network):
        return value
    written = text(value)
    if not written:
        raise RefusedError("has no value", "write a network as a.b.c.d/N, e.g. 192.168.200.0/24")
    if "/" not in written:
        raise RefusedError("has no prefix length", "write it as a.b.c.d/N, e.g. 10.244.0.0/16")
    try:
        return IPv4Network(written)
    except (AddressValueError, NetmaskValueError):
        raise RefusedError("is not an IPv4 network", "write it as a.b.c.d/N, e.g. 10.244.0.0/16") from None
    except ValueError:
        raise RefusedError("has host bits set", f"did you mean {IPv4Network(written, strict=False)}?") from None


def address(value: object) -> IPv4Address:
    """An IPv4 address without prefix, such as 192.168.200.11."""
    if type(value) is IPv4Address:  # not one with a network, which is a subclass
        return value
    try:
        return IPv4Address(text(value))
    except AddressValueError:
        raise RefusedError("is not an IPv4 address", "write it as a.b.c.d, e.g. 192.168.200.11") from None


def dns_label(value: object) -> str:
    """One part of a DNS name (RFC 1123), as host names and names of Kubernetes objects are made of."""
    if not _DNS_LABEL.fullmatch(text(value)):
        raise RefusedError(
            "is not a host name (RFC 1123)",
            "use 1 to 63 lower-case letters, digits and hyphens, with a letter or digit at both ends",
        )
    return str(value)


def dns_name(value: object) -> str:
    """A DNS name of one or more labels (RFC 1123), at most 253 characters, as kubelet takes it for a node's name."""
    name = text(value)
    if len(name) > _DNS_NAME_LENGTH:
        raise RefusedError("is longer than a DNS name can be", f"use at most {_DNS_NAME_LENGTH} characters")
    for label in name.split("."):
        dns_label(label)
    return name


def url(value: object) -> str:
    """An http or https URL without query or fragment."""
    if not _URL.fullmatch(text(value)):
        raise RefusedError("is not a URL", "write it as http://host[:port]/path or https://host[:port]/path")
    return str(value)


def path(value: object) -> str:
    """An absolute path, or one that begins with ``~/``; an object of pathlib is one too."""
    written = text(str(value) if isinstance(value, PurePath) else value)
    if not written.startswith(("/", "~/")):
        raise RefusedError("is not an absolute path", "begin it with / or ~/")
    return written


def path_or_url(value: object) -> str:
    return url(value) if isinstance(value, str) and "://" in text(value) else path(value)


image_repository = matching(
    rf"{_HOST}(?:/{_PATH_PART})*", "is not an image repository", "write it as host[:port]/path or host:port"
)
"""``host[:port][/path]`` without tag, as kubeadm's imageRepository wants it."""
image = matching(_IMAGE.pattern, "is not an image reference", "write it as [host[:port]/]path[:tag]")
"""``[host[:port]/]path[:tag][@sha256:digest]``."""
image_tag = matching(_TAG, "is not an image tag", "use letters, digits, '.', '_' and '-', e.g. 3.4.13-0")
registry = matching(
    rf"{_HOST}|(?:\d+\.){{3}}\d+/\d+", "is not a registry", "write it as host[:port] or as a network in CIDR form"
)
"""``host[:port]``, or a CIDR network, as Docker's insecure-registries takes them."""


def without_unknown(
    raw: Collection[str], known: Collection[str], synonyms: Mapping[str, str] | None = None
) -> list[str]:
    """A problem for each name that nothing reads, with the name that was probably meant.

    ``synonyms`` are words of other tools. What begins with an underscore is meant by nothing that does not.
    """
    problems = []
    for name in sorted(set(raw) - set(known)):
        likely = [other for other in known if other.startswith("_") == name.startswith("_")]
        meant = (synonyms or {}).get(name) or closest(name, likely)
        hint = f"did you mean {meant}?" if meant else "remove it"
        problems.append(f"{name}: no such setting, {hint}")
    return problems


def checked(
    raw: Mapping[str, object], readers: Mapping[str, Reader[object]], advice: str
) -> tuple[dict[str, object], list[str]]:
    """The values that their readers take, and a problem for each other one, for what is not set, and for other names.

    ``advice`` is for what is not set.
    """
    values: dict[str, object] = {}
    problems = without_unknown(raw.keys(), readers.keys())
    for name, read in readers.items():
        if name not in raw:
            problems.append(f"{name}: is not set, {advice}")
            continue
        try:
            values[name] = read(raw[name])
        except RefusedError as refused:
            problems.append(refused.line(name, raw[name]))
    return values, problems


def overlaps(values: Mapping[str, object], names: Iterable[str]) -> Iterator[str]:
    """A problem for each pair of networks among ``names`` that share addresses; what is no network is left out."""
    networks = {name: values.get(name) for name in names}
    given = {name: item for name, item in networks.items() if isinstance(item, IPv4Network)}
    for (name, one), (other_name, other) in combinations(given.items(), 2):
        if one.overlaps(other):
            yield problem(other_name, f"overlaps {name} {one}", other, "choose networks that share no address")


def _kind(value: object) -> str:
    return "None" if value is None else f"of type {type(value).__name__}"
