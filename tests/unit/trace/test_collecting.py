"""A folder has what was collected, and nothing that may be secret."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from kubeproof.state.collector import Output
from kubeproof.terminal.errors import UserError
from kubeproof.trace import collecting
from tests.unit.trace.lab import NODE1, healthy

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
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(UserError, match="no collected state"):
            collecting.write(healthy(), path)


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


def test_of_objects_only_what_is_needed_is_kept() -> None:
    answer = collecting.objects_of(Output(0, json.dumps({"items": [POD]}), ""))
    assert not isinstance(answer, str)
    assert "hidden" not in json.dumps(answer)
    (pod,) = answer["items"]
    assert pod["spec"] == {"nodeName": "n", "containers": [{"name": "x", "ports": [{"containerPort": 80}]}]}


@pytest.mark.parametrize(("output", "reason"), [(Output(1, "", "refused"), "refused"), (Output(0, "{", ""), "read")])
def test_an_answer_that_is_none_is_told(output: Output, reason: str) -> None:
    assert reason in str(collecting.objects_of(output))
