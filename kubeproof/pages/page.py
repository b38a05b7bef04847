"""The page's text, made of a report of the proof. Pure but for reading its template and its style."""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from kubeproof.pages import difference, layers, picture, reach
from kubeproof.pages.picture import SYMBOLS, css
from kubeproof.pages.tables import tables
from kubeproof.pages.way import Way
from kubeproof.pages.way import draw as draw_way
from kubeproof.proof.report import RULES, TITLES_BY_NAME, Report, cni_line, to_json
from kubeproof.rules.result import WORST_FIRST, CheckResult, Status

FOLDER = Path(__file__).parent
WIDTHS = {"wide": 1240, "narrow": 364}
"""Of the pictures: one for a window of 1280 px, one for a telephone's."""
MARKS = {"✓": Status.HOLDS, "✗": Status.FAILS, "!": Status.BROKEN, "◐": Status.BROKEN, "–": Status.NOT_RUN}
"""What a cell of a table may begin with, and what it then looks like."""

environment = Environment(
    loader=FileSystemLoader(FOLDER), undefined=StrictUndefined, autoescape=True, trim_blocks=True, lstrip_blocks=True
)


@dataclass(frozen=True)
class Finding:
    """What one row of the proof came to on nodes that tell the same."""

    nodes: tuple[str, ...]
    result: CheckResult
    pastes: tuple[str, ...]


@dataclass(frozen=True)
class ProofRow:
    """A row of the proof on all nodes."""

    name: str
    title: str
    meaning: str
    findings: tuple[Finding, ...]

    @property
    def worst(self) -> Status:
        return min((item.result.status for item in self.findings), key=WORST_FIRST.index)

    @cached_property
    def counts(self) -> str:
        """How many nodes end how, such as "1 ✗ 2 ✓"."""
        counts = Counter(dict.fromkeys(WORST_FIRST, 0))
        for item in self.findings:
            counts[item.result.status] += len(item.nodes)
        return " ".join(f"{count} {SYMBOLS[status]}" for status, count in counts.items() if count)


def data(report: Report) -> dict[str, object]:
    """What the page shows, for programs and for later pages."""
    snapshot, settings = report.snapshot, report.cluster.settings
    grid = reach.grid(snapshot.objects, settings)
    found = (grid, *tables(snapshot, report.taken_at))
    return {
        "schema": difference.SCHEMA,
        "schema_version": difference.SCHEMA_VERSION,
        "unread": sorted(snapshot.unreachable),
        "proof": to_json(report),
        "tables": [json.loads(json.dumps(vars(table))) for table in found],
    }


def render(report: Report, earlier: difference.Data | None = None, way: Way | None = None) -> str:
    """The whole page; with the data of an ``earlier`` one also what differs from it, and with a packet's ``way``."""
    made = data(report)
    style = (FOLDER / "style.css").read_text()
    return environment.get_template("page.html.j2").render(
        policy=f"default-src 'none'; style-src '{_hash(style)}'; base-uri 'none'; form-action 'none'",
        # Neither the style nor JSON with <, > and & written as \u003c and so on can end its element.
        style=Markup(style),  # noqa: S704
        report=report,
        cni=cni_line(report.cluster),
        pictures={name: _picture(report, width, way) for name, width in WIDTHS.items()},
        way=way,
        proof=sorted(proof_rows(report), key=lambda row: not row.worst.is_failing),
        tables=made["tables"],
        earlier=earlier,
        changes=[] if earlier is None else list(difference.changes(earlier, made)),
        data=made,
        css=css,
        mark=_mark,
        symbols=SYMBOLS,
    )


def _picture(report: Report, width: float, way: Way | None) -> picture.Picture:
    network = f"network of the nodes {report.cluster.settings.node_network or ''}".strip()
    columns = layers.columns(report)
    if way is None:
        return picture.draw(columns, network, width)
    first = [replace(item, pods=tuple(sorted(item.pods, key=lambda pod: pod.name not in way.pods))) for item in columns]
    drawn = picture.draw(first, network, width, picture.STRIP)
    draw_way(way, drawn)
    return drawn


def _hash(style: str) -> str:
    """As the policy for contents names what may be used (CSP level 2, hash-source)."""
    return f"sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}"


def _mark(cell: str) -> str:
    """The class of a table's cell."""
    return css(MARKS[cell[0]]) if cell[:1] in MARKS else ""


def proof_rows(report: Report) -> Iterable[ProofRow]:
    """The proof by row; nodes on which one came to the same share what is told."""
    by_name: dict[str, list[CheckResult]] = {}
    for result in report.results:
        by_name.setdefault(result.name, []).append(result)
    for name, results in by_name.items():
        meaning = RULES[name].explained if name in RULES else ""
        yield ProofRow(name, TITLES_BY_NAME.get(name, ""), meaning, tuple(_findings(results, report)))


def _findings(results: Sequence[CheckResult], report: Report) -> Iterable[Finding]:
    alike: dict[tuple[object, ...], list[CheckResult]] = {}
    for result in results:
        own = (result.look_further, result.remedies) if result.is_failing else ()
        alike.setdefault((result.status, result.expected, result.found, own), []).append(result)
    for group in alike.values():
        pastes = tuple(remedy.paste(report.loaded.ssh) for remedy in group[0].remedies)
        yield Finding(tuple(item.node for item in group), group[0], pastes)
