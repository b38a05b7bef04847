"""Reads live state: every node in one round trip, all at once, and the API's objects along with the leader's."""

from collections.abc import Mapping
from dataclasses import replace

from kubeproof.config.cluster import LoadedInventory
from kubeproof.node.parts import parts
from kubeproof.proof.hosts import COMMAND_SECONDS, UnreachableError, run_everywhere
from kubeproof.proof.snapshot import API, Snapshot
from kubeproof.rules import api
from kubeproof.rules.api import ApiObjects
from kubeproof.state.collector import Output
from kubeproof.state.containers import TOOLS
from kubeproof.state.errors import ParseError
from kubeproof.state.hostfiles import parse_values
from kubeproof.state.node import NodeState
from kubeproof.state.part import Asker, Part, state_of, texts

KUBELETS = "kubelets"
Asked = Mapping[str, Mapping[str, str]]
"""Shell text by node and name."""
Answers = Mapping[str, Mapping[str, Output]]
"""What commands printed, by node and name; a node that could not be reached has none."""


def collect(loaded: LoadedInventory, asker: Asker = Asker.PROOF) -> Snapshot:
    """Read all nodes of an inventory and the API. Never raises for what does not answer."""
    asked = parts(asker, TOOLS[loaded.cluster.settings.container_runtime])
    return collect_with(loaded, dict.fromkeys((node.name for node in loaded.cluster.nodes), asked), {})[0]


def collect_with(
    loaded: LoadedInventory, parts_of: Mapping[str, tuple[Part, ...]], more: Asked, *, seconds: float = COMMAND_SECONDS
) -> tuple[Snapshot, Answers]:
    """As :func:`collect`, by the parts of each node, and in the same round trip what ``more`` asks beside them."""
    leader = loaded.cluster.leader.name
    asked = {name: {**texts(of_node), **more.get(name, {})} for name, of_node in parts_of.items()}
    asked[leader][API] = api.command(loaded.cluster.settings.network.agent.blocks)
    asked[leader][KUBELETS] = api.kubelets_command({node.name: node.address for node in loaded.cluster.nodes})
    states: dict[str, NodeState] = {}
    unreachable: dict[str, str] = {}
    objects: ApiObjects | str = ""
    answers: dict[str, Mapping[str, Output]] = {}
    took: dict[str, float] = {}
    for name, answer in run_everywhere(asked, loaded.ssh, seconds=seconds, took=took).items():
        if isinstance(answer, UnreachableError):
            unreachable[name] = f"{answer}; {answer.advice}" if answer.advice else str(answer)
        else:
            states[name] = replace(state_of(name, parts_of[name], answer), clock_within=took[name])
            answers[name] = answer
        if name == leader:
            objects = _objects(answer)
    return Snapshot(loaded, states, unreachable, objects), answers


def _objects(answer: dict[str, Output] | UnreachableError) -> ApiObjects | str:
    if isinstance(answer, UnreachableError):
        return f"the control plane node cannot be reached ({answer})"
    output = answer[API]
    if output.code != 0:
        return f"kubectl: exit code {output.code}: {output.last_words}"
    try:
        objects = api.parse_objects(output.out)
    except ParseError as error:
        return str(error)
    kubelets = parse_values(answer[KUBELETS].out)
    return api.missing_kinds(objects) or replace(objects, kubelets=kubelets)
