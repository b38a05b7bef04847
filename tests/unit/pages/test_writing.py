"""The commands that write a page: what they refuse, and what they leave."""

from collections.abc import Callable
from pathlib import Path

import pytest

from kubeproof.pages import difference, writing
from kubeproof.proof import proving
from kubeproof.proof.report import Report
from kubeproof.state.part import Asker
from kubeproof.terminal.errors import EXIT_BAD_INPUT, EXIT_NOT_HOLDING, EXIT_OK, UserError
from tests.unit.pages import samples
from tests.unit.proof import good


@pytest.fixture
def proven(monkeypatch: pytest.MonkeyPatch) -> list[Asker]:
    """A proof without a cluster; who asked for it."""
    asked: list[Asker] = []

    def prove(_loaded: object, asker: Asker, _left_out: object = None) -> Report:
        asked.append(asker)
        return samples.whole()

    monkeypatch.setattr(proving, "prove", prove)
    return asked


def test_a_page_is_written_whole(proven: list[Asker], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "page.html"
    writing.report(good.loaded(), file, None)
    assert difference.read(file.read_text(), "page")["proof"]["holds"]
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert samples.whole().headline in capsys.readouterr().out
    (asker,) = proven
    assert Asker.PAGE in asker
    writing.report(good.loaded(), file, file)
    assert "Nothing has changed." in file.read_text()


@pytest.mark.parametrize(
    ("since", "problem"),
    [
        (lambda folder: folder / "none.html", "cannot be read (No such file or directory)"),
        (lambda folder: folder, "cannot be read (Is a directory)"),
        (lambda _folder: Path("/dev/null"), "is no page"),
    ],
)
def test_everything_wrong_is_told_before_the_cluster_is_asked(
    proven: list[Asker], tmp_path: Path, since: Callable[[Path], Path], problem: str
) -> None:
    with pytest.raises(UserError) as caught:
        writing.report(good.loaded(), tmp_path / "no" / "page.html", since(tmp_path))
    folder, earlier = caught.value.problems
    assert "there is no folder" in folder
    assert problem in earlier
    assert proven == []


def test_a_trace_that_cannot_be_drawn_is_refused_before_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        writing.drawing(tmp_path / "no" / "page.html", live=False)
    folder, offline = caught.value.problems
    assert "there is no folder" in folder
    assert offline == "--html: draws a live cluster, leave out --file"


def test_a_trace_is_drawn_with_what_is_known_without_packets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "collect", lambda *_: samples.snapshot())
    writing.drawing(tmp_path / "page.html", live=True)(good.loaded(), samples.prediction(), None)
    text = (tmp_path / "page.html").read_text()
    assert "default/web-b2 to 10.98.2.2 tcp 8080: arrives, and its answer comes back" in text
    assert "Predicted from the nodes" in text


def test_a_file_too_large_for_a_page_is_not_read(
    proven: list[Asker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "LARGEST_PAGE", 3)
    (tmp_path / "large").write_text("1234")
    with pytest.raises(UserError, match="is too large"):
        writing.report(good.loaded(), tmp_path / "page.html", tmp_path / "large")


def test_verify_writes_the_page_of_its_run(
    proven: list[Asker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page, data = tmp_path / "page.html", tmp_path / "proof.json"
    assert writing.verify(good.loaded(), data, page) == EXIT_OK
    assert page.exists()
    assert data.exists()
    monkeypatch.setattr(proving, "prove", lambda *_: samples.broken())
    assert writing.verify(good.loaded(), None, page) == EXIT_NOT_HOLDING
    assert samples.broken().headline in page.read_text()
    assert writing.verify(good.loaded(), None, tmp_path / "no" / "page.html") == EXIT_BAD_INPUT
