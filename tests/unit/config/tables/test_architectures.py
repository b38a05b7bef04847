"""What of a deploy depends on a host's architecture is in few places, and each has all that are supported."""

import re
from pathlib import Path

import pytest

from kubeproof.config.tables import cri_dockerd, systems
from kubeproof.config.tables.systems import ARCHITECTURES, SYSTEMS, System
from kubeproof.terminal.exits import REPOSITORY
from tests.unit.node.example import cluster

NAMES = tuple(ARCHITECTURES.values())
WORDS = re.compile(r"amd64|arm64|x86[-_]64|aarch64")


def test_they_are_those_that_the_readme_names() -> None:
    assert NAMES == ("amd64", "arm64")
    assert set(systems.OTHER_ARCHITECTURES) == set(NAMES) - {"amd64"}
    assert "(amd64, arm64)" in (REPOSITORY / "README.md").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_cri_dockerd_has_a_download_and_a_sum_for_each(name: str) -> None:
    assert cri_dockerd.source("", name).endswith(f"-{cri_dockerd.VERSION}.{name}.tgz")
    assert re.fullmatch("[0-9a-f]{64}", cri_dockerd.SHA256[name])
    assert set(cri_dockerd.SHA256) == set(NAMES)
    assert len(set(cri_dockerd.SHA256.values())) == len(NAMES)


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=lambda system: str(system.key))
def test_packages_and_repositories_have_none_in_their_names(system: System) -> None:
    """Package managers take those of their own; where a URL needs the word, dnf puts it in."""
    named = (system.docker_package, system.containerd_package, *system.tools, system.runtime_key)
    assert not any(map(WORDS.search, named))
    assert not WORDS.search(system.runtime_url)
    assert "$basearch" in system.runtime_url or not system.runtime_url


def test_images_are_named_without_one() -> None:
    """A registry gives each host the manifest of its own out of an index."""
    settings = cluster().settings
    images = [value for name, value in vars(settings).items() if "image" in name and isinstance(value, str)]
    assert images
    assert not any(map(WORDS.search, images))
    assert not any(WORDS.search(file.read_text()) for file in (REPOSITORY / "templates").iterdir())


def test_nothing_else_of_the_deploy_names_one() -> None:
    """Whoever adds something that depends on it meets this list, and these tests."""
    where = {
        str(file.relative_to(REPOSITORY))
        for file in (*Path(REPOSITORY, "kubeproof").rglob("*.py"), *Path(REPOSITORY, "kubeproof").rglob("*.sh"))
        if WORDS.search(file.read_text())
    }
    assert where == {
        "kubeproof/config/tables/cri_dockerd.py",
        "kubeproof/config/tables/systems.py",
        # What images are built for is looked at for hosts of another.
        *("kubeproof/deploy/phases/preflight.py", "kubeproof/node/image_registry.py"),
        "kubeproof/rules/before_deploy/machines.py",  # refuses others, and flannel's udp where it is not built
        "kubeproof/state/node.py",
    }
