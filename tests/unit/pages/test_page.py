"""The page's text: what it tells, that nothing in it is executed or fetched, and that it can be read."""

import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from kubeproof.pages import difference, page
from kubeproof.pages.picture import SYMBOLS, css
from kubeproof.proof.report import to_json
from kubeproof.rules.result import Status
from kubeproof.terminal.errors import UserError
from tests.unit.pages import samples
from tests.unit.proof import good

STYLE = (page.FOLDER / "style.css").read_text()
HOSTILE = """</script><script>alert(1)</script>&"'<img src=x onerror=alert(1)>{{ 7 * 7 }}"""


class Reader(HTMLParser):
    """Elements with their attributes, and the text of each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, list[str]] = {}
        self._within: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._within.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        # What has no end, such as meta, ends with what is around it.
        while self._within and self._within.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        self.text.setdefault(self._within[-1] if self._within else "", []).append(data)


def rendered(name: str = "whole") -> str:
    return page.render(getattr(samples, name)())


def hostile() -> str:
    report = samples.whole()
    results = [replace(item, expected=HOSTILE, found=HOSTILE, status=Status.FAILS) for item in report.results[:3]]
    objects = samples.objects(good.api())
    pods = tuple(replace(pod, name=HOSTILE, trouble=HOSTILE) for pod in objects.pods)
    snapshot = replace(report.snapshot, objects=replace(objects, pods=pods))
    return page.render(replace(report, snapshot=snapshot, results=(*results, *report.results[3:])))


@pytest.mark.parametrize("text", [rendered(), rendered("broken"), hostile()], ids=["whole", "broken", "hostile"])
def test_nothing_is_executed_or_fetched(text: str) -> None:
    read = Reader(text)
    assert [item for tag, item in read.elements if tag == "script"] == [{"type": "application/json", "id": "data"}]
    for tag, attributes in read.elements:
        assert tag not in ("link", "img", "iframe", "object", "embed", "base", "form", "a", "image", "use")
        assert not [name for name in attributes if name.startswith("on") or name in ("style", "src", "href")]
    assert "@import" not in STYLE
    assert "url(" not in STYLE


def test_the_policy_for_contents_allows_its_own_style_alone() -> None:
    read = Reader(rendered())
    (policy,) = [item["content"] for tag, item in read.elements if item.get("http-equiv") == "Content-Security-Policy"]
    (style,) = read.text["style"]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert style == STYLE


def test_names_are_shown_as_they_are() -> None:
    text = hostile()
    assert "<img" not in text
    assert "49" not in re.findall(r"onerror=alert\(1\)&gt;(\S+)", text)
    assert HOSTILE in "".join(Reader(text).text["td"])
    assert difference.read(text, "page")["proof"]["results"][0]["found"] == HOSTILE


def test_the_same_report_gives_the_same_page() -> None:
    assert rendered("many") == rendered("many")


def test_it_has_the_data_of_the_proof() -> None:
    report = samples.broken()
    data = difference.read(page.render(report), "page")
    assert data["proof"] == json.loads(json.dumps(to_json(report)))
    assert [table["title"] for table in data["tables"]] == [
        "Policies: who reaches whom",
        "Services",
        "Pods",
        "Interfaces",
        "Certificates",
        "Versions",
    ]


def test_what_does_not_hold_comes_first_and_open_with_its_remedy() -> None:
    text = rendered("broken")
    (first,) = re.findall(r'<details class="row" open>.*?</details>', text, re.DOTALL)[:1]
    assert "No route to host" in first
    assert "the node answers by ssh" in first
    assert text.rindex('<details class="row" open>') < text.index('<details class="row">')
    assert "systemctl restart kubelet" in text


@pytest.mark.parametrize(
    "said",
    [
        "default/web",
        "10.98.1.2:8080 default/web-b2",
        "10.97.0.50",
        "31000",
        "✗ none",
        "◐ TCP 8080",
        "/etc/kubernetes/pki/apiserver.crt",
        "2024-12-31 03:04 UTC",
        "✓ 364 days",
        "! 9 days",
        "docker://20.10.24",
        "Debian GNU/Linux 12 (bookworm)",
    ],
)
def test_it_tells_services_policies_certificates_and_versions(said: str) -> None:
    cells = Reader(rendered()).text
    assert [cell for cell in (*cells["td"], *cells["th"]) if said in cell]


def test_a_cluster_without_an_api_is_shown() -> None:
    text = page.render(samples.report(samples.snapshot(objects="kubectl: exit code 1")))
    assert "the API could not be read: kubectl: exit code 1" in text


# Differences ----------------------------------------------------------------------------------------------------------


def changes(old: Any, new: Any) -> dict[str, tuple[tuple[str, ...], ...]]:
    pages = [difference.read(page.render(report), "page") for report in (old, new)]
    return {table.title: table.rows for table in difference.changes(*pages)}


def test_the_same_state_has_no_differences() -> None:
    later = replace(samples.whole(), seconds=9.9)
    assert changes(samples.whole(), later) == {}
    assert "Nothing has changed." in page.render(later, difference.read(rendered(), "page"))


def test_differences_are_told_by_row_and_field() -> None:
    found = changes(samples.whole(), samples.broken())
    assert ("reachable", "node-c", "✓ holds", "✗ fails") in found["Proof"]
    assert not [row for row in found["Proof"] if row[:2] == ("swap", "node-c")]
    assert found["Interfaces"] == (("node-b flannel.1", "", "is there", "gone"),)


def test_what_came_and_what_is_otherwise() -> None:
    objects = samples.objects(good.api())
    moved = replace(objects.pods[-1], name="web-new"), replace(objects.pods[0], ready=False)
    new = samples.snapshot(objects=replace(objects, pods=(moved[1], *objects.pods[1:-1], moved[0])))
    found = changes(samples.whole(), samples.report(new))["Pods"]
    assert ("default/web-new", "", "not there", "new") in found
    assert ("default/web-c2", "", "is there", "gone") in found
    assert ("kube-system/proxy-a", "state", "✓ Running", "✗ Running") in found


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is no page of ./inv report"),
        ('<script type="application/json" id="data">{</script>', "is no page"),
        ('<script type="application/json" id="data">[1]</script>', "is no page"),
        ('<script type="application/json" id="data">{"schema": "kubeproof.page"}</script>', "of another version"),
        (
            '<script type="application/json" id="data">{"schema": "kubeproof.page", "schema_version": 1}</script>',
            "its data are damaged",
        ),
        (
            '<script type="application/json" id="data">{"schema": "kubeproof.page", "schema_version": 1, "unread": {}, '
            '"tables": [], "proof": {"results": [], "taken_at": null}}</script>',
            "its data are damaged",
        ),
    ],
)
def test_what_is_no_page_is_refused(text: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        difference.read(text, "old.html")
    (line,) = caught.value.problems
    assert line.startswith("--since old.html: ")


# The palette ----------------------------------------------------------------------------------------------------------


def palettes() -> list[dict[str, str]]:
    """Light and dark: colours by name."""
    blocks = re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)
    return [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in blocks]


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.1)."""
    parts = (int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5))
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(a: str, b: str) -> float:
    """Contrast ratio (WCAG 2.1): text needs 4.5, what else has to be seen 3."""
    lower, higher = sorted((luminance(a), luminance(b)))
    return (higher + 0.05) / (lower + 0.05)


@pytest.mark.parametrize("colours", palettes(), ids=["light", "dark"])
def test_text_and_lines_can_be_read(colours: dict[str, str]) -> None:
    grounds = ["ground", "raised", *(f"{css(status)}-tint" for status in Status)]
    for ground in grounds:
        for text in ("text", "quiet", *map(css, Status)):
            if ground in ("ground", "raised", f"{text}-tint") or text in ("text", "quiet"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    assert contrast(colours["way"], colours["ground"]) >= 4.5
    assert contrast(colours["way"], colours["raised"]) >= 3


def test_every_colour_has_a_second_sign() -> None:
    dashes = {}
    for status in Status:
        (rule,) = re.findall(rf"^polyline\.{css(status)} \{{(.*?)\}}", STYLE, re.MULTILINE)
        dashes[status] = (re.findall(r"stroke-dasharray: ([\d ]+);", rule) or ["solid"])[0]
    assert len(set(dashes.values())) == len(Status)
    assert len({SYMBOLS[status] for status in Status}) == len(Status)


def test_every_file_of_the_room_is_used() -> None:
    names = {path.name for path in Path(page.FOLDER).iterdir() if path.suffix not in (".py", "")}
    assert names == {"style.css", "page.html.j2"}
