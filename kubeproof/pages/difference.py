"""What differs between the data of two pages: rows of the proof that end otherwise, and cells of tables. Pure."""

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from kubeproof.pages.picture import SYMBOLS
from kubeproof.pages.tables import Row, Table
from kubeproof.rules.result import Status
from kubeproof.terminal.errors import UserError

SCHEMA = "kubeproof.page"
SCHEMA_VERSION = 1
"""Raised when a field is renamed, removed, or changes its meaning; not when one is added."""
DATA = re.compile(r'<script type="application/json" id="data">(.*?)</script>', re.DOTALL)
NOTHING = "–"
Data = Mapping[str, Any]
PASSING = ("left",)
"""Columns that tell the time."""


def read(text: str, name: str) -> Data:
    """The data within a page's text. Raises UserError, which names the page by ``name``."""
    found = DATA.search(text)
    try:
        data = json.loads(found[1]) if found else None
    except (ValueError, RecursionError):
        data = None
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        raise UserError(f"--since {name}: is no page of ./inv report, name one")
    if data.get("schema_version") != SCHEMA_VERSION:
        raise UserError(f"--since {name}: is of another version of Kubeproof, make it anew")
    try:
        list(changes(data, data))
        datetime.fromisoformat(data["proof"]["taken_at"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"--since {name}: its data are damaged ({error!r}), name another page") from None
    return data


def changes(old: Data, new: Data) -> Iterator[Table]:
    """A table for each part in which something differs: what, where, before, now."""
    rows = tuple(_changed_ends(_proof(old), _proof(new)))
    if rows:
        yield Table("Proof", ("row", "node", "before", "now"), rows, 2)
    unread = {*old["unread"], *new["unread"]}
    earlier = {table["title"]: table for table in old["tables"]}
    for table in new["tables"]:
        before = earlier.get(table["title"], {"head": table["head"], "rows": [], "keys": table["keys"]})
        found = tuple(_changed_rows(_cells(before, unread), _cells(table, unread)))
        if found:
            yield Table(table["title"], ("what", "field", "before", "now"), found, 2)


def _proof(data: Data) -> dict[tuple[str, str], Status]:
    return {(item["name"], item["node"]): Status(item["status"]) for item in data["proof"]["results"]}


def _changed_ends(old: Mapping[tuple[str, str], Status], new: Mapping[tuple[str, str], Status]) -> Iterator[Row]:
    """Rows that are in both proofs, and those of one only that do not hold there."""
    good = (Status.HOLDS, Status.NOT_RUN)
    for key in _all(old, new):
        before, now = old.get(key), new.get(key)
        if before is not now and not (None in (before, now) and {before, now} & {*good}):
            yield *key, *(f"{SYMBOLS[end]} {end.value}" if end else NOTHING for end in (before, now))


def _cells(table: Mapping[str, Any], unread: Collection[str]) -> dict[tuple[str, str], str]:
    """Cells by the row's key and the column's heading, without those of nodes that one page knows nothing of."""
    keys, head = table["keys"], table["head"]
    return {
        (" ".join(filter(None, row[:keys])), " ".join(heading.split())): str(cell)
        for row in table["rows"]
        if row[0] not in unread
        for heading, cell in zip(head[keys:], row[keys:], strict=True)
        if heading not in PASSING
    }


def _changed_rows(old: Mapping[tuple[str, str], str], new: Mapping[tuple[str, str], str]) -> Iterator[Row]:
    """Rows that came or went are one line each, however many fields they have."""
    old_rows, new_rows = ({row for row, _ in found} for found in (old, new))
    told: set[str] = set()
    for row, field in _all(old, new):
        if row in old_rows and row in new_rows:
            before, now = old.get((row, field), NOTHING), new.get((row, field), NOTHING)
            if before != now:
                yield row, field, before, now
        elif row not in told:
            told.add(row)
            yield row, "", *(("is there", "gone") if row in old_rows else ("not there", "new"))


def _all(old: Iterable[tuple[str, str]], new: Iterable[tuple[str, str]]) -> Iterable[tuple[str, str]]:
    return dict.fromkeys((*new, *old))
