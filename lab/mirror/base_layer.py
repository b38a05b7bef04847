"""The Debian layer that most images share: a small Debian 12, made of real package installations by mmdebstrap.

Real installations, because /usr/sbin/iptables exists only after update-alternatives ran; it is the nft variant then, as
on the nodes.
"""

import re
import tarfile
from collections.abc import Sequence
from pathlib import Path

from kubeproof.terminal.errors import CommandError
from lab import archive, debootstrap
from lab.mirror import cache, versions

LEFT_OUT = (
    *("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/lintian/*"),
    *("/usr/share/bash-completion/*", "/usr/share/zoneinfo/*"),
)
"""What nobody reads inside a container; dpkg never unpacks it."""
KEPT = ("/usr/share/doc/*/copyright", "/usr/share/zoneinfo/UTC")
EMPTIED = ("var/cache", "var/log")
"""Folders whose files are removed: they are of use to the next installation, and there is none."""
SOURCE_DATE = "1610496000"
"""Time stamp of what mmdebstrap makes itself, in seconds since 1970: Kubernetes 1.20.2's day, as for the packages."""
_RECIPE = 1


def ensure(packages: Sequence[str]) -> tuple[Path, int]:
    """Return the base layer as an uncompressed tar file, and how many things were built for it (0 or 1).

    The tar file's folder is named by the content's key.
    """
    title = "base layer of the images (mmdebstrap)"
    folder, built = cache.ensure("base-layer", layer_key(packages), title, lambda partial: _make(packages, partial))
    return folder / "layer.tar", built


def layer_key(packages: Sequence[str]) -> str:
    """Key over the packages and every constant of the recipe."""
    return cache.key(_RECIPE, archive.RELEASE, sorted(packages), LEFT_OUT, KEPT, EMPTIED, versions.ETCD)


def dpkg_settings() -> list[str]:
    """Options that make dpkg leave out documentation and the like."""
    excluded = [f"--dpkgopt=path-exclude={pattern}" for pattern in LEFT_OUT]
    return excluded + [f"--dpkgopt=path-include={pattern}" for pattern in KEPT]


def package_version(status: str, package: str) -> str:
    """Version of a package from the text of /var/lib/dpkg/status; empty if it is not there."""
    found = re.search(rf"^Package: {re.escape(package)}\n(?:.+\n)*?Version: (\S+)$", status, re.MULTILINE)
    return found[1] if found else ""


def _make(packages: Sequence[str], folder: Path) -> None:
    folder.mkdir()
    layer = folder / "layer.tar"
    # TMPDIR is where mmdebstrap unpacks, so that an interrupted build leaves nothing elsewhere.
    env = {"SOURCE_DATE_EPOCH": SOURCE_DATE, "TMPDIR": str(folder)}
    debootstrap.make(layer, "essential", packages, _options(), env)
    _check_etcd(layer)


def _options() -> list[str]:
    emptied = " ".join(f'"$1/{path}"' for path in EMPTIED)
    return [
        # The container runtime makes /dev; a node may not be allowed to make device files from a layer.
        "--skip=output/dev",
        *dpkg_settings(),
        f"--customize-hook=find {emptied} -type f -delete",
        # Nothing is installed in a container, and the addresses in it may hold a password.
        '--customize-hook=rm "$1/etc/apt/sources.list"',
    ]


def _check_etcd(layer: Path) -> None:
    with tarfile.open(layer) as tar:
        member = tar.extractfile("./var/lib/dpkg/status")
        status = member.read().decode() if member else ""
    found = package_version(status, "etcd-server")
    if not found.startswith(versions.ETCD):
        raise CommandError(
            f"Debian's etcd-server is {found or 'missing'}, the lab's image tag says {versions.ETCD}: "
            "set ETCD in lab/mirror/versions.py and etcd_image_tag in inventory/group_data/lab.py"
        )
