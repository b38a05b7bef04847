from pathlib import Path

import pytest

from lab import host
from lab.host import CgroupLayout


def _v1(root: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (root / name).mkdir()
        (root / name / "cgroup.procs").touch()


def test_cgroup_v1_needs_every_controller(tmp_path: Path) -> None:
    _v1(tmp_path, host.CGROUP_V1_CONTROLLERS)
    assert host.cgroup_layout(tmp_path, tmp_path / "none") is CgroupLayout.V1


def test_one_missing_controller_is_not_cgroup_v1(tmp_path: Path) -> None:
    _v1(tmp_path, host.CGROUP_V1_CONTROLLERS[1:])
    assert host.cgroup_layout(tmp_path, tmp_path / "none") is CgroupLayout.UNSUPPORTED


@pytest.mark.parametrize(
    ("controllers", "systemd", "layout"),
    [
        ("cpu memory pids", True, CgroupLayout.V2_SYSTEMD),
        ("cpu memory pids", False, CgroupLayout.UNSUPPORTED),
        ("hugetlb", True, CgroupLayout.UNSUPPORTED),
    ],
)
def test_cgroup_v2_needs_the_memory_controller_and_systemd(
    tmp_path: Path, controllers: str, systemd: bool, layout: CgroupLayout
) -> None:
    (tmp_path / "cgroup.controllers").write_text(controllers)
    if systemd:
        (tmp_path / "systemd").mkdir()
    assert host.cgroup_layout(tmp_path, tmp_path / "systemd") is layout


@pytest.mark.parametrize(("mask", "lacks"), [("000001ffffffffff", False), ("000001fffeffffff", True)])
def test_sys_resource_is_bit_24_of_the_bounding_set(tmp_path: Path, mask: str, lacks: bool) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tx\nCapBnd:\t{mask}\n")
    assert host.lacks_sys_resource(status) is lacks
