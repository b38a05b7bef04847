"""Trees are copied whole, and brought back by what has changed in them alone."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from lab import trees
from lab.trees import Stamps


@pytest.fixture
def live(tmp_path: Path) -> Path:
    root = tmp_path / "live"
    for folder in ("etc/deep", "var/empty", "bin"):
        (root / folder).mkdir(parents=True)
    (root / "etc/hosts").write_text("localhost\n")
    (root / "etc/deep/file").write_text("deep\n")
    (root / "bin/tool").write_bytes(b"\x7fELF")
    (root / "bin/tool").chmod(0o4755)
    (root / "bin/same").hardlink_to(root / "bin/tool")
    (root / "etc/link").symlink_to("hosts")
    (root / "etc/dangling").symlink_to("/no/such")
    os.mkfifo(root / "var/pipe")
    os.setxattr(root / "var/empty", "user.colour", b"red")
    os.utime(root / "var/empty", ns=(10**18, 10**18))
    return root


@pytest.fixture
def kept(live: Path) -> Path:
    target = live.with_name("kept")
    trees.copy(live, target)
    return target


@pytest.fixture
def same(live: Path, kept: Path) -> Stamps:
    return trees.stamps(live)


def described(root: Path) -> dict[str, object]:
    """All that a tree is, by path; of folders and links the times too."""
    found: dict[str, object] = {}
    for path in sorted([root, *root.rglob("*")]):
        info = path.lstat()
        content: object = ""
        if path.is_symlink():
            content = path.readlink()
        elif path.is_file():
            content = path.read_bytes()
        attributes = {
            name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
        }
        found[str(path.relative_to(root))] = (
            stat.filemode(info.st_mode),
            info.st_uid,
            info.st_nlink,
            info.st_mtime_ns,
            content,
            attributes,
        )
    return found


def overwrite_in_place(live: Path) -> None:
    """As a database does, with the time put back as a liar does."""
    before = (live / "etc/hosts").stat()
    with (live / "etc/hosts").open("r+") as file:
        file.write("LOCALHOST")
    os.utime(live / "etc/hosts", ns=(before.st_atime_ns, before.st_mtime_ns))


def swap_folders(live: Path) -> None:
    (live / "etc").rename(live / "x")
    (live / "var").rename(live / "etc")
    (live / "x").rename(live / "var")


def folder_becomes_link(live: Path) -> None:
    (live / "etc").rename(live / "elsewhere")
    (live / "etc").symlink_to("elsewhere")


def link_becomes_folder(live: Path) -> None:
    (live / "etc/link").unlink()
    (live / "etc/link").mkdir()
    (live / "etc/link/inside").touch()


def lose_attributes(live: Path) -> None:
    os.removexattr(live / "var/empty", "user.colour")
    os.setxattr(live / "var/empty", "user.taste", b"bitter")
    (live / "bin/tool").chmod(0o644)


def lose_all(live: Path) -> None:
    trees._remove(live)


CHANGES: tuple[Callable[[Path], object], ...] = (
    lambda live: None,
    overwrite_in_place,
    swap_folders,
    folder_becomes_link,
    link_becomes_folder,
    lose_attributes,
    lose_all,
    lambda live: (live / "new/deeper").mkdir(parents=True),
    lambda live: (live / "var/empty/new").touch(),
    lambda live: (live / "bin/same").unlink(),
    lambda live: (live / "var/pipe").unlink(),
)


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changes_comes_back(live: Path, kept: Path, same: Stamps, change: Callable[[Path], object]) -> None:
    before = described(live)
    assert described(kept) == before
    change(live)
    after = trees.restore(kept, live, same)
    assert described(live) == before
    assert after == trees.stamps(live)
    assert described(kept) == before


def test_what_is_unchanged_is_not_touched(live: Path, kept: Path, same: Stamps) -> None:
    assert trees.restore(kept, live, same) == same
    (live / "etc/deep/file").write_text("other")
    after = trees.restore(kept, live, same)
    assert {path for path in same if after[path] != same[path]} == {"etc/deep", "etc/deep/file"}


def test_an_interrupted_restore_is_completed(
    live: Path, kept: Path, same: Stamps, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = described(live)
    swap_folders(live)
    bring, brought = trees._bring, 0

    def interrupted(*words: object) -> None:
        nonlocal brought
        brought += 1
        if brought > 3:
            raise KeyboardInterrupt
        bring(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(trees, "_bring", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trees.restore(kept, live, same)
    monkeypatch.undo()
    trees.restore(kept, live, same)
    assert described(live) == before


def test_a_tree_that_is_not_there_has_no_stamps(tmp_path: Path) -> None:
    assert trees.stamps(tmp_path / "none") == {}
