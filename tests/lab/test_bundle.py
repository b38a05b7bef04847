"""`./inv bundle.save` and `bundle.use`: a mirror is made of the bundle alone, with every way out closed."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.mirror import node_packages
from lab.paths import CACHE, REPOSITORY
from lab.settings import load
from tests.lab.commands import TIMEOUT_SECONDS, changes, inv, succeed

pytestmark = pytest.mark.usefixtures("running_lab")

ANOTHER_MACHINE = """
mount --make-rprivate /
mount -t proc proc /proc
mount --rbind /sys/fs/cgroup "$2/cgroup"
mount -t sysfs sysfs /sys
mount --rbind "$2/cgroup" /sys/fs/cgroup
mount --bind "$2/cache" /var/cache/kubeproof
mount --bind "$2/state" /var/lib/kubeproof
for folder in /run/kubeproof /var/log/kubeproof /root/.cache /var/lib/apt/lists; do mount -t tmpfs none "$folder"; done
./inv bundle.use "$1"
./inv mirror.status || true
./inv mirror.build
./inv mirror.build
"""
"""A machine with this one's packages and without anything else of it: no network but an unconfigured one of its own,
no package lists, no caches, no lab."""


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    file = tmp_path_factory.mktemp("bundle") / "bundle"
    succeed("bundle.save", str(file))
    yield file
    file.unlink()


def test_it_is_not_used_below_a_lab_that_is_up(bundle: Path) -> None:
    before = sorted(CACHE.iterdir())
    outcome = inv("bundle.use", str(bundle))
    assert outcome.code == 2
    assert "error: mirror: a lab on this machine uses it (" in outcome.output
    assert sorted(CACHE.iterdir()) == before


def test_a_mirror_is_made_from_it_without_a_network(bundle: Path, tmp_path: Path) -> None:
    for folder in ("cache", "state", "cgroup"):
        (tmp_path / folder).mkdir()
    Path("/root/.cache").mkdir(exist_ok=True)
    alone = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
    done = subprocess.run(
        [*alone, "sh", "-euc", ANOTHER_MACHINE, "sh", bundle, tmp_path],
        cwd=REPOSITORY,
        env={**os.environ, "HOME": "/root"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    print(done.stdout, done.stderr)
    assert done.returncode == 0
    assert "made from a bundle: made " in done.stdout
    assert changes(done.stdout) == 0
    for system in load().systems:
        (packages,) = (tmp_path / "cache" / system.kind(node_packages.KIND)).iterdir()
        (own,) = (CACHE / system.kind(node_packages.KIND)).iterdir()
        assert (
            {deb.name for deb in packages.glob("*.deb")} >= {deb.name for deb in own.glob("docker.io_*.deb")} != set()
        )
        assert (tmp_path / "state/mirror/apt" / system.repository / "InRelease").exists()
