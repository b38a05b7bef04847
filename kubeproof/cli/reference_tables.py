"""The tables in README.md, made from what declares settings and rules: that says it, this repeats it."""

import ast
import re
import runpy
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from kubeproof.config.tables.version_traits import ERAS
from kubeproof.doctor import catalogue
from kubeproof.networks import catalogue as manifests
from kubeproof.networks.manifest import number
from kubeproof.networks.registry import NETWORKS
from kubeproof.rules import index
from kubeproof.terminal.exits import REPOSITORY

README = REPOSITORY / "README.md"
ALL = REPOSITORY / "inventory" / "group_data" / "all.py"
LAB = REPOSITORY / "inventory" / "group_data" / "lab.py"
LAB_TOML = REPOSITORY / "lab" / "lab.toml"

CONTENT_TAG = re.compile(r":[0-9a-f]{12}$")
"""Tag of an image that the lab builds: a hash over its content, which would make every change one of the README too."""
PYINFRA = "pyinfra"
"""Heading of what pyinfra reads, which is no setting of a cluster."""


@dataclass(frozen=True)
class Declared:
    """A setting as a file declares it: below which heading, and the comment above it."""

    section: str
    name: str
    reason: str


def declared(text: str) -> list[Declared]:
    """Settings in the order of a Python or TOML file of comments and ``name = value`` lines. Pure.

    A comment speaks for the settings that follow it without an empty line between; ``# --- X ---`` is a heading. Names
    that begin with an underscore are pyinfra's, and so is all under the heading of that name.
    """
    found, section, comment = [], "", ""
    for line in _without_docstring(text).splitlines():
        if heading := re.fullmatch(r"# --- (.*) ---", line):
            section, comment = heading[1], ""
        elif line.startswith("#"):
            comment = f"{comment} {line.lstrip('# ')}".strip()
        elif (assigned := re.match(r"([a-z]\w*) = ", line)) and section != PYINFRA:
            found.append(Declared(section, assigned[1], comment))
        elif not line.strip():
            comment = ""
    return found


def cluster_table(settings: Iterable[Declared], defaults: Mapping[str, object], lab: Mapping[str, object]) -> str:
    """Settings of a cluster; a row without name begins a section. The lab's value stands where it differs. Pure."""
    rows, section, reason = [("Setting", "Default", "In the lab", "Why"), ("---",) * 4], "", ""
    for item in settings:
        if item.section != section:
            section = item.section
            rows.append((f"**{section}**", "", "", ""))
        default, value = defaults[item.name], lab.get(item.name, defaults[item.name])
        why = "as above" if item.reason and item.reason == reason else item.reason
        rows.append((f"`{item.name}`", _code(default), "" if value == default else _code(value), why))
        reason = item.reason
    return _table(rows)


def lab_table(settings: Iterable[Declared], defaults: Mapping[str, object]) -> str:
    """The lab's shape. Pure."""
    rows, reason = [("Setting", "Default", "Why"), ("---",) * 3], ""
    for item in settings:
        why = "as above" if item.reason and item.reason == reason else item.reason
        rows.append((f"`{item.name}`", _code(defaults[item.name]), why))
        reason = item.reason
    return _table(rows)


def manifests_table(minors: Iterable[str]) -> str:
    """Pinned manifests: what their projects name, what was run here, and which one a minor gets. Pure."""
    head = ("Manifest", "Named by its project for", "Run here with", "Chosen for", "Chosen, and refused as untried")
    rows, known = [head, ("---",) * len(head)], list(minors)
    for pinned in manifests.PINNED:
        chosen = [minor for minor in known if manifests.choose(pinned.project, minor) is pinned]
        parts = [[minor for minor in chosen if pinned.is_tried(minor) is tried] for tried in (True, False)]
        name = f"{NETWORKS[pinned.project].title} {pinned.version}"
        rows.append((name, pinned.named_for, ", ".join(pinned.run), *map(_spans, parts)))
    return _table(rows)


def _spans(minors: Iterable[str]) -> str:
    """Versions in words, such as "1.20, 1.22 to 1.25"."""
    spans: list[list[int]] = []
    for last in sorted(number(minor)[1] for minor in minors):
        if spans and spans[-1][1] == last - 1:
            spans[-1][1] = last
        else:
            spans.append([last, last])
    return ", ".join(f"1.{first}" if first == last else f"1.{first} to 1.{last}" for first, last in spans)


def with_tables(text: str, tables: Mapping[str, str]) -> str:
    """The text with each table between its marks ``<!-- begin NAME -->`` and ``<!-- end NAME -->``. Pure.

    Raises ValueError where the marks of a table are missing.
    """
    for name, table in tables.items():
        begin, end = f"<!-- begin {name} -->\n", f"<!-- end {name} -->"
        head, found, rest = text.partition(begin)
        _, closed, tail = rest.partition(end)
        if not (found and closed):
            raise ValueError(f"no {begin.strip()} … {end}")
        text = f"{head}{begin}\n{table}\n{end}{tail}"
    return text


def tables() -> dict[str, str]:
    """All tables, by the names of their marks."""
    lab_text = LAB_TOML.read_text()
    return {
        "settings": cluster_table(declared(ALL.read_text()), runpy.run_path(str(ALL)), runpy.run_path(str(LAB))),
        "rules": index.table(cause.rule for cause in (*catalogue.CAUSES, *catalogue.SUSPECTS)),
        "manifests": manifests_table(ERAS),
        "lab.toml": lab_table(declared(lab_text), tomllib.loads(lab_text)),
    }


def refresh(readme: Path = README) -> int:
    """Write the tables into the README; return 1 if that changed it, else 0."""
    text = readme.read_text()
    wanted = with_tables(text, tables())
    if wanted == text:
        return 0
    readme.write_text(wanted)
    return 1


def _without_docstring(text: str) -> str:
    if not text.startswith('"""'):
        return text
    first = ast.parse(text).body[0]
    return "\n".join(text.splitlines()[first.end_lineno :])


def _code(value: object) -> str:
    if isinstance(value, str):
        return f'`"{CONTENT_TAG.sub(":…", value)}"`'
    return f"`{value!r}`"


def _table(rows: Iterable[tuple[str, ...]]) -> str:
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows)
