from pathlib import Path

import pytest

from kubeproof.terminal.errors import UserError
from lab import archive, paths

TARGETS = """\
deb-src|Debian|bookworm|main|http://archive.example/debian/|bookworm
deb|Debian|bookworm|main|http://archive.example/debian/|bookworm
deb|Debian|bookworm-updates|main|http://archive.example/debian/|bookworm-updates
deb|Debian|bookworm-security|main|http://archive.example/debian-security/|bookworm-security
deb|Debian|bookworm|contrib|http://archive.example/debian/|bookworm
deb|Somebody|stable|main|http://tools.example/apt/|stable
"""


def test_only_debians_main_of_this_release_counts_and_the_release_comes_first() -> None:
    found = archive.parse(TARGETS)
    assert [source.suite for source in found] == ["bookworm", "bookworm-updates", "bookworm-security"]
    assert found[0].uri == "http://archive.example/debian"


def test_another_release_has_the_same_suites(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        archive, "sources", lambda: (*archive.parse(TARGETS), archive.Source("http://old", "oldstable"))
    )
    found = archive.sources_of("trixie")
    assert [source.suite for source in found] == ["trixie", "trixie-updates", "trixie-security", "trixie"]


def test_a_line_names_the_keyring_that_must_have_signed_the_suite() -> None:
    line = archive.parse(TARGETS)[0].line("deb-src")
    assert line == f"deb-src [signed-by={archive.KEYRING}] http://archive.example/debian bookworm main"


@pytest.mark.parametrize("targets", ["", "deb|Somebody|stable|main|http://tools.example/apt/|stable\n"])
def test_a_machine_without_debians_archive_is_told_what_to_do(targets: str) -> None:
    with pytest.raises(UserError, match="apt-get update"):
        archive.parse(targets)


def test_a_bundle_in_use_takes_the_place_of_the_machines_archive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    folder = tmp_path / "bundle" / "debian"
    folder.mkdir(parents=True)
    (folder / archive.INDEX).write_text("bookworm 0 bookworm\nbookworm 1 bookworm-security\n")
    found = archive.sources_of("bookworm")
    assert [source.suite for source in found] == ["bookworm", "bookworm-security"]
    assert archive.sources.__wrapped__() == found
    options = f"signed-by={archive.KEYRING} check-valid-until=no by-hash=no"
    assert found[1].line() == f"deb [{options}] copy:{folder}/1 bookworm-security main"
    with pytest.raises(UserError, match="no packages of trixie"):
        archive.sources_of("trixie")
