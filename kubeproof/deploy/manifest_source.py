"""Where manifests come from: a file, the cache on this machine, or the network. Nothing is used unverified."""

import contextlib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from kubeproof.access import downloads
from kubeproof.networks import registry
from kubeproof.networks.manifest import number
from kubeproof.networks.plan import NetworkPlan, build, of_template
from kubeproof.terminal import atomic_files
from kubeproof.terminal.errors import UserError

if TYPE_CHECKING:
    from kubeproof.config.settings import Settings

DOWNLOAD_SECONDS = 30
LARGEST_BYTES = 16 * 1024 * 1024
"""Known manifests have up to 350 kB: more is something else."""


@dataclass(frozen=True)
class Wanted:
    place: str
    """URL or path."""
    sha256: str
    title: str


@cache
def plan_network(settings: "Settings", tunnel_mtu: int | None = None) -> NetworkPlan:
    """What the pod network of the settings needs, its manifest read once. Raises UserError, a line for each problem.

    ``tunnel_mtu`` is what the hosts leave for a packet in a tunnel, in bytes, where that is known.
    """
    if settings.network.manifest is None:
        return of_template(settings)
    wanted = wanted_manifest(settings)
    try:
        text = verified(wanted).decode()
    except UnicodeDecodeError:
        raise UserError(f"cni_manifest: {wanted.place}: is no UTF-8 text, save it as UTF-8") from None
    pinned = registry.by_digest(wanted.sha256)
    doubt = registry.doubt(pinned, settings.kubernetes_minor) if pinned else None
    return replace(build(text, settings, wanted.title, tunnel_mtu), doubt=doubt)


def wanted_manifest(settings: "Settings") -> Wanted:
    """The manifest that the settings name, or the newest for the Kubernetes version. Raises UserError."""
    if settings.cni_manifest:
        return _named(settings.cni_manifest, settings.cni_manifest_sha256, settings)
    pinned = registry.choose(settings.cni, settings.kubernetes_minor)
    if pinned is None:
        raise UserError(
            f"cni: no manifest of {settings.cni} for Kubernetes {settings.kubernetes_minor} is known, name one in "
            "cni_manifest"
        )
    return Wanted(pinned.url, pinned.sha256, pinned.title)


def _named(place: str, sha256: str, settings: "Settings") -> Wanted:
    """Without a sum of the user's it has to be one of those that are known, wherever it lies.

    A known one is refused where it is of another network, or for later versions of Kubernetes only. One for earlier
    versions is not: what it asks for that is gone is found in it.
    """
    if not sha256 and "://" in place:
        pinned = registry.by_url(place)
        sha256 = pinned.sha256 if pinned else ""
    if not sha256:
        found = downloads.sha256(_content(place))
        if registry.by_digest(found) is None:
            raise UserError(
                f"cni_manifest_sha256: is empty, and {place} is no manifest that this project knows (it has SHA-256 "
                f"{found}), set it if that is the one that you have looked at"
            )
        sha256 = found
    pinned = registry.by_digest(sha256)
    if pinned and pinned.project != settings.cni:
        raise UserError(f"cni_manifest: {place} is {pinned.title}, but cni is {settings.cni!r}, correct one of them")
    if pinned and number(settings.kubernetes_minor) < number(pinned.first):
        raise UserError(
            f"cni_manifest: {place} is {pinned.title}, which is for Kubernetes {pinned.first} and later, not "
            f"{settings.kubernetes_minor}; leave it empty for one that is"
        )
    return Wanted(place, sha256, pinned.title if pinned else place)


def verified(wanted: Wanted) -> bytes:
    """The manifest's content, which has the wanted SHA-256. Raises UserError."""
    if "://" not in wanted.place:
        return _checked(_content(wanted.place), wanted, "correct one of them")
    cached = cache_folder() / f"{wanted.sha256}.yaml"
    if cached.is_file():
        return _checked(_content(str(cached)), wanted, f"remove {cached}, it is fetched anew then")
    content = _checked(_content(wanted.place), wanted, "somebody has changed the file, or what is between")
    # A cache that cannot be written costs only a download.
    with contextlib.suppress(OSError):
        atomic_files.write(cached, content)
    return content


def cache_folder() -> Path:
    return downloads.cache_folder() / "manifests"


def _checked(content: bytes, wanted: Wanted, advice: str) -> bytes:
    found = downloads.sha256(content)
    if found != wanted.sha256:
        raise UserError(
            f"cni_manifest: {wanted.place} has SHA-256 {found}, expected {wanted.sha256}; nothing is applied, {advice}"
        )
    return content


def _content(place: str) -> bytes:
    return downloads.content("cni_manifest", place, seconds=DOWNLOAD_SECONDS, largest=LARGEST_BYTES)
