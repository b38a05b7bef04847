"""What the machine that runs the deploy contributes: files and downloads of its own."""

from functools import cache
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from pyinfra.api.exceptions import DeployError

ARMOUR = "-----BEGIN PGP PUBLIC KEY BLOCK-----"
DOWNLOAD_SECONDS = 20


@cache
def apt_key(source: str) -> str:
    """The ASCII-armoured OpenPGP key at a path or URL. Raises DeployError if there is none."""
    text = _download(source) if "://" in source else _read(source)
    if ARMOUR not in text:
        raise DeployError(f"kubernetes_apt_key: {source} is not an ASCII-armoured key; export it with gpg --armor")
    return text


def _read(path: str) -> str:
    try:
        return Path(path).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise DeployError(f"kubernetes_apt_key: cannot read {path} ({error}); correct the setting") from error


def _download(url: str) -> str:
    try:
        with urlopen(url, timeout=DOWNLOAD_SECONDS) as answer:  # noqa: S310  # settings allow http and https only
            return str(answer.read().decode("ascii"))
    except (URLError, OSError, UnicodeDecodeError) as error:
        raise DeployError(f"kubernetes_apt_key: cannot fetch {url} ({error}); correct the setting") from error
