"""What the machine that runs the deploy contributes: files and downloads of its own."""

import io
import tarfile
from functools import cache
from pathlib import Path

from pyinfra.api.exceptions import DeployError

from kubeproof.access import downloads
from kubeproof.access.openpgp import fingerprints
from kubeproof.config.settings import Settings
from kubeproof.config.tables import cri_dockerd as release
from kubeproof.terminal import atomic_files
from kubeproof.terminal.errors import UserError

ARMOUR = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
KEY_SECONDS = 20
LARGEST_KEY_BYTES = 1024 * 1024
ARCHIVE_SECONDS = 120
LARGEST_ARCHIVE_BYTES = 256 * 1024 * 1024
"""Those of cri-dockerd have some tens of megabytes."""


@cache
def armoured_key(setting: str, source: str, fingerprint: str) -> str:
    """The ASCII-armoured OpenPGP key at a path or URL, which has this fingerprint; empty for any.

    Raises DeployError, naming the setting, if there is none or it is another one.
    """
    try:
        text = _content(setting, source, KEY_SECONDS, LARGEST_KEY_BYTES).decode()
    except UnicodeDecodeError:
        text = ""
    if ARMOUR not in text:
        raise DeployError(f"{setting}: {source} is not an ASCII-armoured key; export it with gpg --armor")
    if fingerprint:
        _compare(setting, source, text, fingerprint)
    return text


def _compare(setting: str, source: str, text: str, wanted: str) -> None:
    """Every key in the text, since all of them would be trusted. Raises DeployError."""
    try:
        found = set(fingerprints(text))
    except ValueError as error:
        raise DeployError(f"{setting}: {source} cannot be read as an OpenPGP key ({error})") from error
    if found != {wanted}:
        raise DeployError(
            f"{setting}_fingerprint: {source} has the fingerprint {', '.join(sorted(found))}, not {wanted}: packages "
            "signed with it would be trusted on all hosts. Nothing was changed there; see whether the key was replaced "
            f"by its owner, and only then set {setting}_fingerprint to the new one"
        )


@cache
def cri_dockerd(settings: Settings, architecture: str) -> Path:
    """The program cri-dockerd, out of its archive, which is held against the checksum that is known of it.

    Both are kept in the user's cache folder; the archive is checked, and the program compared with it, in every deploy.
    Raises DeployError if the archive cannot be had or is another one.
    """
    digest = release.SHA256.get(architecture)
    if digest is None:
        raise DeployError(f"cri-dockerd: there is none for {architecture or 'that machine'}; use containerd")
    program = downloads.cache_folder() / f"cri-dockerd-{release.VERSION}-{digest[:12]}"
    source = release.source(settings.cri_dockerd_archive, architecture)
    archive = _cri_dockerd_archive(program.with_name(f"{program.name}.tgz"), source, digest, architecture)
    _keep(program, _member(source, archive))
    return program


def _cri_dockerd_archive(kept: Path, source: str, digest: str, architecture: str) -> bytes:
    archive = _kept(kept)
    if downloads.sha256(archive) == digest:
        return archive
    archive = _content("cri_dockerd_archive", source, ARCHIVE_SECONDS, LARGEST_ARCHIVE_BYTES)
    if (found := downloads.sha256(archive)) != digest:
        raise DeployError(
            f"cri_dockerd_archive: {source} is not cri-dockerd {release.VERSION} for {architecture}: its SHA-256 "
            f"is {found}, not {digest}; name that release's archive"
        )
    _keep(kept, archive)
    return archive


def _kept(path: Path) -> bytes:
    """Empty if there is none, or none that can be read."""
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _keep(path: Path, content: bytes) -> None:
    try:
        if _kept(path) != content:
            atomic_files.write(path, content)
    except OSError as error:
        raise DeployError(
            f"cri-dockerd: cannot be kept in {path.parent} ({error.strerror}); make room there"
        ) from error


def _member(source: str, archive: bytes) -> bytes:
    try:
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            file = tar.extractfile(release.MEMBER)
            return file.read() if file else b""
    except (tarfile.TarError, KeyError, OSError) as error:
        raise DeployError(f"cri_dockerd_archive: {source} cannot be unpacked ({error})") from error


def _content(setting: str, source: str, seconds: float, largest: int) -> bytes:
    try:
        return downloads.content(setting, source, seconds=seconds, largest=largest)
    except UserError as error:
        raise DeployError("\n".join(error.problems)) from error
