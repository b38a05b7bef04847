"""Whatever a manifest holds, it is used or refused in lines: no other error comes out."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeproof.networks import documents, flannel
from kubeproof.networks.plan import build
from kubeproof.networks.registry import NETWORKS
from kubeproof.node import asked_for
from kubeproof.terminal.errors import UserError
from tests.unit.networks import made_up
from tests.unit.node.example import cluster

MANIFESTS = {"flannel": made_up.FLANNEL, "canal": made_up.CANAL}

_odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where in a manifest something can be put in the place of what is there."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


def changed(objects: list[Any], place: tuple[Any, ...], value: Any) -> list[Any]:
    found: Any = copy.deepcopy(objects)
    holder = found
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    return list(found)


def in_lines(question: Callable[[], object]) -> None:
    try:
        question()
    except UserError as error:
        lines = error.problems
    else:
        return
    assert lines
    assert all(len(line.splitlines()) == 1 for line in lines)


@pytest.mark.parametrize("project", MANIFESTS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_manifests_with_something_odd_in_them(project: str, data: st.DataObject) -> None:
    objects = documents.load(MANIFESTS[project], "it")
    place = data.draw(st.sampled_from(places(objects)[1:]))
    odd = changed(objects, place, data.draw(_odd))
    wanted, manifest = cluster(cni=project).settings, NETWORKS[project].manifest
    assert manifest
    in_lines(lambda: build(documents.dump(odd), wanted, "it", 1450))
    in_lines(lambda: manifest.in_use(documents.dump(odd)))
    in_lines(lambda: asked_for.differences(documents.load(documents.dump(odd), "it"), objects))
    in_lines(lambda: asked_for.differences(objects, documents.load(documents.dump(odd), "it")))


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda raw: raw.decode("latin-1")))
def test_texts_that_are_no_manifest(text: str) -> None:
    in_lines(lambda: documents.load(text, "it"))
    assert flannel.NETWORK.manifest
    assert flannel.NETWORK.manifest.in_use(text) == {}
