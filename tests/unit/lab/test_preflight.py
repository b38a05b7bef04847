"""Which questions are asked of a machine, what they make of the answers, and that all problems come together."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

from kubeproof.terminal.errors import CommandError, UserError
from lab import archive, host, machine, preflight
from lab.settings import FILE, parse, read_file

LAB = parse(read_file(FILE), {})
DEBIAN_12 = {"ID": "debian", "VERSION_ID": "12"}
URI = "http://archive.example/debian"
FAILED_UPDATE = f"""\
apt-get -q update: exit code 100
E: Failed to fetch http://tools.example/apt/InRelease  Could not resolve 'tools.example'
E: Failed to fetch {URI}/dists/bookworm/InRelease  Could not connect to archive.example:80, connection timed out
E: Some index files failed to download. They have been ignored, or old ones used instead.
(full log: /l)"""


class Machine:
    """A fit machine with a warm cache, to be changed; every command that is run is noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        self.patch = monkeypatch
        self.commands: list[str] = []
        self.cache = cache
        for name, answer in self.fit().items():
            self.answers(name, answer)
        monkeypatch.setattr("lab.paths.CACHE", cache)
        monkeypatch.setattr("lab.shell.run", self.run)
        monkeypatch.setattr("lab.preflight.archive.sources", lambda: (archive.Source(URI, "bookworm"),))
        self.fill_cache()

    @staticmethod
    def fit() -> dict[str, object]:
        """What the modules answer that preflight asks."""
        return {
            "platform.freedesktop_os_release": DEBIAN_12,
            "host.is_root": True,
            "host.cgroup_layout": host.CgroupLayout.V1,
            "machine.swap_problems": [],
            "machine.memory_problems": [],
            "machine.disk_problems": [],
            "_kernel_problems": [],
            "network.check": [],
            "firewalls.check": [],
            "mirror.check": [],
            "nodes.check": [],
            "nodes.existing": [node.name for node in LAB.nodes],
            "nodes.is_running": True,
            "rootfs.is_cached": True,
            "missing_packages": [],
        }

    def answers(self, name: str, answer: object) -> None:
        self.patch.setattr(f"lab.preflight.{name}", lambda *_args, **_options: answer)

    def fails(self, name: str, error: Exception) -> None:
        def fail(*_args: object, **_options: object) -> None:
            raise error

        self.patch.setattr(f"lab.preflight.{name}", fail)

    def fill_cache(self) -> None:
        for kind in (*preflight.DOWNLOADED, preflight.BUILT):
            (self.cache / kind / "0123").mkdir(parents=True)

    def run(self, command: Sequence[str], **_options: object) -> str:
        self.commands.append(" ".join(command))
        return ""

    def update_fails(self, report: str) -> None:
        def run(command: Sequence[str], **_options: object) -> str:
            self.commands.append(" ".join(command))
            raise CommandError(report)

        self.patch.setattr("lab.shell.run", run)

    def problems(self) -> tuple[str, ...]:
        with pytest.raises(UserError) as error:
            preflight.check(LAB)
        return error.value.problems


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    return Machine(monkeypatch, tmp_path)


def test_a_fit_machine_with_everything_cached_is_asked_and_left_alone(fake: Machine) -> None:
    preflight.check(LAB)
    assert fake.commands == []


def test_all_problems_come_together(fake: Machine) -> None:
    names = [f"machine.{kind}_problems" for kind in ("swap", "memory", "disk")]
    names += ["_kernel_problems", "network.check", "firewalls.check", "mirror.check", "nodes.check"]
    for name in names:
        fake.answers(name, [f"{name}: wrong"])
    fake.answers("host.cgroup_layout", host.CgroupLayout.UNSUPPORTED)
    fake.answers("missing_packages", ["umoci"])
    fake.update_fails(FAILED_UPDATE)
    found = fake.problems()
    assert {line.partition(":")[0] for line in found} == {*names, "control groups", "Debian's archive"}
    assert not any("\n" in line for line in found)


@pytest.mark.parametrize(
    ("name", "answer", "start"),
    [
        ("host.is_root", False, "user: "),
        ("platform.freedesktop_os_release", {"ID": "ubuntu", "VERSION_ID": "12"}, "machine: "),
    ],
)
def test_another_user_or_system_is_told_of_resources_too_and_no_command_runs(
    fake: Machine, name: str, answer: object, start: str
) -> None:
    fake.answers(name, answer)
    fake.answers("machine.swap_problems", ["swap: on"])
    fake.answers("missing_packages", ["umoci"])
    fake.fails("_kernel_problems", AssertionError())
    first, second = fake.problems()
    assert first.startswith(start)
    assert second == "swap: on"
    assert fake.commands == []


def missing_package(fake: Machine) -> None:
    fake.answers("missing_packages", ["umoci"])


def missing_source(fake: Machine) -> None:
    (fake.cache / "source" / "0123").rename(fake.cache / "source" / ".partial-0123-1")


def missing_root_filesystem(fake: Machine) -> None:
    fake.answers("rootfs.is_cached", False)


def missing_lists(fake: Machine) -> None:
    fake.fails("rootfs.is_cached", UserError("apt sources: none"))


@pytest.mark.parametrize("change", [missing_package, missing_source, missing_root_filesystem, missing_lists])
def test_the_archive_is_asked_only_where_something_comes_from_it(
    fake: Machine, change: Callable[[Machine], None]
) -> None:
    change(fake)
    preflight.check(LAB)
    (command,) = fake.commands
    assert command.startswith("apt-get -q update -o APT::Update::Error-Mode=any")


