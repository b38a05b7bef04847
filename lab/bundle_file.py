"""The file of a bundle: a compressed tar archive of plain files, of which the first tells names, sizes and sums of all.

Nothing of a file is believed: what it says of itself is checked before anything is written, and everything that is
written is held against it.
"""

import hashlib
import json
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import IO

from kubeproof.terminal.errors import UserError
from lab.mirror.images import is_executable

FORMAT = 1
ABOUT = "bundle.json"
PARTS = ("cache", "debian", "manifests", "wheels")
"""Folders in it."""
LARGEST_ABOUT = 16 * 2**20
"""Bytes. A name, a size and a sum take some 150 bytes for each of at most thousands of files."""
COMPRESSION = 1
"""Of gzip. Most of it is compressed already."""
_CHUNK = 2**20
_NAME = re.compile(rf"(?:{'|'.join(PARTS)})(?:/(?!\.\.?(?:/|$))[A-Za-z0-9@%+,:=~._-]+)+")
_SUM = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class File:
    size: int
    """Bytes."""
    sha256: str


@dataclass(frozen=True)
class About:
    """What a bundle says of itself: by which version of this project and when it was made, and what for."""

    project: str
    made: str
    architecture: str
    systems: tuple[str, ...]
    images: tuple[str, ...]
    """Those that `./inv mirror.add` had added."""
    files: Mapping[str, File]

    @property
    def size(self) -> int:
        """Bytes that it takes unpacked."""
        return sum(file.size for file in self.files.values())


def file_of(path: Path) -> File:
    with path.open("rb") as content:
        return File(path.stat().st_size, hashlib.file_digest(content, "sha256").hexdigest())


def write(target: Path, about: About, files: Mapping[str, Path]) -> None:
    """Make the file of a bundle with the files that ``about`` names."""
    text = json.dumps({"format": FORMAT, **asdict(about)}, indent=1, sort_keys=True).encode()
    with tarfile.open(target, "w:gz", format=tarfile.PAX_FORMAT, compresslevel=COMPRESSION) as tar:
        tar.addfile(_member(ABOUT, len(text), 0o644), BytesIO(text))
        for name, file in about.files.items():
            mode = 0o755 if is_executable(files[name]) else 0o644
            with files[name].open("rb") as content:
                tar.addfile(_member(name, file.size, mode), content)


def read_about(file: Path) -> About:
    """What a bundle says of itself. Raises UserError where it is no bundle, or one of another format."""
    with _opened(file) as tar:
        first = tar.next()
        if first is None or first.name != ABOUT or not first.isreg() or first.size > LARGEST_ABOUT:
            raise UserError(f"{file}: is not a bundle, name a file that `./inv bundle.save` has written")
        content = tar.extractfile(first)
        text = content.read() if content else b""
    return parse_about(file, text)


def parse_about(file: Path, text: bytes) -> About:
    """Read ABOUT of a file. Pure. Raises UserError in one line."""
    try:
        found = json.loads(text)
        number = found["format"]
        if number == FORMAT:
            return _about(found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{file}: is not a bundle ({ABOUT}: {error!r}), make it again") from None
    raise UserError(f"{file}: has format {number}, this version reads {FORMAT}; use the version that has made it")


def unpack(file: Path, about: About, folder: Path) -> None:
    """Write all files of a bundle below a folder. Raises UserError where one differs from what ``about`` says."""
    missing = dict(about.files)
    with _opened(file) as tar:
        for member in tar:
            if member.name == ABOUT and not folder.exists():
                folder.mkdir(mode=0o755)
                continue
            expected = missing.pop(member.name, None)
            content = tar.extractfile(member) if member.isreg() else None
            if expected is None or content is None or member.size != expected.size:
                raise UserError(f"{file}: {member.name!r} is not what its list says, copy or make it again")
            target = folder / member.name
            target.parent.mkdir(parents=True, exist_ok=True)
            if _copy(content, target) != expected.sha256:
                raise UserError(f"{file}: {member.name} has another SHA-256 than its list says, copy or make it again")
            target.chmod(0o755 if member.mode & 0o100 else 0o644)
    if missing:
        raise UserError(
            f"{file}: is cut, {len(missing)} of {len(about.files)} files are missing; copy or make it again"
        )


def _member(name: str, size: int, mode: int) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, mode
    return member


def _about(found: Mapping[str, object]) -> About:
    files = found["files"]
    if not isinstance(files, dict) or not all(_is_plain(name, file) for name, file in files.items()):
        raise ValueError("a file that no bundle has")
    texts = {name: found[name] for name in ("project", "made", "architecture")}
    lists = {name: found[name] for name in ("systems", "images")}
    if not all(isinstance(text, str) and text.isprintable() for text in texts.values()):
        raise ValueError("no text where one has to be")
    if not all(isinstance(words, list) and all(isinstance(word, str) for word in words) for words in lists.values()):
        raise ValueError("no list of texts where one has to be")
    of_files = {name: File(file["size"], file["sha256"]) for name, file in files.items()}
    return About(**texts, **{name: tuple(words) for name, words in lists.items()}, files=of_files)  # type: ignore[arg-type]


def _is_plain(name: str, file: Mapping[str, object]) -> bool:
    """Whether a name leads nowhere but below the folders of a bundle, and has a size and a sum."""
    size, digest = file["size"], file["sha256"]
    return bool(
        _NAME.fullmatch(name) and type(size) is int and size >= 0 and isinstance(digest, str) and _SUM.fullmatch(digest)
    )


@contextmanager
def _opened(file: Path) -> Iterator[tarfile.TarFile]:
    try:
        with tarfile.open(file, "r|gz") as tar:
            yield tar
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(f"{file}: is cut or not a bundle ({error}), copy or make it again") from None


def _copy(content: IO[bytes], target: Path) -> str:
    """Write a file and return its SHA-256."""
    digest = hashlib.sha256()
    # Two names that differ in nothing but a link cannot be: there are no links, and no file twice.
    with target.open("xb") as copy:
        while chunk := content.read(_CHUNK):
            digest.update(chunk)
            copy.write(chunk)
    return digest.hexdigest()
