"""What makes a copy of the root filesystem one node and no other."""

from pathlib import Path

import pytest

from lab import node_files
from lab.settings import FILE, LabSettings, parse, read_file

LAB = parse(read_file(FILE), {})
MASTER, NODE, _ = LAB.nodes


@pytest.fixture(autouse=True)
def nodes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "nodes"
    monkeypatch.setattr(node_files, "NODES", folder)
    return folder


def make(nodes: Path, lab: LabSettings = LAB) -> None:
    """The nodes' folders, as far as they are looked at later."""
    for node in lab.nodes:
        (nodes / node.name / "root").mkdir(parents=True)
        (nodes / node.name / "made-for").write_text(node_files.fingerprint(lab, node))


def test_identity() -> None:
    files = node_files.identity(LAB, NODE)
    assert files["etc/hostname"] == "k8s-node1\n"
    assert "192.168.200.12 k8s-node1\n" in files["etc/hosts"]
    assert files["etc/resolv.conf"] == ""
    assert "    address 192.168.200.12/24\n    gateway 192.168.200.1\n" in files["etc/network/interfaces"]
    assert files["etc/network/interfaces"].endswith("    up ip route add unreachable 169.254.169.254\n")


def test_a_nodes_packages_come_from_the_mirror_alone() -> None:
    sources = node_files.identity(LAB, NODE)["etc/apt/sources.list"]
    assert sources == f"deb [signed-by=/{node_files.APT_KEY}] http://192.168.200.1:3142/debian/ /\n"


def test_no_two_nodes_are_alike() -> None:
    assert len({node_files.fingerprint(LAB, node) for node in LAB.nodes}) == 3


def test_nothing_made_is_nothing_wrong(nodes: Path) -> None:
    assert node_files.existing() == []
    assert node_files.problems(LAB) == []
    assert not node_files.exists("k8s-node1")


def test_nodes_that_fit_the_settings(nodes: Path) -> None:
    make(nodes)
    assert node_files.existing() == ["k8s-master", "k8s-node1", "k8s-node2"]
    assert node_files.problems(LAB) == []


@pytest.mark.parametrize(
    ("environment", "beginnings"),
    [
        ({"KUBEPROOF_LAB_WORKERS": "1"}, []),
        ({"KUBEPROOF_LAB_WORKERS": "3"}, []),
        (
            {"KUBEPROOF_LAB_NODE_NETWORK": "192.168.201.0/24"},
            [f"{name}: was made with another system" for name in ("k8s-master", "k8s-node1", "k8s-node2")],
        ),
    ],
)
def test_nodes_of_other_settings(nodes: Path, environment: dict[str, str], beginnings: list[str]) -> None:
    make(nodes)
    lines = node_files.problems(parse(read_file(FILE), environment))
    assert len(lines) == len(beginnings)
    assert all(line.startswith(beginning) for line, beginning in zip(lines, beginnings, strict=True))
    assert all("`./inv lab.down`" in line for line in lines)


def test_a_node_that_is_no_longer_named_goes_when_it_has_left_the_cluster(nodes: Path) -> None:
    make(nodes)
    fewer = parse(read_file(FILE), {"KUBEPROOF_LAB_WORKERS": "1"})
    assert node_files.surplus(fewer) == ["k8s-node2"]
    assert node_files.surplus(LAB) == []
    kubelet = nodes / "k8s-node2" / "root" / node_files.KUBELET_CONF
    kubelet.parent.mkdir(parents=True)
    kubelet.touch()
    (line,) = node_files.problems(fewer)
    assert line.startswith("k8s-node2: is a node of the cluster, but lab/lab.toml no longer names it")
    assert "`KUBEPROOF_LAB_WORKERS=2 ./inv node.remove k8s-node2`" in line


def test_an_interrupted_copy_is_not_a_node(nodes: Path) -> None:
    (nodes / "k8s-node1" / "making").mkdir(parents=True)
    assert not node_files.exists("k8s-node1")
    assert node_files.problems(LAB) == []
