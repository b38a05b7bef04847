"""A value within an object, with its place: what is wrong with it is collected, so that all can be reported at once."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address

from kubeproof.state.kubernetes_yaml import TEMPLATE_ADVICE, Report, one_line, template_mark

SHOWN_CHARACTERS = 60


@dataclass(frozen=True)
class Field:
    """A value at ``path`` (``spec.ingress[0].from``) of the object at ``place`` (``x.yaml document 1 (Pod a/b)``).

    Null counts as absent, as it does to the API server. ``strict`` is for what people write: it refuses fields that
    nobody reads; a cluster's objects may have those of later versions.
    """

    report: Report
    place: str
    path: str
    value: object
    strict: bool = True

    @property
    def given(self) -> bool:
        return self.value is not None

    @property
    def may_have_fields(self) -> bool:
        """Whether it is worth asking for what is missing in it: it is an object, or nothing at all."""
        return not self.given or isinstance(self.value, Mapping)

    def problem(self, wrong: str) -> None:
        line = self._line(wrong)
        if line not in self.report.problems:
            self.report.problems.append(line)

    def note(self, text: str) -> None:
        self.report.notes.append(self._line(text))

    def wrong(self, what: str) -> None:
        if isinstance(self.value, str) and template_mark(self.value):
            what = f"is a template that is not rendered; {TEMPLATE_ADVICE}"
        self.problem(f"{shown(self.value)} {what}")

    def _line(self, text: str) -> str:
        line = f"{self.place}: {self.path}: {text}" if self.path else f"{self.place}: {text}"
        return one_line(line)

    def get(self, key: str) -> "Field":
        """A field of this object; absent where this is none."""
        value = self.value.get(key) if isinstance(self.value, Mapping) else None
        return self._at(f"{self.path}.{key}" if self.path else key, value)

    def _at(self, path: str, value: object) -> "Field":
        return Field(self.report, self.place, path, value, self.strict)

    def members(self) -> dict[str, "Field"]:
        if not self.given:
            return {}
        if not isinstance(self.value, Mapping):
            self.wrong("is no object; write fields as `name: value` below it")
            return {}
        found = {}
        for key in self.value:
            if isinstance(key, str):
                found[key] = self.get(key)
            else:
                self.problem(f"the name {shown(key)} is no text; put it in quotes")
        return found

    def only(self, *known: str) -> None:
        """Refuse fields with other names (an API server drops them without a word, or refuses them since 1.25)."""
        for name, member in self.members().items():
            if name not in known and self.strict:
                member.problem(f"there is no such field; use {', '.join(known)}")

    def items(self) -> list["Field"]:
        if not self.given:
            return []
        if not isinstance(self.value, list):
            self.wrong("is no list; begin each item with `- `")
            return []
        return [self._at(f"{self.path}[{index}]", item) for index, item in enumerate(self.value)]

    def text(self) -> str | None:
        """A text; None if absent or something else."""
        if not self.given or isinstance(self.value, str):
            return self.value if isinstance(self.value, str) else None
        self.wrong("is no text; put it in quotes")
        return None

    def checked(self, valid: Callable[[str], bool], wrong: str) -> str | None:
        """A text that is valid; None if absent or something else."""
        value = self.text()
        if value is None or valid(value):
            return value
        self.wrong(wrong)
        return None

    def number(self, lowest: int, highest: int) -> int | None:
        """A whole number within bounds, both included; None if absent or something else."""
        if not self.given:
            return None
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            self.wrong(f"is no whole number; use {lowest} to {highest}, without quotes")
            return None
        if not lowest <= self.value <= highest:
            self.wrong(f"is out of range; use {lowest} to {highest}")
            return None
        return self.value

    def truth(self) -> bool:
        """True or false; absent is false."""
        if self.given and not isinstance(self.value, bool):
            self.wrong("is neither true nor false; write one of them, without quotes")
        return self.value is True

    def address(self) -> IPv4Address | None:
        """An IPv4 address; None if absent, empty or something else. IPv6 addresses are none to an IPv4 network."""
        value = self.text()
        if not value:
            return None
        try:
            return IPv4Address(value)
        except AddressValueError:
            if self.strict and not is_ipv6(value):
                self.wrong("is no IPv4 address; write it as a.b.c.d")
            return None


def is_ipv6(value: str) -> bool:
    try:
        IPv6Address(value)
    except AddressValueError:
        return False
    return True


def shown(value: object) -> str:
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "a list"
    written = json.dumps(value, ensure_ascii=False, default=str)
    return written if len(written) <= SHOWN_CHARACTERS else f"{written[:SHOWN_CHARACTERS]}…"
