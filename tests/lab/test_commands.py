"""Commands that no other module is about, each run as its users run it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeproof.proof.probes import BETWEEN_NODES
from lab import shell
from lab.mirror import additions
from lab.settings import load
from tests.lab.commands import changes, holds, succeed
from tests.lab.remote import kubectl

pytestmark = pytest.mark.usefixtures("running_lab")

ADDED = "kubeproof-test/added:1"


def test_status_shows_lab_nodes_and_pods() -> None:
    lines = succeed("status").splitlines()
    for node in load().nodes:
        assert [line for line in lines if node.name in line and " Ready " in line], node.name
    assert [line for line in lines if "kube-apiserver" in line and "Running" in line]


def test_one_node_is_proven_and_not_taken_for_the_cluster(tmp_path: Path) -> None:
    *others, name = (node.name for node in load().nodes)
    output = succeed("verify", "--limit", name, "--json", str(tmp_path / "proof.json"))
    assert holds(output)
    assert f"left out by --limit: {len(others)} of {len(others) + 1} nodes ({', '.join(others)})" in output
    found = json.loads((tmp_path / "proof.json").read_text())
    assert found["left_out"] == others
    assert {row["node"] for row in found["results"] if row["kind"] == "check"} == {name}
    towards = {row["name"] for row in found["results"] if row["node"] != name}
    assert {"pod-to-node"} <= towards <= {*BETWEEN_NODES, "node-to-pod", "pod-to-node"}


def test_the_demo_answers_on_every_node() -> None:
    output = succeed("demo")
    for node in load().nodes:
        assert f"{node.name}: answers at http://{node.address}:" in output


def test_explain_reads_the_cluster() -> None:
    client = kubectl("get pods -l app=kuard -o jsonpath='{.items[0].metadata.name}'")
    server = kubectl("get pods -l name=networkpolicy-demo -o jsonpath='{.items[0].metadata.name}'")
    output = succeed("explain", "--from", f"default/{client}", "--to", f"default/{server}", "--port", "80")
    assert output.startswith("allowed")


def test_a_packet_is_followed_live_and_in_a_state_that_was_collected(tmp_path: Path) -> None:
    client = kubectl("get pods -l app=kuard -o jsonpath='{.items[0].metadata.name}'")
    words = (f"default/{client}", "httpd-svc", "--json")
    succeed("collect", str(tmp_path / "state"))
    for found in (succeed("trace", *words), succeed("trace", *words, "-f", str(tmp_path / "state"))):
        prediction = json.loads(found)
        assert prediction["succeeds"]
        assert round(sum(way["probability"] for way in prediction["ways"]), 5) == 1


def test_the_cluster_is_in_a_kubeconfig_of_the_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config"
    monkeypatch.setenv("KUBECONFIG", str(file))
    assert changes(succeed("kubeconfig", "--name", "tried")) == 1
    assert changes(succeed("kubeconfig", "--name", "tried")) == 0
    assert file.stat().st_mode & 0o777 == 0o600
    if shutil.which("kubectl"):
        found = shell.run(["kubectl", f"--kubeconfig={file}", "--context=tried", "get", "nodes", "--output=name"])
        assert sorted(found.split()) == sorted(f"node/{node.name}" for node in load().nodes)


def test_the_mirror_runs_and_lacks_nothing() -> None:
    rows = succeed("mirror.status").splitlines()
    assert len(rows) == 2
    assert all(": running" in row for row in rows)
    assert changes(succeed("mirror.build")) == 0


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Path]:
    """An image of somebody else's, as `docker save` writes it; what is added of it goes again."""
    names = additions.layout() / additions.NAMES
    before = names.read_text() if names.exists() else ""
    file = tmp_path / "image.tar"
    source = f"docker://{images_of_lab()}"
    shell.run(["skopeo", "copy", "--quiet", "--src-tls-verify=false", source, f"docker-archive:{file}:{ADDED}"])
    yield file
    if before:
        names.write_text(before)
    else:
        shutil.rmtree(additions.layout())


def images_of_lab() -> str:
    """An image that the lab's registry has, a small one."""
    return kubectl("get daemonset podnet -n kube-system -o jsonpath='{.spec.template.spec.containers[0].image}'")


def test_an_image_can_be_added(archive: Path) -> None:
    assert "added: 1 image" in succeed("mirror.add", str(archive))
    found = shell.run(["skopeo", "inspect", "--raw", "--tls-verify=false", f"docker://{load().registry}/{ADDED}"])
    assert json.loads(found)["layers"]