def test_an_archive_that_cannot_be_reached_is_one_line(fake: Machine) -> None:
    missing_package(fake)
    fake.update_fails(FAILED_UPDATE)
    assert fake.problems() == (
        f"Debian's archive: `apt-get update` fails ({URI}/dists/bookworm/InRelease: Could not connect to "
        "archive.example:80, connection timed out); see to the network and the sources in /etc/apt",
    )


def test_without_lists_only_the_archive_is_to_blame(fake: Machine) -> None:
    missing_lists(fake)
    fake.fails("archive.sources", UserError("apt sources: none"))
    fake.answers("mirror.check", ["apt sources: none"])
    fake.update_fails(FAILED_UPDATE)
    (line,) = fake.problems()
    assert "http://tools.example/apt/InRelease: Could not resolve 'tools.example'" in line


def test_an_archive_that_the_lab_does_not_use_may_fail(fake: Machine) -> None:
    missing_package(fake)
    fake.update_fails(FAILED_UPDATE.replace(URI, "http://other.example"))
    preflight.check(LAB)


@pytest.mark.parametrize(
    ("report", "reason"),
    [
        ("x: exit code 100\nE: Could not get lock /l. It is held by process 7 (apt)\nE: n", "Could not get lock /l."),
        ("apt-get -q update: no end after 120s", "apt-get -q update: no end after 120s"),
        ("apt-get: not found on this machine", "apt-get: not found"),
    ],
)
def test_other_failures_of_apt_are_told_in_its_words(report: str, reason: str) -> None:
    assert preflight.why_unreachable(report, [URI]).startswith(reason)


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """/proc of a kernel with neither overlayfs nor br_netfilter, on a machine with modprobe."""
    monkeypatch.setattr("shutil.which", lambda name, path: f"{path.split(':')[0]}/{name}")
    folder = tmp_path / "proc"
    (folder / "sys" / "net").mkdir(parents=True)
    (folder / "filesystems").write_text("nodev\tproc\n\text4\n")
    return folder


def test_what_the_kernel_lacks_is_told_at_once(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.shell.succeeds", lambda _command: False)
    first, second = preflight._kernel_problems(proc)
    assert first.startswith("kernel: no overlayfs")
    assert second.startswith("kernel: no br_netfilter")


def test_a_kernel_with_all_of_it_built_in_loads_nothing(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("lab.shell.succeeds")
    (proc / "filesystems").write_text("nodev\toverlay\n")
    (proc / "sys/net/bridge").mkdir()
    assert preflight._kernel_problems(proc) == []


def test_modules_are_loaded(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[str] = []

    def load(command: list[str]) -> bool:
        loaded.append(command[1])
        return True

    monkeypatch.setattr("lab.shell.succeeds", load)
    assert preflight._kernel_problems(proc) == []
    assert loaded == ["overlay", "br_netfilter"]


def test_modules_are_no_problem_before_modprobe_is_installed(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name, path: None)
    monkeypatch.delattr("lab.shell.succeeds")
    assert preflight._kernel_problems(proc) == []


def needs(fake: Machine) -> tuple[float, dict[Path, float]]:
    """Memory and disk that preflight asks for, in GiB."""
    memory: list[float] = []
    disk: dict[Path, float] = {}
    fake.patch.setattr(machine, "memory_problems", lambda needed: memory.append(needed) or [])  # type: ignore[func-returns-value]
    fake.patch.setattr(machine, "disk_problems", lambda needed: disk.update(needed) or [])
    preflight.check(LAB)
    return memory[0], disk


def test_a_running_lab_needs_hardly_more(fake: Machine) -> None:
    memory, disk = needs(fake)
    assert memory == 0
    assert sum(disk.values()) == preflight.SPARE_GIB


def test_stopped_nodes_need_memory(fake: Machine) -> None:
    fake.answers("nodes.is_running", False)
    assert needs(fake)[0] == pytest.approx(3 * preflight.NODE_MEMORY_GIB)


def test_the_first_run_needs_the_documented_eight_gib(fake: Machine) -> None:
    fake.answers("nodes.existing", [])
    fake.answers("nodes.is_running", False)
    (fake.cache / preflight.BUILT / "0123").rmdir()
    memory, disk = needs(fake)
    assert memory == preflight.BUILD_MEMORY_GIB
    assert 7 < sum(disk.values()) <= 8


def test_packages_are_read_from_dpkg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.shell.run", lambda *_args, **_options: "umoci installed\nskopeo config-files\n")
    missing = preflight.missing_packages()
    assert "umoci" not in missing
    assert {"skopeo", "mmdebstrap", "iproute2"} <= set(missing)
    assert missing == sorted(set(missing))


def test_nothing_missing_is_nothing_installed(fake: Machine) -> None:
    assert preflight.install_packages() == 0
    assert fake.commands == []


def test_what_is_missing_is_installed_and_counted(fake: Machine) -> None:
    fake.answers("missing_packages", ["skopeo", "umoci"])
    fake.patch.setattr("lab.preflight.mirror.kept_from_starting", nullcontext)
    assert preflight.install_packages() == 2
    assert fake.commands[-1] == "apt-get -q -y install --no-install-recommends skopeo umoci"


def test_a_failed_installation_is_one_line(fake: Machine) -> None:
    fake.answers("missing_packages", ["umoci"])
    fake.patch.setattr("lab.preflight.mirror.kept_from_starting", nullcontext)
    fake.update_fails("apt-get -q update: exit code 100\nE: no\n(full log: /l)")
    with pytest.raises(UserError, match=r"packages: apt-get failed; is Debian's archive reachable\? E: no") as error:
        preflight.install_packages()
    assert len(error.value.problems) == 1
