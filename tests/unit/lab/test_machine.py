"""Each way in which a machine can be unfit, from files as such a machine has them."""

from pathlib import Path

import pytest

from lab import host, machine

DEBIAN_12 = {"ID": "debian", "VERSION_ID": "12", "PRETTY_NAME": "Debian GNU/Linux 12 (bookworm)"}
NO_SWAP = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"
MEMORY = "MemTotal:       24576000 kB\nMemFree:          100000 kB\nMemAvailable:    4194304 kB\n"


@pytest.mark.parametrize(
    ("release", "root", "problems"),
    [
        (DEBIAN_12, True, []),
        (DEBIAN_12, False, ["user: the lab makes network devices and containers and needs root; run it with sudo"]),
        (
            {"ID": "debian", "VERSION_ID": "13", "PRETTY_NAME": "Debian GNU/Linux 13 (trixie)"},
            True,
            ["machine: this is Debian GNU/Linux 13 (trixie), the lab is made from Debian 12; run it on such a machine"],
        ),
        (
            {"ID": "ubuntu", "VERSION_ID": "12"},
            True,
            ["machine: this is something else, the lab is made from Debian 12; run it on such a machine"],
        ),
    ],
)
def test_identity(release: dict[str, str], root: bool, problems: list[str]) -> None:
    assert machine.identity_problems(release, architecture="x86_64", root=root) == problems


def test_another_architecture() -> None:
    (line,) = machine.identity_problems(DEBIAN_12, architecture="aarch64", root=True)
    assert line == "machine: this is an aarch64, the lab is made for x86_64 alone; run it on one"


def test_control_groups() -> None:
    layouts = host.CgroupLayout
    assert machine.cgroup_problems(layouts.V1) == machine.cgroup_problems(layouts.V2_SYSTEMD) == []
    assert machine.cgroup_problems(layouts.UNSUPPORTED) == [
        f"control groups: {layouts.UNSUPPORTED.value}; boot with systemd and cgroup v2"
    ]


def test_swap_is_named_with_its_mend(tmp_path: Path) -> None:
    swaps = tmp_path / "swaps"
    assert machine.swap_problems(swaps) == []
    swaps.write_text(NO_SWAP)
    assert machine.swap_problems(swaps) == []
    swaps.write_text(f"{NO_SWAP}/dev/sda2  partition  1000  0  -2\n/swapfile  file  1000  0  -3\n")
    (line,) = machine.swap_problems(swaps)
    assert line.startswith("swap: kubelet refuses to run while the machine swaps to /dev/sda2, /swapfile; run `swapoff")


def test_memory_is_what_is_available(tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(MEMORY)
    assert machine.memory_problems(4.0, meminfo) == []
    assert machine.memory_problems(4.1, meminfo) == [
        "memory: 4.0 GiB of 23.4 GiB available, the lab needs 4.1 GiB; end other programs or give the machine more"
    ]


def test_folders_of_one_file_system_share_its_space(tmp_path: Path) -> None:
    needs = {tmp_path / "not" / "yet": 3.0, tmp_path: 5.0}
    assert machine.disk_problems(needs, lambda folder: 8.0) == []
    assert machine.disk_problems(needs, lambda folder: 7.9) == [
        f"disk: 7.9 GiB free for {tmp_path}/not/yet, {tmp_path}, the lab needs 8.0 GiB; free some"
    ]


def test_each_file_system_is_measured_by_itself(tmp_path: Path) -> None:
    problems = machine.disk_problems({tmp_path: 2.0, Path("/proc"): 1.0}, lambda folder: 1.5)
    assert problems == [f"disk: 1.5 GiB free for {tmp_path}, the lab needs 2.0 GiB; free some"]


def test_this_machines_disk_can_be_measured(tmp_path: Path) -> None:
    assert machine.disk_problems({tmp_path: 0.0}) == []
    assert len(machine.disk_problems({tmp_path: 1e9})) == 1
