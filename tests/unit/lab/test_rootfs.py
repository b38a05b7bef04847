"""The root filesystem's cache: closed to others, and taken as it is when it is there."""

from pathlib import Path

import pytest

from lab import host, rootfs


def test_what_is_cached_is_used_and_closed_to_other_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rootfs, "CACHE", tmp_path)
    monkeypatch.setattr(rootfs, "key", lambda: "abc")
    (tmp_path / "rootfs" / "abc").mkdir(parents=True)
    assert rootfs.ensure() == tmp_path / "rootfs" / "abc"
    assert (tmp_path / "rootfs").stat().st_mode & 0o777 == 0o700


def test_its_packages_bring_what_loads_kernel_modules() -> None:
    assert "kmod" in host.PACKAGES
    assert set(host.PACKAGES) <= set(rootfs.PACKAGES)
