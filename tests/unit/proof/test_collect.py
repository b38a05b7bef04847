"""One round trip for each node, whatever is asked beside the proof."""

from collections.abc import Mapping

import pytest

from kubeproof.node.parts import parts
from kubeproof.proof import collect
from kubeproof.proof.hosts import UnreachableError
from kubeproof.state.collector import Output
from kubeproof.state.part import Asker
from tests.unit.proof import good

Asked = Mapping[str, Mapping[str, str]]


def test_what_is_asked_beside_the_proof_comes_back_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[Asked, float]] = []

    def answer(
        asked: Asked, _: object, *, seconds: float, took: dict[str, float]
    ) -> dict[str, dict[str, Output] | UnreachableError]:
        seen.append((asked, seconds))
        took.update({"node-a": 1.5, "node-b": 30.0, "node-c": 6.0})
        answers: dict[str, dict[str, Output] | UnreachableError] = {
            name: {part: Output(1, "", "no") for part in of_node} for name, of_node in asked.items()
        }
        return {**answers, "node-c": UnreachableError("gone")}

    monkeypatch.setattr(collect, "run_everywhere", answer)
    more = {"node-a": {"mine": "true"}, "node-c": {"mine": "true"}}
    asked_of = dict.fromkeys(good.NAMES, parts(Asker.PROOF))
    snapshot, answers = collect.collect_with(good.loaded(), asked_of, more, seconds=20)
    ((asked, seconds),) = seen
    assert seconds == 20
    assert asked["node-a"].keys() - asked["node-b"].keys() == {"mine", "api", "kubelets"}
    assert answers.keys() == {"node-a", "node-b"}
    assert answers["node-a"]["mine"] == Output(1, "", "no")
    assert snapshot.unreachable.keys() == {"node-c"}
    assert snapshot.unreachable["node-c"].startswith("gone")
    assert {name: state.clock_within for name, state in snapshot.states.items()} == {"node-a": 1.5, "node-b": 30.0}
    assert snapshot.objects == "kubectl: exit code 1: no"
