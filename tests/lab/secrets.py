"""The secrets of a cluster and of the lab, and what betrays one in a text."""

import base64
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from kubeproof.config.tables import paths
from lab.paths import SSH_KEY
from lab.settings import load
from tests.lab.remote import ssh

FORMS = {
    "a bootstrap token": re.compile(r"(?<![a-z0-9.])[a-z0-9]{6}\.[a-z0-9]{16}(?![a-z0-9.])"),
    "a private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "a service account's token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\."),
    "a key for certificates": re.compile(r"certificate-?[kK]ey[=: ]+[0-9a-f]{64}"),
}
"""What a secret looks like, whichever it is; those that exist for seconds only are known by this alone."""
FILES = "/etc/kubernetes/*.conf /etc/kubernetes/pki/*.key /etc/kubernetes/pki/etcd/*.key /var/lib/kubelet/pki/*.pem"
HOST_KEYS = "/etc/ssh/ssh_host_*_key"
PIECE = 48
"""Letters of a base64 text by which it is recognised; long enough to be nobody else's."""


def needles() -> dict[str, str]:
    """Pieces of every secret that there is now -> where it is from."""
    found = dict(pieces(SSH_KEY.read_text(), str(SSH_KEY)))
    for node in load().nodes:
        listed = ssh(node.name, f"ls {FILES} {HOST_KEYS} {paths.ROOT_KUBECONFIG} 2>/dev/null || true").split()
        for file in listed:
            found |= pieces(ssh(node.name, f"cat {file}"), f"{node.name}:{file}")
    assert len(found) > 20, f"too few secrets to look for: {sorted(found.values())}"
    return found


def pieces(text: str, where: str) -> dict[str, str]:
    """Pieces by which the private parts of PEM texts and kubeconfigs are recognised -> ``where``. Pure."""
    found: dict[str, str] = {}
    for encoded in re.findall(r"client-key-data: (\S+)", text):
        found[encoded[len(encoded) // 2 :][:PIECE]] = where
        found |= pieces(base64.b64decode(encoded).decode(), where)
    for body in re.findall(r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s+(.*?)-----END", text, re.DOTALL):
        # From the middle: keys of one kind begin alike. A whole line, and all of it without line breaks.
        lines = body.split()
        found[lines[len(lines) // 2][:PIECE]] = where
    return found


def betrayals(text: str, known: Mapping[str, str]) -> Iterator[str]:
    """One line for each secret in a text, with where it is from but without itself. Pure."""
    for piece, where in known.items():
        if piece in text:
            yield f"{where}: {_around(text, text.index(piece), len(piece))}"
    for what, form in FORMS.items():
        for match in form.finditer(text):
            yield f"{what}: {_around(text, match.start(), len(match[0]))}"


def in_files(files: Iterable[Path], known: Mapping[str, str]) -> list[str]:
    """The same of files, each line led by the file's name."""
    return [f"{file}: {line}" for file in files for line in betrayals(file.read_text(errors="replace"), known)]


def _around(text: str, start: int, length: int) -> str:
    before, after = text[max(0, start - 60) : start], text[start + length :][:20]
    return f"…{before}<SECRET>{after}…".replace("\n", " ")
