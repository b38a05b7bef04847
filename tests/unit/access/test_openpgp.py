"""Fingerprints, held against what gpg says of keys that it made."""

import base64
import contextlib
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeproof.access.openpgp import fingerprints

BEGIN, END = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n", "\n-----END PGP PUBLIC KEY BLOCK-----\n"


def armour(data: bytes) -> str:
    return f"{BEGIN}{base64.b64encode(data).decode()}{END}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gpg")
    path.chmod(0o700)
    return path


def gpg(home: Path, *words: str) -> str:
    batch = ("--batch", "--pinentry-mode", "loopback", "--passphrase", "")
    done = subprocess.run(
        ["gpg", "--homedir", str(home), *batch, *words],
        capture_output=True,
        text=True,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout


@pytest.mark.skipif(not shutil.which("gpg"), reason="gpg is not installed")
def test_as_gpg_tells_them(home: Path) -> None:
    try:
        gpg(home, "--quick-generate-key", "one <one@example.net>", "ed25519", "sign", "never")
        gpg(home, "--quick-generate-key", "two <two@example.net>", "rsa3072", "default", "never")
        listed = gpg(home, "--with-colons", "--list-keys").splitlines()
        # The line after each primary key is its fingerprint's; a subkey has one, too.
        primary = [
            following.split(":")[9]
            for line, following in pairwise(listed)
            if line.startswith("pub:") and following.startswith("fpr:")
        ]
        assert len(primary) == 2
        assert set(fingerprints(gpg(home, "--armor", "--export"))) == set(primary)
        assert fingerprints(gpg(home, "--armor", "--export", primary[0])) == (primary[0],)
        both = "".join(gpg(home, "--armor", "--export", key) for key in primary)
        assert fingerprints(both) == tuple(primary)
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nothing", "no OpenPGP key"),
        (f"{BEGIN}****{END}", "armour is damaged"),
        (armour(b"\x00\x01"), "not made of OpenPGP packets"),
        (armour(b"\x9b"), "unknown length"),
        (armour(b"\xc6\xe1"), "in parts"),
        (armour(b"\x98\x20\x04"), "middle of a packet"),
        (armour(b"\x98\x01\x03"), "version 3"),
        (armour(b"\xb4\x01A"), "no OpenPGP key"),
    ],
)
def test_what_is_no_key_is_told(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        fingerprints(text)


@pytest.mark.parametrize(
    "header", [b"\x98\x03", b"\x99\x00\x03", b"\x9a\x00\x00\x00\x03", b"\xc6\x03", b"\xc6\xff\x00\x00\x00\x03"]
)
def test_every_form_of_a_packets_length(header: bytes) -> None:
    assert fingerprints(armour(header + b"\x04AB")) == fingerprints(armour(b"\x98\x03\x04AB"))


@pytest.mark.parametrize(
    "packets",
    [
        b"\x9a\x00\x01\x00\x01\x04" + b"x" * 0x10000,
        b"\xc6\xff\x00\x01\x00\x01\x04" + b"x" * 0x10000,
        b"\xc6",
        b"\x99\x00",
    ],
)
def test_what_no_key_can_be_is_refused(packets: bytes) -> None:
    with pytest.raises(ValueError, match="it "):
        fingerprints(armour(packets))


@given(st.binary(max_size=80))
def test_any_packets_are_read_or_refused(packets: bytes) -> None:
    with contextlib.suppress(ValueError):
        fingerprints(armour(packets))
