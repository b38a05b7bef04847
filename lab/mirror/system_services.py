"""Keeps Debian's own services of the mirror's programs from running: the lab starts these programs itself.

Installing docker-registry would otherwise leave a daemon listening on every address of the machine, on the very port
that the lab uses.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab import shell
from lab.mirror import registry

SERVICES = (registry.SERVICE,)
"""Services, and the packages of the same names that bring them."""

UNITS = Path("/etc/systemd/system")
POLICY = Path("/usr/sbin/policy-rc.d")
"""Asked by invoke-rc.d and deb-systemd-invoke before they start anything (invoke-rc.d(8))."""
FORBIDDEN = 101


@contextmanager
def kept_from_starting() -> Iterator[None]:
    """To be put around the installation of packages: services that come with it are neither started nor enabled.

    One that was installed before is its administrator's, and left alone.
    """
    new = [service for service in SERVICES if not _is_installed(service)]
    mask(new)
    with _policy(new):
        yield


def mask(services: list[str], units: Path = UNITS) -> None:
    """Mask systemd units that do not exist yet; they then never start, at boot neither."""
    for service in services:
        link = units / f"{service}.service"
        if units.is_dir() and not link.is_symlink() and not link.exists():
            link.symlink_to("/dev/null")


def policy_text(services: list[str]) -> str:
    """A policy-rc.d that forbids these services and allows all others."""
    return f'#!/bin/sh\ncase "$1" in\n{"|".join(services)}) exit {FORBIDDEN} ;;\nesac\nexit 0\n'


@contextmanager
def _policy(services: list[str]) -> Iterator[None]:
    # For a machine without systemd, where a mask means nothing. A policy that is there already stays in force.
    if not services or POLICY.exists() or POLICY.is_symlink():
        yield
        return
    try:
        POLICY.write_text(policy_text(services))
        POLICY.chmod(0o755)
        yield
    finally:
        POLICY.unlink(missing_ok=True)


def _is_installed(package: str) -> bool:
    status = shell.run(["dpkg-query", "--show", "--showformat=${db:Status-Status}", package], check=False)
    return status.strip() == "installed"
