"""What all tests against the running lab share: whether it is up, and its state, read once."""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from kubeproof.config.cluster import LoadedInventory, load
from kubeproof.proof.collect import collect
from kubeproof.proof.snapshot import Snapshot
from lab import node_files, nodes, settings
from lab.paths import REPOSITORY, SSH_CONFIG
from tests.lab.commands import succeed
from tests.lab.snapshot import take

INVENTORY = REPOSITORY / "inventory" / "lab.py"
INTERFACES = Path("/sys/class/net")
ORDER = (
    "test_up",
    "test_repeat",
    "test_commands",
    "test_cluster_suite",
    "test_report",
    "test_golden",
    "test_podnet",
    "test_trace",
    "test_listening",
    "test_policy",
    "test_matrix",
    "test_custom_resources",
    "test_hanging",
    "test_nodes",
    "test_guards",
    "test_preflight",
    "test_doctor",
    "test_breakages",
    "test_faults",
    "test_workers",
    "test_snapshots",
    "test_bundle",
    "test_changed_settings",
    "test_bench",
    "test_reset",
    "test_containerd",
    "test_killed",
    "test_secrets",
    "test_prepared",
    "test_down",
)
"""A lab's life: in this order least has to be made. Each module says by its fixtures what it needs, and finds it alone
too: `running_lab` a cluster, `bare_hosts` and `before_first_deploy` hosts without anything of one."""
MAY_SKIP = ("test_golden",)
"""Modules about captures that are no part of the project; in CI nothing else may skip."""


collect_ignore = [] if settings.load().vm_workers else ["test_vm.py"]
"""What needs virtual machines runs in a lab that has them, which is set by KUBEPROOF_LAB_VM_WORKERS."""


def why_not_up() -> str | None:
    """What is missing of the lab, or None if it is up."""
    lab = settings.load()
    if not (INTERFACES / lab.bridge).exists():
        return f"the lab is down: there is no bridge {lab.bridge}; start it with `./inv up`"
    if not SSH_CONFIG.exists():
        return f"the lab has no nodes: there is no {SSH_CONFIG}; start it with `./inv up`"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the modules in the order of a lab's life; one that is not named comes before the reset."""
    last = ORDER.index("test_reset") - 0.5

    def position(item: pytest.Item) -> float:
        return ORDER.index(item.path.stem) if item.path.stem in ORDER else last

    own = Path(__file__).parent
    mine = iter(sorted((item for item in items if item.path.parent == own), key=position))
    items[:] = [next(mine) if item.path.parent == own else item for item in items]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """What skips in CI, where everything that it needs has to be there, has failed."""
    report = yield
    if report.skipped and os.environ.get("CI") == "true" and item.path.stem not in MAY_SKIP:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome, report.longrepr = "failed", f"in CI no test of the lab may skip: {reason}"
    return report


@pytest.fixture(scope="session")
def before_first_deploy() -> Iterator[dict[str, dict[str, list[str]]]]:
    """What each node of a lab made from nothing consists of, before anything of a cluster was on it.

    Takes a lab that is there away first, and at the very end makes it again, except in CI.
    """
    had_a_lab = bool(nodes.existing()) and os.environ.get("CI") != "true"
    make_bare_hosts()
    yield {node.name: take(node.name) for node in settings.load().nodes}
    if had_a_lab:
        succeed("up")


def make_bare_hosts() -> None:
    """The lab anew, with nothing of packages, images and clusters on its hosts."""
    if os.geteuid() != 0:
        pytest.skip("the lab can be made by root only")
    succeed("lab.down")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBEPROOF_LAB_HOSTS", "bare")
        succeed("lab.up")


@pytest.fixture(scope="module")
def bare_hosts() -> None:
    """Hosts as they are before the first deploy."""
    names = nodes.existing()
    kubelet = "usr/bin/kubelet"
    if not names or any(node_files.is_prepared(n) or (node_files.root_of(n) / kubelet).exists() for n in names):
        make_bare_hosts()


@pytest.fixture(scope="module")
def running_lab() -> None:
    """A cluster on the lab, made if its hosts have none. Skip without a lab; in CI, where it has to be there, fail."""
    reason = why_not_up()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    if reason:
        pytest.skip(reason)
    if not (node_files.root_of(settings.load().nodes[0].name) / node_files.KUBELET_CONF).exists():
        succeed("up")


@pytest.fixture(scope="module")
def inventory(running_lab: None) -> LoadedInventory:
    """The lab's inventory."""
    return load(INVENTORY)


@pytest.fixture(scope="module")
def snapshot(inventory: LoadedInventory) -> Snapshot:
    """Live state of all nodes and the API."""
    return collect(inventory)
