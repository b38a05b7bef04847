"""Files and downloads of the machine that runs the deploy, and what it keeps of them."""

import hashlib
import os
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import build_opener

from kubeproof.terminal.errors import UserError


def content(setting: str, place: str, *, seconds: float, largest: int) -> bytes:
    """What is at a path or URL of a setting, of at most ``largest`` bytes. Raises UserError, naming the setting.

    A proxy of the environment is used (http_proxy, https_proxy, no_proxy).
    """
    if "://" not in place:
        try:
            return Path(place).expanduser().read_bytes()
        except OSError as error:
            raise UserError(f"{setting}: {place} cannot be read ({error.strerror}), correct the setting") from None
    try:
        with build_opener().open(place, timeout=seconds) as answer:
            found: bytes = answer.read(largest + 1)
    except (OSError, HTTPException) as error:
        reason = error if isinstance(error, HTTPError) else getattr(error, "reason", None) or error
        raise UserError(
            f"{setting}: {place} cannot be had ({reason}), put the file on this machine and name it in {setting}"
        ) from None
    if len(found) > largest:
        raise UserError(f"{setting}: {place} has more than {largest >> 20} MiB, it is something else; correct it")
    return found


def sha256(found: bytes | str) -> str:
    return hashlib.sha256(found.encode() if isinstance(found, str) else found).hexdigest()


def cache_folder() -> Path:
    """Below XDG_CACHE_HOME, or ~/.cache (XDG Base Directory Specification)."""
    home = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(home) if home.startswith("/") else Path("~/.cache").expanduser()
    return base / "kubeproof"
