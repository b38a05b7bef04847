"""What is downloaded is what it was when it was chosen: versions and checksums of everything."""

import re
from pathlib import Path

import pytest

from kubeproof.config.tables import cri_dockerd
from kubeproof.networks.registry import PINNED as MANIFESTS
from kubeproof.terminal.exits import REPOSITORY

SHA256 = re.compile(r"[0-9a-f]{64}")
PINNED = re.compile(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==[^\s;]+( ; .+)?")


def requirements(text: str) -> list[tuple[str, list[str]]]:
    """Each requirement of a lock file with its hashes."""
    joined = re.sub(r"\\\n\s*", " ", text)
    lines = [line for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    found = []
    for line in lines:
        requirement, *hashes = re.split(r"\s+--hash=", line.split(" #")[0].strip())
        found.append((requirement.strip(), hashes))
    return found


def problems(text: str) -> list[str]:
    return [
        requirement
        for requirement, hashes in requirements(text)
        if not PINNED.fullmatch(requirement)
        or not hashes
        or not all(item.startswith("sha256:") and SHA256.fullmatch(item[7:]) for item in hashes)
    ]


def test_every_python_package_has_one_version_and_its_hashes() -> None:
    text = (REPOSITORY / "requirements.lock").read_text()
    assert len(requirements(text)) > 20
    assert problems(text) == []


@pytest.mark.parametrize(
    "line",
    [
        "rich==13.9.4",
        "rich>=13 --hash=sha256:" + "0" * 64,
        "rich==13.9.4 --hash=md5:" + "0" * 32,
        "rich==13.9.4 --hash=sha256:0",
        "-e .",
        "https://example.net/rich.whl --hash=sha256:" + "0" * 64,
    ],
)
def test_a_line_without_them_is_seen(line: str) -> None:
    assert problems(line + "\n") != []


def test_pip_is_told_to_compare_them() -> None:
    installs = [line for line in (REPOSITORY / "inv").read_text().splitlines() if "pip install" in line]
    text = (REPOSITORY / "inv").read_text()
    assert len(installs) == 1
    command = text[text.index(installs[0]) :].partition("}")[0]
    assert "--require-hashes" in command
    assert '-r "$lock"' in command
    assert "--only-binary :all:" in command


def test_every_manifest_and_archive_has_its_sum() -> None:
    sums = [item.sha256 for item in MANIFESTS] + list(cri_dockerd.SHA256.values())
    assert len(sums) > 4
    assert [value for value in sums if not SHA256.fullmatch(value)] == []


KNOWN = {
    "kubeproof/access/downloads.py": "for those who compare: keys by fingerprint, cri-dockerd and manifests by SHA-256",
    "kubeproof/node/image_registry.py": "asks a registry whether it has an image, takes nothing from it",
    "kubeproof/proof/demo_client.py": "shows the demo's answer",
    "kubeproof/walkthrough/attempting.py": "tries whether the demo answers",
    "kubeproof/proof/probe_run.py": "tries whether the demo answers",
    "kubeproof/matrix/api.py": "speaks with the cluster's API",
    "lab/mirror/registry.py": "asks the lab's own registry what it has",
}
"""Each module that opens a URL on this machine, and what holds the content to what was chosen."""
FETCHING = re.compile(r"\burlopen\(|\bbuild_opener\(|\burlretrieve\(|\bHTTPS?Connection\(|\bwget\b")


def test_whatever_fetches_is_known_with_what_its_content_is_held_against() -> None:
    fetching = {
        str(file.relative_to(REPOSITORY))
        for folder in ("kubeproof", "lab")
        for file in Path(REPOSITORY, folder).rglob("*.py")
        if FETCHING.search(file.read_text())
    }
    assert fetching == set(KNOWN)


UNCHECKED = re.compile(
    r"trusted=yes|allow-unauthenticated|AllowUnauthenticated|AllowInsecureRepositories|gpgcheck=0|nogpgcheck"
    r"|StrictHostKeyChecking[ =]no|verify=False|_create_unverified_context|apt-key"
)
"""Ways to take packages, hosts or answers without looking who they are from."""


def test_nothing_is_taken_unchecked() -> None:
    folders = ("kubeproof", "lab", "templates", "inventory", "agents")
    files = [file for folder in folders for file in Path(REPOSITORY, folder).rglob("*") if file.is_file()]
    texts = {file: file.read_text(errors="replace") for file in [*files, REPOSITORY / "inv"] if file.suffix != ".pyc"}
    assert len(texts) > 100
    assert [str(file) for file, text in texts.items() if UNCHECKED.search(text)] == []
