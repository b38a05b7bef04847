"""Signed apt repositories of the mirror's packages, each all in one folder: ``deb [signed-by=KEY] URL /``."""

import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from kubeproof.terminal.console import step
from lab import paths, shell
from lab.mirror import cache

USER_ID = "Kubeproof lab mirror <root@localhost>"
RELEASE_FIELDS = {
    "Origin": "Kubeproof",
    "Label": "Kubeproof",
    "Suite": "kubeproof-lab",
    "Description": "Packages for the hosts of Kubeproof's lab",
}
KEY_FILE = "Release.key"
_STAMP = ".content-key"


def ensure(debs: Sequence[Path], repository: Path) -> int:
    """Publish exactly these .deb files in a repository, and return how many things were built for it (0 or 1)."""
    fingerprint = signing_key()
    stamp = cache.key([str(deb) for deb in debs], RELEASE_FIELDS, fingerprint)
    if (repository / _STAMP).is_file() and (repository / _STAMP).read_text() == stamp:
        return 0
    with step(f"apt repository {repository.name}: index and signature"), cache.creating(repository) as partial:
        _publish(debs, partial, fingerprint)
        (partial / _STAMP).write_text(stamp)
    return 1


def signing_key() -> str:
    """Fingerprint of the key that signs the repository; makes the key if there is none yet.

    It has no passphrase, since nobody is there to type it, and lies in a folder that only root may open.
    """
    home = _gpg_home()
    found = _fingerprint(home)
    if not found:
        with step("signing key of the apt repository"):
            _gpg(home, "--quick-generate-key", USER_ID, "ed25519", "sign", "never")
        found = _fingerprint(home)
    return found


def plain_name(file: str) -> str:
    """Name of a .deb file as archives have it: what apt calls its downloads (NAME_EPOCH%3aVERSION …) without epoch."""
    return re.sub(r"_\d+%3a", "_", file)


def parse_fingerprint(listing: str) -> str:
    """First fingerprint in what ``gpg --with-colons --list-secret-keys`` printed; empty if there is none."""
    lines = (line.split(":") for line in listing.splitlines())
    return next((fields[9] for fields in lines if fields[0] == "fpr"), "")


def _publish(debs: Sequence[Path], folder: Path, fingerprint: str) -> None:
    folder.mkdir()
    for deb in debs:
        _link_or_copy(deb, folder / plain_name(deb.name))
    (folder / "Packages").write_text(shell.run(["apt-ftparchive", "packages", "."], cwd=folder))
    fields = [f"--option=APT::FTPArchive::Release::{name}={text}" for name, text in RELEASE_FIELDS.items()]
    release = shell.run(["apt-ftparchive", *fields, "release", "."], cwd=folder)
    (folder / "Release").write_text(release)
    home = _gpg_home()
    _gpg(home, "--local-user", fingerprint, "--output", folder / "InRelease", "--clearsign", folder / "Release")
    (folder / KEY_FILE).write_text(_gpg(home, "--armor", "--export", fingerprint))


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # Cache and state may be on different file systems.
        shutil.copyfile(source, target)


def _gpg_home() -> Path:
    home = paths.MIRROR / "gnupg"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    return home


def _fingerprint(home: Path) -> str:
    return parse_fingerprint(_gpg(home, "--with-colons", "--list-secret-keys"))


def _gpg(home: Path, *words: str | Path) -> str:
    # --pinentry-mode loopback with an empty passphrase: gpg must never wait for somebody at a terminal.
    batch = ["--batch", "--quiet", "--no-permission-warning", "--pinentry-mode", "loopback", "--passphrase", ""]
    try:
        return shell.run(["gpg", "--homedir", home, *batch, *words])
    finally:
        # gpg starts an agent that would outlive the lab.
        shell.run(["gpgconf", "--homedir", home, "--kill", "all"], check=False)
