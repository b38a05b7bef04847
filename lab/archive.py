"""The Debian archive that this machine uses: the part of it in a bundle, or what its own apt is configured for.

Nothing of the lab names an archive of its own: what the machine reaches is what its administrator configured.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from kubeproof.terminal.errors import UserError
from lab import paths, shell

RELEASE = "bookworm"
"""Debian 12, the release of the lab's machine, and of its nodes unless their settings say otherwise."""
COPY = "copy:"
"""apt's method for files of this machine that it handles as if they were fetched (sources.list(5))."""
INDEX = "suites"
"""Beside the folders of a copy: a line for each suite, with its release, its folder and its name."""
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
_FORMAT = "$(TARGET_OF)|$(ORIGIN)|$(CODENAME)|$(COMPONENT)|$(REPO_URI)|$(RELEASE)"


@dataclass(frozen=True)
class Source:
    """One line of a sources.list: a suite (``bookworm-updates``) with its component ``main`` at a URI."""

    uri: str
    suite: str

    def line(self, kind: str = "deb") -> str:
        """The source in one-line style, with signatures checked against Debian's keyring."""
        # A copy grows old, which its signatures are not for, and has its indexes by name only.
        aged = " check-valid-until=no by-hash=no" if self.uri.startswith(COPY) else ""
        return f"{kind} [signed-by={KEYRING}{aged}] {self.uri} {self.suite} main"


def sources_of(release: str) -> tuple[Source, ...]:
    """The same suites of another release, from where this machine has its own. Raises UserError as :func:`sources`."""
    if in_bundle():
        return _copied(release)
    return tuple(Source(each.uri, re.sub(f"^({RELEASE}|oldstable)", release, each.suite)) for each in sources())


@cache
def sources() -> tuple[Source, ...]:
    """Debian 12's suites that this machine is configured for, the release itself first.

    Raises UserError where there is none (no Debian 12, or `apt-get update` never ran). Asking apt takes up to a
    second, and many ask; the answer holds for one command.
    """
    if in_bundle():
        return _copied(RELEASE)
    # An address may hold a password.
    return parse(shell.run(["apt-get", "indextargets", "--format", _FORMAT], log_output=False))


def parse(targets: str) -> tuple[Source, ...]:
    """Read lines as ``apt-get indextargets`` prints them in this module's format."""
    found: dict[Source, None] = {}
    for line in targets.splitlines():
        kind, origin, codename, component, uri, suite = line.split("|")
        if kind == "deb" and origin == "Debian" and component == "main" and codename.startswith(RELEASE):
            found[Source(uri.rstrip("/"), suite)] = None
    if not any(source.suite in (RELEASE, "oldstable") for source in found):
        raise UserError(
            f"apt sources: no Debian archive for {RELEASE} is configured, or its lists are missing; "
            "add one to /etc/apt/sources.list.d and run `apt-get update`"
        )
    return tuple(sorted(found, key=lambda source: (len(source.suite), source.suite)))


def bundle() -> Path:
    """Where the bundle lies that this machine uses, if it uses one (`./inv bundle.use`)."""
    return paths.CACHE / "bundle"


def in_bundle() -> bool:
    """Whether a bundle is in use: then nothing is asked of any network."""
    return bundle().is_dir()


def _copied(release: str) -> tuple[Source, ...]:
    folder = bundle() / "debian"
    suites = [line.split() for line in (folder / INDEX).read_text().splitlines()]
    found = tuple(Source(f"{COPY}{folder}/{name}", suite) for of, name, suite in suites if of == release)
    if not found:
        raise UserError(
            f"system: the bundle that this machine uses ({bundle()}) has no packages of {release}; "
            "use one that was made with this setting, or remove it to use the network"
        )
    return found
