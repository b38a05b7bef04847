"""The page of the lab's cluster: complete, without secrets, and readable in a browser."""

import html
import re
from pathlib import Path

import pytest

from kubeproof.pages import difference
from kubeproof.proof.snapshot import Snapshot
from kubeproof.rules.api import ApiObjects
from lab.paths import SSH_KEY
from tests.lab import secrets
from tests.lab.commands import inv, succeed
from tests.unit.pages.browser import started


@pytest.fixture(scope="module")
def page(running_lab: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "page.html"
    succeed("report", str(file))
    return file


def test_it_shows_the_whole_cluster(page: Path, snapshot: Snapshot) -> None:
    text, objects = html.unescape(page.read_text()), snapshot.objects
    assert isinstance(objects, ApiObjects)
    for name in (
        *snapshot.states,
        *(pod.full_name for pod in objects.pods),
        *(item.full_name for item in objects.services),
    ):
        assert name in text
    for found in (*objects.endpoints.values(), *({pod.ip for pod in objects.pods} for _ in (0,))):
        assert all(str(item) in text for item in found)
    tables = {table["title"]: table for table in difference.read(page.read_text(), str(page))["tables"]}
    assert {row[0] for row in tables["Certificates"]["rows"]} == set(snapshot.states)
    assert tables["Certificates"]["note"] == ""
    assert all(all(row) for row in tables["Versions"]["rows"])
    assert all(re.search(r"veth\w* 1450", row[3]) or row[3] == "of its node" for row in tables["Pods"]["rows"])


def test_it_has_no_secret(page: Path) -> None:
    assert list(secrets.betrayals(page.read_text(), secrets.pieces(SSH_KEY.read_text(), str(SSH_KEY)))) == []


@pytest.mark.parametrize("width", [1280, 400])
def test_it_can_be_read_in_a_browser(page: Path, width: int, tmp_path: Path) -> None:
    with started(tmp_path) as browser:
        browser.open(page, width)
        assert browser.faults() == []


def test_a_page_of_the_same_state_tells_of_no_change_in_the_network(page: Path, tmp_path: Path) -> None:
    later = tmp_path / "later.html"
    outcome = inv("verify", "--html", str(later))
    old, new = (difference.read(file.read_text(), str(file)) for file in (page, later))
    assert outcome.code == (0 if new["proof"]["holds"] else 1)
    assert [table.title for table in difference.changes(old, new) if table.title in ("Interfaces", "Versions")] == []
    succeed("report", str(tmp_path / "last.html"), "--since", str(page))
    assert "<h2>Since " in (tmp_path / "last.html").read_text()
