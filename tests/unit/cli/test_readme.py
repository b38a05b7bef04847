"""The README says what the files say that declare it."""

import re
import runpy
import subprocess
import sys
from dataclasses import fields

import pytest

from kubeproof.cli import reference_tables
from kubeproof.cli.reference_tables import Declared, declared
from kubeproof.config import settings
from kubeproof.rules import index
from kubeproof.terminal.exits import REPOSITORY
from lab.settings import LabSettings

README = reference_tables.README.read_text()
TEXT = '''"""Settings of somebody."""

# --- First ---

# Why this one; it goes on
# in a second line.
alone = "a"

# For both.
one = 1
two = "x | y"

# Of pyinfra.
_sudo = True

# --- Second ---
silent = []
'''
SETTINGS = [
    Declared("First", "alone", "Why this one; it goes on in a second line."),
    Declared("First", "one", "For both."),
    Declared("First", "two", "For both."),
    Declared("Second", "silent", ""),
]


def commands() -> set[str]:
    """What ./inv lists."""
    listing = subprocess.run(
        [sys.executable, "tasks.py", "--list"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return {line.split()[0] for line in listing.stdout.splitlines() if line.startswith("  ")}


def test_tables_are_those_of_the_settings() -> None:
    assert reference_tables.with_tables(README, reference_tables.tables()) == README, "run `./inv docs`"


def test_every_setting_is_in_them_with_its_default_and_a_reason() -> None:
    values = runpy.run_path(str(reference_tables.ALL))
    rows = dict(re.findall(r"^\| `(\w+)` \| (`[^`]*`) \| .* \| [^|]+ \|$", reference_tables.tables()["settings"], re.M))
    assert tuple(rows) == settings.NAMES
    for name, default in rows.items():
        assert default.strip("`").replace('"', "'") == repr(values[name])


def test_every_value_of_the_labs_shape_is_in_the_other() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `[^`]+` \| [^|]+ \|$", reference_tables.tables()["lab.toml"], re.M)
    assert rows == [item.name for item in fields(LabSettings)]


def test_every_finding_is_in_the_other() -> None:
    shown = re.findall(r"^\| `([a-z0-9-]+)` \|", reference_tables.tables()["rules"], re.M)
    assert set(index.rules()) <= set(shown)


def test_every_command_that_is_shown_exists() -> None:
    shown = set(re.findall(r"\./inv ([a-z][a-z.]*)", README))
    assert shown == commands()


def test_every_file_that_is_named_exists() -> None:
    named = set(re.findall(r"`((?:inventory|lab|tests|templates|kubeproof|agents)/[\w./-]*\w/?)`", README))
    assert named
    for name in named - {"inventory/mine.py", "inventory/group_data/mine.py"}:
        assert (REPOSITORY / name).exists(), name


def test_comments_and_headings_are_read() -> None:
    assert declared(TEXT) == SETTINGS


def test_a_table_shows_what_the_lab_changes() -> None:
    defaults = {"alone": "a", "one": 1, "two": "x | y", "silent": []}
    table = reference_tables.cluster_table(SETTINGS, defaults, {"alone": "h:5/podnet:0123456789ab", "one": 1})
    assert table.splitlines()[2:] == [
        "| **First** |  |  |  |",
        '| `alone` | `"a"` | `"h:5/podnet:…"` | Why this one; it goes on in a second line. |',
        "| `one` | `1` |  | For both. |",
        r'| `two` | `"x \| y"` |  | as above |',
        "| **Second** |  |  |  |",
        "| `silent` | `[]` |  |  |",
    ]


def test_tables_are_put_between_their_marks() -> None:
    text = "before\n<!-- begin a -->\nold\n<!-- end a -->\nafter\n"
    once = reference_tables.with_tables(text, {"a": "new\n"})
    assert once == "before\n<!-- begin a -->\n\nnew\n\n<!-- end a -->\nafter\n"
    assert reference_tables.with_tables(once, {"a": "new\n"}) == once
    with pytest.raises(ValueError, match="begin b"):
        reference_tables.with_tables(text, {"b": ""})
