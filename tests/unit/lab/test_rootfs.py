"""The root filesystem's cache: closed to others, and taken as it is when it is there."""

from pathlib import Path

import pytest

from lab import debootstrap, paths, rootfs
from lab.systems import DEFAULT


def test_what_is_made_is_closed_to_other_users_and_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    monkeypatch.setattr(rootfs, "key", lambda _: "abc")
    monkeypatch.setattr(debootstrap, "make", lambda folder, *_, release: folder.mkdir())
    monkeypatch.setattr(rootfs, "_add_image_files", lambda folder: None)
    assert not rootfs.is_cached(DEFAULT)
    assert rootfs.ensure(DEFAULT) == tmp_path / "rootfs" / "abc"
    assert (tmp_path / "rootfs").stat().st_mode & 0o777 == 0o700
    monkeypatch.setattr(debootstrap, "make", None)
    assert rootfs.ensure(DEFAULT).is_dir()
