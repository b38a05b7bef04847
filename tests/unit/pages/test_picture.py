"""The picture: everything has room, whatever a cluster is like, and says what the proof found."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kubeproof.pages import layers, picture
from kubeproof.pages.layers import Column, Found, Part, Pod
from kubeproof.pages.page import WIDTHS
from kubeproof.pages.picture import LINE, Picture, Text
from kubeproof.proof.report import TITLES_BY_NAME, Report
from kubeproof.rules.result import Status
from tests.unit.pages import samples

Rectangle = tuple[float, float, float, float]
"""Left, top, right, bottom."""
REPORTS = pytest.mark.parametrize("make", [samples.whole, samples.broken, samples.many])
SIZES = pytest.mark.parametrize("width", WIDTHS.values())


def room(text: Text) -> Rectangle:
    return text.x, text.y - LINE + 4, text.x + text.width, text.y + 3


def meet(a: Rectangle, b: Rectangle) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def assert_readable(drawn: Picture) -> None:
    """No text meets another text or an edge, and all of it is within the picture."""
    rooms = [(room(text), text) for text in drawn.texts if text.text]
    for number, (place, text) in enumerate(rooms):
        assert place[0] >= 0, text
        assert place[2] <= drawn.width, text
        assert place[3] <= drawn.height, text
        for other, its in rooms[:number]:
            assert not meet(place, other), (text, its)
        for edge in drawn.edges:
            for (x, y), (u, v) in pairwise(edge.points):
                assert not meet(place, (min(x, u), min(y, v), max(x, u) + 0.1, max(y, v) + 0.1)), (text, edge)


def assert_contained(drawn: Picture) -> None:
    """A text that begins in a box ends in it, and boxes do not cross each other."""
    boxes = [(box.x, box.y, box.x + box.width, box.y + box.height) for box in drawn.boxes]
    for text in drawn.texts:
        left, top, right, bottom = room(text)
        for box in boxes:
            if box[0] <= left <= box[2] and box[1] <= text.y <= box[3]:
                assert right <= box[2], text
                assert top >= box[1] - 4, text
                assert bottom <= box[3] + 4, text
    for number, box in enumerate(boxes):
        for other in boxes[:number]:
            inside = box[0] >= other[0] and box[2] <= other[2] and box[1] >= other[1] and box[3] <= other[3]
            around = other[0] >= box[0] and other[2] <= box[2] and other[1] >= box[1] and other[3] <= box[3]
            assert inside or around or not meet(box, other), (box, other)


def drawn(report: Report, width: float = WIDTHS["wide"]) -> Picture:
    return picture.draw(layers.columns(report), "network of the nodes 10.99.0.0/24", width)


def words(made: Picture) -> set[str]:
    return {text.text for text in made.texts}


@REPORTS
@SIZES
def test_nothing_overlaps(make: Callable[[], Report], width: float) -> None:
    made = drawn(make(), width)
    assert_readable(made)
    assert_contained(made)
    assert made.width <= width


NAMES = st.text("abcdefghijklmnopqrstuvwxyz-0123456789.", min_size=1, max_size=253)
FOUND = st.builds(
    Found, st.sampled_from(Status), st.lists(st.sampled_from(sorted(TITLES_BY_NAME)), max_size=3).map(tuple)
)
PARTS = st.none() | st.builds(Part, NAMES, st.lists(NAMES, max_size=3).map(tuple), FOUND)
COLUMNS = st.builds(
    Column,
    name=NAMES,
    lines=st.tuples(NAMES, NAMES),
    found=FOUND,
    counts=NAMES,
    pods=st.lists(st.builds(Pod, NAMES, NAMES, NAMES, FOUND), max_size=9).map(tuple),
    own=st.integers(0, 200),
    bridge=PARTS,
    tunnel=PARTS,
    interface=PARTS,
    reason=st.just("") | NAMES,
)


@settings(max_examples=60, deadline=None)
@given(st.lists(COLUMNS, min_size=1, max_size=9), NAMES, st.sampled_from(sorted(WIDTHS.values())))
def test_nothing_overlaps_whatever_things_are_called(columns: list[Column], network: str, width: float) -> None:
    made = picture.draw(columns, network, width)
    assert_readable(made)
    assert_contained(made)


def test_it_shows_addresses_subnets_and_mtus_of_every_layer() -> None:
    wanted = {
        *("node-b", "worker · 10.99.0.12", "pods 10.98.1.0/24"),
        *("default/web-b2", "✓ 10.98.1.2 · MTU 1450", "veth2 · MTU 1450", "bridge cni0", "10.98.1.1/24", "MTU 1450"),
        *("tunnel flannel.1", "10.98.1.0/32", "MTU 1450 · VNI 1 · UDP 8472", "interface eth9", "10.99.0.12/24"),
        *("✓ forwarding", "✓ routes, ARP, FDB", "✓ to other nodes", "no bridge cni0", "made with the first pod"),
    }
    assert wanted <= words(drawn(samples.whole()))


def test_it_says_what_does_not_hold_where_it_does_not() -> None:
    made = drawn(samples.broken())
    assert {"no link flannel.1", "✗ flannel-device +1", "✗ could not be read", "✗ reachable"} <= words(made)
    assert "! pod-to-pod-other-node" in words(made)
    (head,) = [text for text in made.texts if text.text.startswith("✗ 4") and text.text.endswith(" hold")]
    assert head.css == "fails"
    (text,) = [text for text in made.texts if text.text == "✗ flannel-device +1"]
    assert (text.css, text.whole) == ("fails", "flannel-device, flannel-address")


def test_a_fault_of_one_pod_is_not_shown_of_another() -> None:
    pods = {pod.name: pod.found.status for pod in layers.columns(samples.broken())[1].pods}
    assert pods == {"default/web-b2": Status.FAILS, "default/web-b3": Status.HOLDS}


def test_many_pods_are_counted_and_those_with_faults_come_first() -> None:
    report = samples.many()
    assert "6 more · 2 with hostNetwork" in words(drawn(report))
    column = replace(layers.columns(report)[9], pods=(Pod("default/last", "", "", Found(Status.FAILS)),))
    assert "default/last" in words(picture.draw([column], "", 1240))


def test_ten_nodes_are_in_rows_of_alike_length() -> None:
    made = drawn(samples.many())
    tops = [box.y for box in made.boxes if box.css == "node"]
    assert [tops.count(top) for top in sorted(set(tops))] == [4, 4, 2]


def test_rows_with_a_place_of_their_own_exist() -> None:
    assert set(TITLES_BY_NAME) >= layers.PLACED


@pytest.mark.parametrize(
    ("text", "shown"),
    [("default/web", "default/web"), ("default/web-5bfbbb9858-l64j4", "defaul…l64j4"), ("", "")],
)
def test_long_names_keep_their_beginning_and_end(text: str, shown: str) -> None:
    assert picture.fit(text, 12 * picture.CHAR + 1) == shown
