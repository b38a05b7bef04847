"""Trees of files: copied whole, and brought back to what a copy holds by copying only what has changed since.

A file counts as unchanged while it has the inode and the time of change (ctime, which no program can set) that it had
when it was the same as in the copy.
"""

import os
import shutil
import stat
from pathlib import Path

from lab import shell

Stamps = dict[str, tuple[int, int]]
"""Inode and ctime in nanoseconds of everything in a tree, by path below its root; "" is the root itself."""


def copy(source: Path, target: Path) -> None:
    """Copy a tree with all that its files have: owners, times, links, devices and extended attributes."""
    shell.run(["cp", "--archive", "--reflink=auto", source, target])


def stamps(root: Path) -> Stamps:
    """What everything below ``root`` is now, without following links; nothing if there is no ``root``."""
    found = {"": _stamp(root)} if root.exists() else {}
    folders = [""] if found else []
    while folders:
        folder = folders.pop()
        with os.scandir(root / folder) as entries:
            for entry in entries:
                path = f"{folder}/{entry.name}" if folder else entry.name
                info = entry.stat(follow_symlinks=False)
                found[path] = (info.st_ino, info.st_ctime_ns)
                if stat.S_ISDIR(info.st_mode):
                    folders.append(path)
    return found


def restore(kept: Path, target: Path, same: Stamps) -> Stamps:
    """Make ``target`` what the copy ``kept`` is, and return its stamps then. Nothing may be writing to it.

    ``same`` are the stamps that ``target`` had when both were the same. What an interrupted call left undone, the next
    one does.
    """
    present = stamps(target)
    changed = sorted(path for path, stamp in same.items() if present.get(path) != stamp)
    for path in sorted(present.keys() - same.keys(), reverse=True):
        _remove(target / path)
    links: dict[int, Path] = {}
    for path in changed:
        _bring(kept / path, target / path, links)
    touched = {os.path.dirname(path) for path in (*changed, *(present.keys() - same.keys()))}  # noqa: PTH120
    folders = {path for path in (*changed, *touched) if path in same and _is_folder(kept / path)}
    # The deepest first: what is done in a folder changes its times.
    for path in sorted(folders, reverse=True):
        _copy_attributes(kept / path, target / path)
    return {**same, **{path: _stamp(target / path) for path in {*changed, *folders}}}


def _bring(source: Path, target: Path, links: dict[int, Path]) -> None:
    """Put one file, or an empty folder, in the place of whatever is there."""
    info = source.lstat()
    if stat.S_ISDIR(info.st_mode):
        if not _is_folder(target):
            _remove(target)
            target.mkdir()
        return
    _remove(target)
    if info.st_ino in links:
        target.hardlink_to(links[info.st_ino])
        return
    if stat.S_ISREG(info.st_mode):
        shutil.copyfile(source, target)
    elif stat.S_ISLNK(info.st_mode):
        target.symlink_to(source.readlink())
    else:
        os.mknod(target, info.st_mode, info.st_rdev)
    if info.st_nlink > 1:
        links[info.st_ino] = target
    _copy_attributes(source, target)


def _copy_attributes(source: Path, target: Path) -> None:
    info = source.lstat()
    # The owner first: a change of it takes capabilities and set-user-ID away.
    os.chown(target, info.st_uid, info.st_gid, follow_symlinks=False)
    if not stat.S_ISLNK(info.st_mode):
        target.chmod(stat.S_IMODE(info.st_mode))
    wanted = os.listxattr(source, follow_symlinks=False)
    for name in set(os.listxattr(target, follow_symlinks=False)).difference(wanted):
        os.removexattr(target, name, follow_symlinks=False)
    for name in wanted:
        os.setxattr(target, name, os.getxattr(source, name, follow_symlinks=False), follow_symlinks=False)
    os.utime(target, ns=(info.st_atime_ns, info.st_mtime_ns), follow_symlinks=False)


def _remove(path: Path) -> None:
    if _is_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _is_folder(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def _stamp(path: Path) -> tuple[int, int]:
    info = path.lstat()
    return info.st_ino, info.st_ctime_ns
