"""What is built is there in full, or not at all."""

from pathlib import Path

import pytest

from lab import paths
from lab.mirror import cache


def test_equal_parts_give_equal_keys() -> None:
    assert cache.key("a", {"x": 1, "y": 2}) == cache.key("a", {"y": 2, "x": 1})


@pytest.mark.parametrize("other", [("b",), ("a", "b"), (["a"],)])
def test_other_parts_give_other_keys(other: tuple[object, ...]) -> None:
    assert cache.key("a") != cache.key(*other)


def test_a_finished_build_appears(tmp_path: Path) -> None:
    with cache.creating(tmp_path / "kind" / "name") as partial:
        partial.mkdir()
        (partial / "file").write_text("x")
        assert not (tmp_path / "kind" / "name").exists()
    assert (tmp_path / "kind" / "name" / "file").read_text() == "x"


def build_and_fail(final: Path, error: type[BaseException]) -> None:
    with cache.creating(final) as partial:
        partial.write_text("half")
        raise error


def test_a_failed_build_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        build_and_fail(tmp_path / "name", KeyboardInterrupt)
    assert not list(tmp_path.iterdir())


def test_a_failed_build_leaves_the_earlier_one(tmp_path: Path) -> None:
    (tmp_path / "name").write_text("earlier")
    with pytest.raises(RuntimeError):
        build_and_fail(tmp_path / "name", RuntimeError)
    assert (tmp_path / "name").read_text() == "earlier"


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "name").mkdir()
    (tmp_path / "name" / "old").touch()
    with cache.creating(tmp_path / "name") as partial:
        partial.mkdir()
    assert not list((tmp_path / "name").iterdir())


def test_leftovers_of_a_killed_build_are_removed(tmp_path: Path) -> None:
    leftover = tmp_path / f"{cache.PARTIAL}name-99999"
    leftover.mkdir()
    with cache.creating(tmp_path / "name") as partial:
        partial.touch()
    assert [path.name for path in tmp_path.iterdir()] == ["name"]


def test_only_the_wanted_entry_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    for name in ("old", "new"):
        cache.entry("kind", name).mkdir(parents=True)
    cache.prune("kind", keep="new")
    assert [path.name for path in (tmp_path / "kind").iterdir()] == ["new"]
