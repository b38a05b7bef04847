"""A folder has what was collected, and nothing that may be secret."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kubeproof.state.collector import Output
from kubeproof.terminal.errors import UserError
from kubeproof.trace import collecting
from kubeproof.trace.world import UnknownError, make
from tests.unit.trace.lab import NODE1, changed, healthy

POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "a", "namespace": "b", "labels": {"c": "d"}, "annotations": {"last": "hidden"}},
    "spec": {
        "nodeName": "n",
        "volumes": [{"secret": {"secretName": "hidden"}}],
        "containers": [{"name": "x", "env": [{"name": "hidden"}], "ports": [{"containerPort": 80}]}],
    },
    "status": {"podIP": "10.0.0.1", "containerStatuses": [{"name": "hidden"}]},
}


def test_a_folder_is_read_as_it_was_written(tmp_path: Path) -> None:
    node = {**healthy().outputs[NODE1], "nft": Output(1, "", "nft: not permitted")}
    state = replace(healthy(), outputs={**healthy().outputs, NODE1: node}, unreachable={"x": "down"})
    assert collecting.write(state, tmp_path / "new" / "state") > 3 * len(collecting.COMMANDS)
    assert collecting.read(tmp_path / "new" / "state") == state


def test_an_api_that_could_not_be_read_stays_so(tmp_path: Path) -> None:
    state = replace(healthy(), objects="it is down")
    collecting.write(state, tmp_path)
    assert collecting.read(tmp_path).objects == "it is down"


def test_a_folder_is_written_again_but_none_of_somebody_else(tmp_path: Path) -> None:
    collecting.write(healthy(), tmp_path / "own")
    collecting.write(healthy(), tmp_path / "own")
    (tmp_path / "file").touch()
    other = tmp_path / "other" / "nodes"
    other.mkdir(parents=True)
    (tmp_path / "other" / "cluster.json").write_text('{"nodes": 3}')
    for path in (tmp_path, tmp_path / "file", tmp_path / "other"):
        with pytest.raises(UserError, match="no collected state"):
            collecting.write(healthy(), path)
    assert other.is_dir()


@pytest.mark.parametrize(
    ("text", "problem"),
    [(None, "has no cluster.json"), ("{}", "cannot be read"), ('{"version": 9}', "has version 9"), ("[", "cannot be")],
)
def test_a_folder_that_is_no_state_is_refused_in_one_line(tmp_path: Path, text: str | None, problem: str) -> None:
    if text is not None:
        (tmp_path / "cluster.json").write_text(text)
    with pytest.raises(UserError, match=problem) as caught:
        collecting.read(tmp_path)
    assert len(caught.value.problems) == 1


def test_a_folder_without_a_part_is_refused_in_one_line(tmp_path: Path) -> None:
    collecting.write(healthy(), tmp_path)
    cluster = json.loads((tmp_path / "cluster.json").read_text())
    del cluster["unreachable"]
    (tmp_path / "cluster.json").write_text(json.dumps(cluster))
    with pytest.raises(UserError, match=r"cannot be read \('unreachable'\), collect it anew"):
        collecting.read(tmp_path)


@pytest.mark.parametrize("objects", [{"items": 3}, {"items": [{"kind": "Pod"}]}, [], {}])
def test_damaged_objects_are_told(objects: Any) -> None:
    with pytest.raises(UserError):
        make(replace(healthy(), objects=objects))


def test_damaged_namespaces_are_told_in_one_line() -> None:
    state = changed(healthy(), NODE1, "namespaces", lambda text: text + '{"id": 1}\n')
    with pytest.raises(UserError, match=r"k8s-node1: one of its network namespaces cannot be read .*, collect it anew"):
        make(state)


@pytest.mark.parametrize(
    ("name", "text"),
    [("rules", '[{"src": "all"}]'), ("nft", '{"more": []}'), ("links", "[")],
)
def test_a_damaged_answer_is_told_when_it_is_needed(name: str, text: str) -> None:
    host = make(changed(healthy(), NODE1, name, lambda _text: text)).nodes[NODE1].host
    with pytest.raises(UnknownError, match=f"k8s-node1: {name} cannot be read"):
        getattr(host, "network" if name == "links" else name)


def test_of_objects_only_what_is_needed_is_kept() -> None:
    answer = collecting.objects_of(Output(0, json.dumps({"items": [POD]}), ""))
    assert not isinstance(answer, str)
    assert "hidden" not in json.dumps(answer)
    (pod,) = answer["items"]
    assert pod["spec"] == {"nodeName": "n", "containers": [{"name": "x", "ports": [{"containerPort": 80}]}]}


@pytest.mark.parametrize(("output", "reason"), [(Output(1, "", "refused"), "refused"), (Output(0, "{", ""), "read")])
def test_an_answer_that_is_none_is_told(output: Output, reason: str) -> None:
    assert reason in str(collecting.objects_of(output))
