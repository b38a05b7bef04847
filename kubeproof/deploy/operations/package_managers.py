"""What apt and dnf are told, and how their answers are read. Pure, but for naming the facts that ask a host."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pyinfra.api.facts import FactBase

from kubeproof.deploy.facts.packages import Installed, InstalledRpms, Known, KnownRpms, Package
from kubeproof.deploy.operations.remote import LOCK_WAIT_SECONDS

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
