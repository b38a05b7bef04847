"""README and docs say what the code says: tables, commands, files, links, and a picture of a real run."""

import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from invoke.parser.context import ParserContext
from invoke.parser.parser import Parser

import tasks
from kubeproof.cli import reference_tables
from kubeproof.cli.command_line import CommandLine, as_typed
from kubeproof.cli.reference_tables import PAGES, Declared, declared
from kubeproof.config import settings
from kubeproof.node.preflight.names import FINDINGS
from kubeproof.terminal.exits import REPOSITORY
from lab.settings import LabSettings

README = REPOSITORY / "README.md"
DOCUMENTS = [README, REPOSITORY / "CHANGELOG.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
MAX_README_LINES = 250
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
IN_A_BLOCK = re.compile(r"^(?:    |\$ )(?:[A-Z_]+=\S+ )*\./inv (.*)$", re.MULTILINE)
IN_A_LINE = re.compile(r"`(?:[A-Z_]+=\S+ )*\./inv\s([^`]+)`")
LINK = re.compile(r"\[[^]]*\]\(([^)\s]+)\)")
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


def ids(path: Path) -> str:
    return path.name


def listed() -> set[str]:
    """What ./inv lists."""
    listing = subprocess.run(
        [sys.executable, "tasks.py", "--list"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return {line.split()[0] for line in listing.stdout.splitlines() if line.startswith("  ")}


def shown(text: str) -> Iterator[list[str]]:
    """The words of each command that a document shows, without comments and without what stands for any word."""
    for line in (*IN_A_BLOCK.findall(text), *IN_A_LINE.findall(FENCED.sub("", text))):
        yield [word for word in shlex.split(line, comments=True) if word.strip("[]") not in ("…", "FILE")]


def headings(text: str) -> set[str]:
    """The anchors of a document, as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= MAX_README_LINES


def test_tables_are_those_of_the_code() -> None:
    made = reference_tables.tables()
    texts = [page.read_text() for page in PAGES]
    assert [reference_tables.with_tables(text, made) for text in texts] == texts, "run `./inv docs`"
    assert sorted(name for text in texts for _, name, _ in reference_tables.MARKED.findall(text)) == sorted(made)


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
    assert re.findall(r"^\| `([a-z-]+)` \|", reference_tables.tables()["findings"], re.M) == list(FINDINGS)


def test_the_table_of_commands_has_those_that_are_listed() -> None:
    rows = re.findall(r"^\| (`\./inv .*?) \| ", README.read_text(), re.MULTILINE)
    assert {command for row in rows for command in re.findall(r"\./inv ([\w.]+)", row)} == listed()


@pytest.mark.parametrize("page", DOCUMENTS, ids=ids)
def test_every_command_that_is_shown_is_understood(page: Path) -> None:
    known = {"COMMAND", *tasks.namespace.task_names}
    core = ParserContext(args=CommandLine(namespace=tasks.namespace, binary="./inv").core_args())
    for words in shown(page.read_text()):
        typed = as_typed(["./inv", *words])[1:]
        if len(typed) == 1 or "--help" in typed:
            # A command may be named without what it is about.
            assert {word for word in typed if not word.startswith("-")} <= known, words
        else:
            Parser(tasks.namespace.to_contexts(), initial=core).parse_argv(typed)


@pytest.mark.parametrize("page", DOCUMENTS, ids=ids)
def test_variables_are_settings_of_the_lab(page: Path) -> None:
    named = {name.lower() for name in re.findall(r"KUBEPROOF_LAB_(\w+)", page.read_text())}
    assert named <= {item.name for item in fields(LabSettings)}


@pytest.mark.parametrize("page", DOCUMENTS, ids=ids)
def test_every_file_that_is_named_exists(page: Path) -> None:
    named = set(
        re.findall(r"`((?:inventory|lab|tests|templates|kubeproof|agents|docs)/[\w./-]*\w/?)`", page.read_text())
    )
    for name in named - {"inventory/mine.py", "inventory/group_data/mine.py"}:
        assert (REPOSITORY / name).exists(), name


@pytest.mark.parametrize("page", DOCUMENTS, ids=ids)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(FENCED.sub("", page.read_text())):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert not anchor or anchor in headings(target.read_text()), link


def test_every_page_is_linked_from_the_readme() -> None:
    linked = {(REPOSITORY / link.partition("#")[0]).resolve() for link in LINK.findall(README.read_text())}
    assert set(DOCUMENTS) - {README} <= linked


def test_the_picture_is_the_recorded_run() -> None:
    record = runpy.run_path(str(REPOSITORY / "docs/pictures/record.py"))
    assert record["PICTURE"].read_text() == record["picture"](record["RECORDING"].read_text())


def test_comments_and_headings_are_read() -> None:
    assert declared(TEXT) == SETTINGS


def test_a_table_shows_what_the_lab_changes() -> None:
    defaults = {"alone": "a", "one": 1, "two": "x | y", "silent": []}
    table = reference_tables.settings_table(SETTINGS, defaults, {"alone": "h:5/podnet:0123456789ab", "one": 1})
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
    with pytest.raises(KeyError, match="a"):
        reference_tables.with_tables(text, {"b": ""})
