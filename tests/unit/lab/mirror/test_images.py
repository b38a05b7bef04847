"""Tags and contents of images, as agents/images.toml gives them."""

from pathlib import Path

import pytest

from kubeproof.terminal.errors import UserError
from lab.mirror import images

VALID = """
[podnet]
entrypoint = ["/usr/bin/python3", "-m", "agents.podnet"]
user = "0:0"
[podnet.files]
"/opt/agents/podnet" = "podnet"
"/etc/page" = "page.html"
[podnet.env]
PYTHONPATH = "/opt"
[cluster-dns]
entrypoint = ["/dns"]
[httpd]
cmd = ["/httpd"]
[kuard]
entrypoint = ["/kuard"]
[probe]
entrypoint = ["/probe"]
"""


@pytest.fixture
def agents(tmp_path: Path) -> Path:
    (tmp_path / "podnet" / "__pycache__").mkdir(parents=True)
    (tmp_path / "podnet" / "__main__.py").write_text("print('here')")
    (tmp_path / "podnet" / "__pycache__" / "x.pyc").write_bytes(b"compiled")
    (tmp_path / "page.html").write_text("<p>")
    (tmp_path / "packages.txt").write_text("# for podnet\npython3\n\niptables # again\n")
    (tmp_path / "images.toml").write_text(VALID)
    return tmp_path


def podnet(agents: Path) -> images.ImageSpec:
    return images.agent_images(agents)[0]


def test_every_image_of_the_lab_has_a_tag(agents: Path) -> None:
    tags = images.tags(agents)
    assert tags["kube-apiserver"] == tags["kube-proxy"] == "v1.20.2"
    assert (tags["etcd"], tags["pause"]) == ("3.4.23", "3.2")
    assert set(images.AGENT_IMAGES) < set(tags)


def test_an_agents_tag_is_twelve_hexadecimal_digits(agents: Path) -> None:
    assert len(bytes.fromhex(images.tags(agents)["podnet"])) == 6


@pytest.mark.parametrize("changed", ["podnet/__main__.py", "page.html", "packages.txt", "images.toml"])
def test_a_changed_agent_has_another_tag(agents: Path, changed: str) -> None:
    before = images.tags(agents)["podnet"]
    path = agents / changed
    text = path.read_text()
    path.write_text(text.replace("0:0", "65534:65534") if changed == "images.toml" else text + "more\n")
    assert images.tags(agents)["podnet"] != before


def test_a_program_made_executable_has_another_tag(agents: Path) -> None:
    before = images.tags(agents)["podnet"]
    (agents / "page.html").chmod(0o755)
    assert images.tags(agents)["podnet"] != before


def test_one_changed_agent_leaves_the_other_tags(agents: Path) -> None:
    before = images.tags(agents)
    (agents / "page.html").write_text("another")
    after = images.tags(agents)
    assert {name for name in before if before[name] != after[name]} == {"podnet"}


def test_compiled_python_is_no_content(agents: Path) -> None:
    before = images.tags(agents)
    (agents / "podnet" / "__pycache__" / "y.pyc").write_bytes(b"other")
    assert images.tags(agents) == before


def test_folders_are_walked(agents: Path) -> None:
    assert [target for target, _ in images.image_files(podnet(agents))] == [
        "/etc/page",
        "/opt/agents/podnet/__main__.py",
    ]


def test_packages_come_once_and_without_comments(agents: Path) -> None:
    packages = images.base_packages(agents)
    assert "python3" in packages
    assert packages.count("iptables") == 1
    assert not [name for name in packages if "#" in name]


def test_all_problems_are_reported_at_once(agents: Path) -> None:
    (agents / "images.toml").write_text(
        """
        [podnet]
        entrypoint = "sh -c x"
        ports = [80]
        [podnet.files]
        "relative" = "page.html"
        "/gone" = "no-such-file"
        "/out" = "../outside"
        [podnet.env]
        NUMBER = 1
        [cluster-dns]
        [httpd]
        entrypoint = ["/x"]
        user = 0
        [extra]
        """
    )
    with pytest.raises(UserError) as raised:
        images.agent_images(agents)
    text = "\n".join(raised.value.problems)
    for part in (
        "no table [kuard]",
        "[extra] is no image",
        "entrypoint must be a list",
        "unknown key ports",
        "relative must be an absolute path",
        "no-such-file does not exist",
        "../outside lies outside",
        "env must be a table of text",
        "[cluster-dns] has neither entrypoint nor cmd",
        "[httpd] user must be text",
    ):
        assert part in text


@pytest.mark.parametrize("content", ["[podnet", None])
def test_an_unreadable_list_is_one_problem(agents: Path, content: str | None) -> None:
    path = agents / "images.toml"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(UserError, match=r"images\.toml"):
        images.agent_images(agents)


def test_the_repositorys_own_list_is_valid() -> None:
    assert [spec.name for spec in images.agent_images()] == list(images.AGENT_IMAGES)
