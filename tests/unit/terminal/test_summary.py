"""The table at the end of a long command."""

import pytest

from kubeproof.terminal.summary import Summary, counted, duration


def test_changes_of_all_phases_are_added() -> None:
    summary = Summary()
    summary.check("preflight", lambda: None)
    assert summary.change("mirror", lambda: 2) == 2
    summary.change("nodes", lambda: 3)
    assert summary.changes == 5
    assert [phase.title for phase in summary.phases] == ["preflight", "mirror", "nodes"]


def test_table_says_when_nothing_changed(capsys: pytest.CaptureFixture[str]) -> None:
    summary = Summary()
    summary.change("nodes", lambda: 0)
    summary.show()
    assert "0 changes" in capsys.readouterr().out


@pytest.mark.parametrize(("seconds", "text"), [(4.23, "4.2s"), (59.9, "1m00s"), (187, "3m07s")])
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 changes"), (1, "1 change"), (2, "2 changes")])
def test_counted(number: int, text: str) -> None:
    assert counted(number, "change") == text
