"""Which packages nodes can install, and when they are fetched anew; apt is played by a function."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from kubeproof.deploy.phases.packages import wanted_packages
from kubeproof.terminal.errors import CommandError
from lab import archive, group_data, paths, shell
from lab.archive import Source
from lab.mirror import control, node_packages
from lab.systems import DEFAULT, SYSTEMS, NodeSystem

URIS = """\
Reading package lists...
'http://a.example/pool/v/vim-tiny_9.0.1378-2_amd64.deb' vim-tiny_2%3a9.0.1378-2_amd64.deb 1 SHA256:0
'http://a.example/pool/d/docker.io_20.10.24_amd64.deb' docker.io_20.10.24_amd64.deb 2 MD5Sum:0
"""


class Apt:
    """apt-get that chooses what ``offers`` says, or cannot reach its archive."""

    def __init__(self) -> None:
        self.offers = ["a_1_amd64.deb"]
        self.reachable = True
        self.fetched: list[str] = []
        self.updates = 0

    def __call__(self, words: list[str], **_options: object) -> str:
        if "update" in words:
            self.updates += 1
            if not self.reachable:
                raise CommandError("apt-get update: exit code 100\nE: no route [red]")
        if "--print-uris" in words:
            return "".join(f"'http://a.example/{name}' {name} 1 SHA256:0\n" for name in self.offers)
        if "--download-only" in words:
            prefix = "--option=Dir::Cache::archives="
            folder = Path(next(word for word in words if word.startswith(prefix)).removeprefix(prefix))
            for name in self.offers:
                if not (folder / name).exists():
                    self.fetched.append(name)
                    (folder / name).write_text(name)
        return ""


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Apt:
    played = Apt()
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(archive, "sources", lambda: (Source("http://a.example", "bookworm"),))
    monkeypatch.setattr(shell, "run", played)
    (tmp_path / "root/var/lib/dpkg").mkdir(parents=True)
    (tmp_path / "root/var/lib/dpkg/status").write_text("")
    return played


@pytest.fixture
def ensure(tmp_path: Path) -> Callable[..., tuple[list[str], int]]:
    def call(*, refresh: bool = True, key: str = "k") -> tuple[list[str], int]:
        debs, changed = node_packages.ensure(DEFAULT, tmp_path / "root", key, refresh=refresh)
        return [deb.name for deb in debs], changed

    return call


def grow_old(folder: Path) -> None:
    asked = next((folder / "cache" / node_packages.KIND).glob("*/asked"))
    then = time.time() - node_packages.REFRESH_SECONDS - 1
    os.utime(asked, (then, then))


@pytest.mark.parametrize("runtime", ["docker", "containerd"])
@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_nodes_can_install_what_the_deploy_installs(system: NodeSystem, runtime: str) -> None:
    settings = replace(group_data.settings(), container_runtime=runtime)
    wanted = wanted_packages(settings, system.packages)
    own = {package.name for package in control.PACKAGES}
    there = set(node_packages.wanted(system))
    assert set(wanted) - own <= there
    assert {"socat", "ebtables", "conntrack", "containernetworking-plugins", "apparmor"} <= there


def test_names_of_files_in_what_apt_says() -> None:
    assert node_packages.file_names(URIS) == ("docker.io_20.10.24_amd64.deb", "vim-tiny_2%3a9.0.1378-2_amd64.deb")
    assert node_packages.file_names("Reading package lists...\n") == ()


def test_the_archive_is_asked_once_a_day_and_only_by_up(
    apt: Apt, ensure: Callable[..., tuple[list[str], int]], tmp_path: Path
) -> None:
    assert ensure() == (["a_1_amd64.deb"], 1)
    assert ensure() == (["a_1_amd64.deb"], 0)
    apt.offers = ["a_2_amd64.deb", "b_1_all.deb"]
    grow_old(tmp_path)
    assert ensure(refresh=False) == (["a_1_amd64.deb"], 0)
    assert apt.updates == 1
    assert ensure() == (["a_2_amd64.deb", "b_1_all.deb"], 1)
    grow_old(tmp_path)
    assert ensure() == (["a_2_amd64.deb", "b_1_all.deb"], 0)
    assert ensure() == (["a_2_amd64.deb", "b_1_all.deb"], 0)
    assert (apt.updates, apt.fetched) == (3, ["a_1_amd64.deb", "a_2_amd64.deb", "b_1_all.deb"])


def test_without_the_archive_what_is_there_stays(
    apt: Apt, ensure: Callable[..., tuple[list[str], int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ensure()
    grow_old(tmp_path)
    apt.reachable = False
    assert ensure() == (["a_1_amd64.deb"], 0)
    assert "nodes install the packages that are there" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(CommandError, match="exit code 100"):
        ensure(key="another root filesystem")
