"""A published manifest that is known by its SHA-256. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Pinned:
    """One published manifest. Minors are of Kubernetes, such as "1.20"; a last one of "" is any later."""

    project: str
    """Value of the setting cni."""
    version: str
    url: str
    sha256: str
    first: str
    last: str = ""
    """From ``first`` to ``last`` the API serves what it asks for, or what is done about the rest (see api.py)."""
    named: tuple[str, str] = ("", "")
    """First and last that its project names for it: no manifest tells which APIs a program asks for."""
    run: tuple[str, ...] = ()
    """Those that it was run with here, as published, and proven."""
    known: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What is known to go wrong, by minor."""

    def fits(self, minor: str) -> bool:
        """Whether the API of a minor version such as "1.20" serves it."""
        return within(minor, self.first, self.last)

    def is_tried(self, minor: str) -> bool:
        """Whether its project names that minor, or it was run with it here."""
        return minor in self.run or (bool(self.named[0]) and within(minor, *self.named))

    @property
    def title(self) -> str:
        return f"{self.project} {self.version}"

    @property
    def named_for(self) -> str:
        """Minors that its project names, for people."""
        first, last = self.named
        return f"{first} to {last}" if last else f"{first} and later"


def number(minor: str) -> tuple[int, int]:
    """A minor version such as "1.20", to be compared."""
    major, _, rest = minor.partition(".")
    return int(major), int(rest)


def within(minor: str, first: str, last: str) -> bool:
    """Whether a minor is one of ``first`` to ``last``; a last one of "" is any later."""
    return number(first) <= number(minor) and (not last or number(minor) <= number(last))
