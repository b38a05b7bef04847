"""The Debian layer that most images share: a small Debian 12, made of real package installations by mmdebstrap.

Real installations, because /usr/sbin/iptables exists only after update-alternatives ran; it is the nft variant then, as
on the nodes.
"""

import re
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from kubeproof.console import step
from kubeproof.errors import CommandError
from lab import archive, shell
from lab.mirror import apt_config, cache, versions

PACKAGES = ("mmdebstrap", "debian-archive-keyring", "util-linux")
"""Debian packages that this module needs on the lab's machine."""

LEFT_OUT = (
    "/usr/share/doc/*",
    "/usr/share/man/*",
    "/usr/share/info/*",
    "/usr/share/locale/*",
    "/usr/share/lintian/*",
    "/usr/share/bash-completion/*",
    "/usr/share/zoneinfo/*",
)
"""What nobody reads inside a container; dpkg never unpacks it."""
KEPT = ("/usr/share/doc/*/copyright", "/usr/share/zoneinfo/UTC")
EMPTIED = ("var/cache", "var/log")
"""Folders whose files are removed: they are of use to the next installation, and there is none."""
SOURCE_DATE = "1610496000"
"""Time stamp of what mmdebstrap makes itself, in seconds since 1970: Kubernetes 1.20.2's day, as for the packages."""
PASSED_ON = re.compile(r"^(Acquire::(https?::|Retries|ForceIPv[46]|Check-|Queue-Mode)\S*)$")
"""Settings of this machine's apt that hold inside mmdebstrap too; it does not read /etc/apt by itself."""
_RECIPE = 1


def ensure(packages: Sequence[str]) -> tuple[Path, int]:
    """Return the base layer as an uncompressed tar file, and how many things were built for it (0 or 1).

    The tar file's folder is named by the content's key.
    """
    name = layer_key(packages)
    folder = cache.entry("base-layer", name)
    built = 0
    if not folder.is_dir():
        with step("base layer of the images (mmdebstrap)"), cache.creating(folder) as partial:
            _make(packages, partial)
        cache.prune("base-layer", keep=name)
        built = 1
    return folder / "layer.tar", built


def layer_key(packages: Sequence[str]) -> str:
    """Key over the packages and every constant of the recipe."""
    return cache.key(_RECIPE, archive.RELEASE, sorted(packages), LEFT_OUT, KEPT, EMPTIED, versions.ETCD)


def apt_settings(config: Mapping[str, str]) -> str:
    """Lines of apt.conf for mmdebstrap: this machine's proxy, retries and checks."""
    return "".join(f'{name} "{text}";\n' for name, text in config.items() if text and PASSED_ON.match(name))


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
    settings = folder / "apt.conf"
    settings.touch(mode=0o600)  # It may hold the password of a proxy.
    settings.write_text(apt_settings(apt_config.read()))
    emptied = " ".join(f'"$1/{path}"' for path in EMPTIED)
    command: list[str | Path] = [
        # Its own mount namespace: of a build that is killed no mount stays behind.
        "unshare",
        "--mount",
        "mmdebstrap",
        "--variant=essential",
        "--format=tar",
        # The container runtime makes /dev; a node may not be allowed to make device files from a layer.
        "--skip=output/dev",
        f"--include={','.join(packages)}",
        f"--aptopt={settings}",
        *dpkg_settings(),
        f"--customize-hook=find {emptied} -type f -delete",
        archive.RELEASE,
        folder / "layer.tar",
    ]
    lines = "".join(f"{source.line()}\n" for source in archive.sources())
    shell.run(command, stdin=lines, env={"SOURCE_DATE_EPOCH": SOURCE_DATE, "TMPDIR": str(folder)})
    settings.unlink()
    _check_etcd(folder / "layer.tar")


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
