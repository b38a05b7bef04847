"""Debian packages at wanted versions, in one transaction."""

from collections.abc import Generator, Mapping, Sequence
from fnmatch import fnmatchcase

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.host import Host

from kubeproof.facts.hosts import Remembered
from kubeproof.facts.packages import Installed, Package
from kubeproof.node import paths
from kubeproof.operations.remote import LOCK_WAIT_SECONDS, on_host, run, write_private

APT_GET = (
    "env",
    "DEBIAN_FRONTEND=noninteractive",
    "apt-get",
    "--yes",
    "--quiet",
    "--option",
    f"DPkg::Lock::Timeout={LOCK_WAIT_SECONDS}",
    # A node has no use for them once they are installed.
    "--option",
    "APT::Keep-Downloaded-Packages=false",
    # Files of the deploy are placed before the packages that might ship them: ours stay.
    "--option",
    "DPkg::Options::=--force-confdef",
    "--option",
    "DPkg::Options::=--force-confold",
)


@operation()
def install(wanted: Mapping[str, str]) -> Generator[PyinfraCommand, None, None]:
    """Install packages without their recommendations.

    ``wanted`` maps a name to a version, in which ``*`` stands for anything (apt-get(8)); empty for any version. The
    package lists are read anew only if something is missing. What comes along is added to the host's record first, so
    that a reset knows it even if the installation is interrupted.
    """
    installed: dict[str, Package] = host.get_fact(Installed)
    missing = missing_packages(wanted, installed)
    if not missing:
        host.noop("all packages are installed at their versions")
        return
    yield on_host(_install, tuple(missing))


def missing_packages(wanted: Mapping[str, str], installed: Mapping[str, Package]) -> list[str]:
    """What apt-get has to be asked for, as ``name`` or ``name=version``."""
    return [
        f"{name}={version}" if version else name
        for name, version in wanted.items()
        if name not in installed or not fnmatchcase(installed[name].version, version or "*")
    ]


def planned_packages(simulation: str) -> list[str]:
    """Names of the packages that ``apt-get --simulate install`` says it would install and that are not there now.

    Its lines are ``Inst name (version …)`` for a new package and ``Inst name [old version] (version …)`` for another
    version of one.
    """
    rows = [line.split() for line in simulation.splitlines() if line.startswith("Inst ")]
    return [row[1] for row in rows if len(row) > 2 and not row[2].startswith("[")]


def _install(host: Host, missing: tuple[str, ...]) -> None:
    command = [*APT_GET, "--no-install-recommends", "install", *missing]
    # A dpkg that was killed makes apt-get refuse everything until this was run; otherwise it does nothing.
    run(host, ["dpkg", "--configure", "-a", "--force-confdef", "--force-confold"], exclusive=True)
    run(host, [*APT_GET, "update"], exclusive=True)
    _remember_added(host, planned_packages(run(host, [*APT_GET, "--simulate", *command[len(APT_GET) :]])))
    run(host, command, exclusive=True)


def _remember_added(host: Host, added: Sequence[str]) -> None:
    record = host.get_fact(Remembered)
    if record is not None:
        write_private(host, paths.RECORD, record.with_packages(added).json())


@operation()
def hold(packages: Sequence[str]) -> Generator[PyinfraCommand | str, None, None]:
    """Keep packages from being upgraded with the system: a cluster is upgraded node by node, by kubeadm."""
    installed = host.get_fact(Installed)
    free = [name for name in packages if name not in installed or not installed[name].held]
    if not free:
        host.noop("packages are held")
        return
    yield f"apt-mark hold {' '.join(free)}"


def removed_packages(simulation: str) -> list[str]:
    """Names of the packages that ``apt-get --simulate`` says it would remove (``Remv``) or purge (``Purg``)."""
    rows = [line.split() for line in simulation.splitlines() if line.startswith(("Remv ", "Purg "))]
    return [row[1] for row in rows if len(row) > 1]
