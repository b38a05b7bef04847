"""Texts of files: how two differ, as lines for people, and a marked block of lines in a file of others. Pure."""

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


BEGIN = "# BEGIN kubeproof: nodes of the cluster"
END = "# END kubeproof"


def without_block(text: str) -> str:
    before, begin, rest = text.partition(f"{BEGIN}\n")
    if not begin:
        return text
    return before + rest.partition(f"{END}\n")[2]


def with_block(text: str, lines: str) -> str:
    """The text with the block at its end, in place of an earlier one."""
    others = without_block(text)
    if others and not others.endswith("\n"):
        others += "\n"
    return f"{others}{BEGIN}\n{lines}{END}\n"
