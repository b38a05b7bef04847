"""Debian's archive and the mirror's own packages for nodes without a route out: apt-cacher-ng on the lab gateway."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from kubeproof.errors import UserError
from lab import apt_config, archive, paths
from lab.mirror.daemons import Daemon

if TYPE_CHECKING:
    from lab.settings import LabSettings

PACKAGES = ("apt-cacher-ng",)
"""Debian packages that this module needs on the lab's machine."""

SERVICE = "apt-cacher-ng"
"""Debian's system service and system user of that name; the service must not run, the lab starts the program itself."""
PROGRAM = "/usr/sbin/apt-cacher-ng"
KUBERNETES_PATH = "kubernetes"
SUPPORT_FOLDER = "/usr/lib/apt-cacher-ng"


def daemon(lab: "LabSettings") -> Daemon:
    """The caching proxy with the lab's own configuration; the system's in /etc/apt-cacher-ng is never read."""
    folder = paths.MIRROR / "apt-cacher-ng"
    cached, logs = paths.CACHE / "apt-cacher-ng", paths.LOG_FILE.parent / "apt-cacher-ng"

    def config() -> dict[Path, str]:
        behind, proxy = backends(archive.sources()), upstream_proxy(apt_config.read())
        return {folder / "acng.conf": render(lab.gateway, lab.apt_port, behind, proxy, cached, logs)}

    return Daemon(
        name=SERVICE,
        command=(PROGRAM, "-c", str(folder), "ForeGround=1"),
        user=SERVICE,
        address=lab.gateway,
        port=lab.apt_port,
        config=config,
        writable=(cached, logs),
    )


def backends(sources: Sequence[archive.Source]) -> dict[str, str]:
    """Path on the proxy -> URI of this machine's archive behind it; raises UserError for one that is not HTTP."""
    found = {path: uri for uri, path in archive.proxy_paths(sources).items()}
    problems = [
        f"apt sources: {uri} is not served by HTTP, so the lab's caching proxy cannot fetch from it; add an HTTP source"
        for uri in found.values()
        if urlsplit(uri).scheme not in ("http", "https")
    ]
    if problems:
        raise UserError(problems)
    return found


def upstream_proxy(settings: Mapping[str, str]) -> str:
    """The HTTP proxy that apt on this machine goes through (Acquire::http::Proxy), or an empty text."""
    proxy = settings.get("Acquire::http::Proxy", "")
    return "" if proxy.upper() == "DIRECT" else proxy


def render(address: IPv4Address, port: int, behind: Mapping[str, str], proxy: str, cached: Path, logs: Path) -> str:
    """acng.conf: serves the remapped archives and our repository, and refuses everything else."""
    settings = {
        "BindAddress": str(address),
        "Port": str(port),
        "CacheDir": str(cached),
        "LogDir": str(logs),
        "SupportDir": SUPPORT_FOLDER,
        **{f"Remap-{path}": f"/{path} ; {uri}" for path, uri in behind.items()},
        "LocalDirs": f"{KUBERNETES_PATH} {paths.APT_REPOSITORY}",
        # Only what a Remap line names is fetched, so the proxy is an open door to nowhere else.
        "ForceManaged": "1",
        "AllowUserPorts": " ".join(sorted({str(_port(uri)) for uri in behind.values()})),
        "ReportPage": "",
        "ExThreshold": "30",
        "VerboseLog": "0",
        **({"Proxy": proxy} if proxy else {}),
    }
    return "".join(f"{name}: {text}\n" for name, text in settings.items())


def _port(uri: str) -> int:
    parts = urlsplit(uri)
    return parts.port or (443 if parts.scheme == "https" else 80)
