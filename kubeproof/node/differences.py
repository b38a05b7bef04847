"""What differs between two texts, as lines for people. Pure."""

import difflib
import re
from collections.abc import Iterable

NAMED = 6
SHOWN = 12
_CREDENTIALS = re.compile(r"(?<=://)[^/@\s\"']+@")
"""User and password of a URL (RFC 3986, userinfo)."""
MASK = "…@"


def difference(now: str, wanted: str) -> list[str]:
    """Lines that would go (``- ``) and come (``+ ``), without those around them, and not more than fit a plan."""
    lines = difflib.unified_diff(now.splitlines(), wanted.splitlines(), n=0, lineterm="")
    return shortened(f"{line[0]} {line[1:]}" for line in list(lines)[2:] if line[0] in "+-")


def shortened(lines: Iterable[str]) -> list[str]:
    """The first of these lines, without passwords in URLs."""
    told = [_CREDENTIALS.sub(MASK, line) for line in lines]
    return told if len(told) <= SHOWN else [*told[: SHOWN - 1], f"… and {len(told) - SHOWN + 1} lines more"]


def named(what: str, items: Iterable[str]) -> str:
    """A phrase such as "lacks: a, b and 3 more"."""
    names = list(items)
    more = len(names) - NAMED
    return f"{what} {', '.join(names[:NAMED])}{f' and {more} more' if more > 0 else ''}"
