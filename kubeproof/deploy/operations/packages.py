"""Packages at wanted versions, in one transaction, by the package manager of the host's system."""

from collections.abc import Generator, Mapping, Sequence
from fnmatch import fnmatchcase

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host

from kubeproof.access.deadlines import LISTS_SECONDS, PACKAGES_SECONDS
from kubeproof.config.tables import paths
from kubeproof.deploy.facts.hosts import Remembered
from kubeproof.deploy.facts.packages import Package
from kubeproof.deploy.operations.package_managers import MANAGERS, PackageManager
from kubeproof.deploy.operations.remote import ERROR_LINES, NodeError, on_host, run, try_run, write_private
from kubeproof.deploy.run_events import because
from kubeproof.node.differences import named

ABORTED = "Operation aborted"
"""What dnf says when it was told to answer no."""


@operation()
def install(wanted: Mapping[str, str], manager: str = "apt") -> Generator[PyinfraCommand, None, None]:
    """Install packages without their recommendations.

    ``wanted`` maps a name to a version, in which ``*`` stands for anything; empty for any version. The package lists
    are read anew only if something is missing. What comes along is added to the host's record first, so that a reset
    knows it even if the installation is interrupted.
    """
    used = MANAGERS[manager]
    installed: dict[str, Package] = host.get_fact(used.installed)
    missing = missing_packages(wanted, installed, used.join)
    if not missing:
        host.noop("all packages are installed at their versions")
        return
    because(named("not installed, or of another version:", missing))
    yield on_host(_install, used, tuple(missing))


def missing_packages(wanted: Mapping[str, str], installed: Mapping[str, Package], join: str = "=") -> list[str]:
    """What the package manager has to be asked for, as ``name`` or name and version."""
    return [
        f"{name}{join}{version}" if version else name
        for name, version in wanted.items()
        if name not in installed or not fnmatchcase(installed[name].version, version or "*")
    ]


def _install(host: Host, manager: PackageManager, missing: tuple[str, ...]) -> None:
    for command in manager.prepare:
        run(host, command, exclusive=True, seconds=LISTS_SECONDS)
    planned = manager.planned(simulate(host, manager, (*manager.simulate_install, *missing)))
    record = host.get_fact(Remembered)
    if record is not None:
        write_private(host, paths.RECORD, record.with_packages(planned).json())
    run(host, [*manager.install, *missing], exclusive=True, seconds=PACKAGES_SECONDS)


def simulate(host: Host, manager: PackageManager, command: Sequence[str]) -> str:
    """What the package manager says that it would do. Raises NodeError if it cannot be done."""
    if not manager.simulation_fails:
        return run(host, command)
    done, output = try_run(host, command)
    if not done and ABORTED not in output:
        tail = "\n    ".join(output.strip().splitlines()[-ERROR_LINES:])
        raise NodeError(f"{' '.join(command[-2:])} cannot be done:\n    {tail}")
    return output


@operation()
def hold(packages: Sequence[str], manager: str = "apt") -> Generator[PyinfraCommand | str, None, None]:
    """Keep packages from being upgraded with the system: a cluster is upgraded node by node, by kubeadm."""
    used = MANAGERS[manager]
    installed = host.get_fact(used.installed)
    free = [name for name in packages if name not in installed or not installed[name].held]
    if not free or not used.hold:
        host.noop("packages are held")
        return
    because(named("would be upgraded with the system:", free))
    yield f"{' '.join(used.hold)} {' '.join(free)}"
