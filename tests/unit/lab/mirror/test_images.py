"""Tags and contents of images."""

import shutil
from pathlib import Path

import pytest

from lab.mirror import images


@pytest.fixture
def agents(tmp_path: Path) -> Path:
    shutil.copytree(images.AGENTS, tmp_path / "agents", ignore=shutil.ignore_patterns(*images.IGNORED_PARTS))
    (tmp_path / "agents" / "podnet" / "__pycache__").mkdir()
    return tmp_path / "agents"


def test_every_image_of_the_lab_has_a_tag(agents: Path) -> None:
    tags = images.tags(agents)
    assert tags["kube-apiserver"] == tags["kube-proxy"] == "v1.20.2"
    assert (tags["etcd"], tags["pause"]) == ("3.4.23", "3.2")
    assert set(images.AGENT_IMAGES) < set(tags)


def test_an_agents_tag_is_twelve_hexadecimal_digits(agents: Path) -> None:
    assert len(bytes.fromhex(images.tags(agents)["podnet"])) == 6


def test_a_changed_agent_has_another_tag_and_leaves_the_others(agents: Path) -> None:
    before = images.tags(agents)
    (agents / "httpd" / "index.shtml").write_text("another")
    after = images.tags(agents)
    assert {name for name in before if before[name] != after[name]} == {"httpd"}


def test_a_program_made_executable_has_another_tag(agents: Path) -> None:
    before = images.tags(agents)["podnet"]
    (agents / "podnet" / "agent.py").chmod(0o755)
    assert images.tags(agents)["podnet"] != before


def test_compiled_python_is_no_content(agents: Path) -> None:
    before = images.tags(agents)
    (agents / "podnet" / "__pycache__" / "y.pyc").write_bytes(b"other")
    assert images.tags(agents) == before


def test_folders_are_walked(agents: Path) -> None:
    kuard = next(image for image in images.agent_images(agents) if image.name == "kuard")
    assert [target for target, _ in kuard.files] == [
        "/opt/kubeproof/agents/__init__.py",
        "/opt/kubeproof/agents/kuard/__init__.py",
        "/opt/kubeproof/agents/kuard/__main__.py",
        "/opt/kubeproof/agents/kuard/server.py",
    ]
