"""Packages at wanted versions, in one transaction, by the package manager of the host's system."""

from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from pyinfra import host
from pyinfra.api import operation
from pyinfra.api.command import PyinfraCommand
from pyinfra.api.facts import FactBase
from pyinfra.api.host import Host

from kubeproof.access.deadlines import LISTS_SECONDS, PACKAGES_SECONDS
from kubeproof.config.tables import paths
from kubeproof.deploy.facts.hosts import Remembered
from kubeproof.deploy.facts.packages import Installed, InstalledRpms, Known, KnownRpms, Package
from kubeproof.deploy.operations.remote import (
    ERROR_LINES,
    LOCK_WAIT_SECONDS,
    NodeError,
    on_host,
    run,
    try_run,
    write_private,
)
from kubeproof.deploy.run_events import because
from kubeproof.node.texts import named

APT_GET = (
    "env",
    "DEBIAN_FRONTEND=noninteractive",
    "apt-get",
    "--yes",
    "--quiet",
    "--option",
    f"DPkg::Lock::Timeout={LOCK_WAIT_SECONDS}",
    "--option",
    "Acquire::Retries=3",
    # A node has no use for them once they are installed.
    "--option",
    "APT::Keep-Downloaded-Packages=false",
    # Files of the deploy are placed before the packages that might ship them: ours stay.
    "--option",
    "DPkg::Options::=--force-confdef",
    "--option",
    "DPkg::Options::=--force-confold",
)
DNF = ("env", "LC_ALL=C", "dnf", "--setopt=install_weak_deps=False", "--setopt=clean_requirements_on_remove=False")
WITHOUT_HOLD = "--disableexcludes=kubernetes"
"""The Kubernetes packages are held by being excluded from their repository."""


@dataclass(frozen=True)
class PackageManager:
    """The commands of one, as words, without the packages that they are about."""

    installed: type[FactBase[dict[str, Package]]]
    known: type[FactBase[list[str]]]
    join: str
    """Stands between a package's name and its version."""
    prepare: tuple[tuple[str, ...], ...]
    """What comes before an installation: making good what was interrupted, reading the lists anew."""
    install: tuple[str, ...]
    simulate_install: tuple[str, ...]
    remove: tuple[str, ...]
    simulate_remove: tuple[str, ...]
    simulation_fails: bool
    """Whether a simulation that went well ends with an exit code."""
    planned: Callable[[str], list[str]]
    """Reads which packages an installation would add."""
    removed: Callable[[str], list[str]]
    """Reads which packages a removal would take."""
    hold: tuple[str, ...]
    """Keeps packages from being upgraded with the system; empty where that is said in the repository's file."""


def planned_packages(simulation: str) -> list[str]:
    """Names of the packages that ``apt-get --simulate install`` says it would install and that are not there now.

    Its lines are ``Inst name (version …)`` for a new package and ``Inst name [old version] (version …)`` for another
    version of one.
    """
    rows = [line.split() for line in simulation.splitlines() if line.startswith("Inst ")]
    return [row[1] for row in rows if len(row) > 2 and not row[2].startswith("[")]


def removed_packages(simulation: str) -> list[str]:
    """Names of the packages that ``apt-get --simulate`` says it would remove (``Remv``) or purge (``Purg``)."""
    rows = [line.split() for line in simulation.splitlines() if line.startswith(("Remv ", "Purg "))]
    return [row[1] for row in rows if len(row) > 1]


def transaction(output: str, sections: Sequence[str]) -> list[str]:
    """Names in those sections of the table that dnf shows before it asks, such as "Installing dependencies:".

    A row begins with one space and the name; a name that is too long for its column has the rest on the next line.
    """
    names, inside = [], False
    for line in output.splitlines():
        if line and not line[0].isspace():
            inside = any(line.startswith(section) for section in sections)
        elif inside and line.startswith(" ") and not line.startswith("  "):
            names.append(line.split()[0])
    return names


def dnf_planned(output: str) -> list[str]:
    """Names of the packages that ``dnf --assumeno install`` says it would add."""
    return transaction(output, ("Installing",))


def dnf_removed(output: str) -> list[str]:
    """Names of the packages that ``dnf --assumeno remove`` says it would take."""
    return transaction(output, ("Removing",))


APT = PackageManager(
    installed=Installed,
    known=Known,
    join="=",
    # A dpkg that was killed makes apt-get refuse everything until this was run; otherwise it does nothing.
    prepare=(("dpkg", "--configure", "-a", "--force-confdef", "--force-confold"), (*APT_GET, "update")),
    install=(*APT_GET, "--no-install-recommends", "install"),
    simulate_install=(*APT_GET, "--simulate", "--no-install-recommends", "install"),
    remove=(*APT_GET, "--allow-change-held-packages", "purge"),
    simulate_remove=(*APT_GET, "--simulate", "--allow-change-held-packages", "purge"),
    simulation_fails=False,
    planned=planned_packages,
    removed=removed_packages,
    hold=("apt-mark", "hold"),
)
DNF_MANAGER = PackageManager(
    installed=InstalledRpms,
    known=KnownRpms,
    join="-",
    prepare=((*DNF, "--assumeyes", "--quiet", "makecache"),),
    install=(*DNF, WITHOUT_HOLD, "--assumeyes", "install"),
    simulate_install=(*DNF, WITHOUT_HOLD, "--assumeno", "install"),
    remove=(*DNF, WITHOUT_HOLD, "--assumeyes", "remove"),
    simulate_remove=(*DNF, WITHOUT_HOLD, "--assumeno", "remove"),
    simulation_fails=True,
    planned=dnf_planned,
    removed=dnf_removed,
    hold=(),
)
MANAGERS = {"apt": APT, "dnf": DNF_MANAGER}


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
