"""A packet's way over the picture: on parts that it passes, in its order, without a text below it."""

import pytest

from kubeproof.pages import layers, page, picture
from kubeproof.pages.page import WIDTHS
from kubeproof.pages.picture import STRIP, Picture
from kubeproof.pages.way import Way, draw
from kubeproof.proof.report import Report
from kubeproof.trace.confirming import Confirmation, Sight, Status
from kubeproof.trace.model import Prediction
from tests.unit.pages import samples
from tests.unit.pages.test_picture import assert_contained, assert_readable

FROM_OUTSIDE = samples.prediction(node="", pod="")
REFUSED = samples.prediction(answered=False)
FAR = samples.prediction(node="node-j", pod="default/web-j2")


def drawn(report: Report, prediction: Prediction, width: float) -> Picture:
    made = picture.draw(layers.columns(report), "network of the nodes 10.99.0.0/24", width, STRIP)
    draw(Way.of(prediction), made)
    return made


@pytest.mark.parametrize("width", WIDTHS.values())
@pytest.mark.parametrize(
    ("report", "prediction"),
    [
        (samples.whole(), samples.prediction()),
        (samples.whole(), FROM_OUTSIDE),
        (samples.broken(), REFUSED),
        (samples.many(), FAR),
    ],
    ids=["whole", "outside", "broken", "many"],
)
def test_nothing_overlaps(report: Report, prediction: Prediction, width: float) -> None:
    made = drawn(report, prediction, width)
    stops = [item for item in made.texts if item.css.startswith("stop")]
    # A stop lies on the line and has a ground of its own.
    made.texts = [item for item in made.texts if not item.css.startswith("stop")]
    assert_readable(made)
    made.texts += stops
    assert_contained(made)
    for number, box in enumerate(made.above):
        assert 0 <= box.x <= made.width - box.width
        assert box.y + box.height <= made.height
        for other in made.above[:number]:
            assert (box.x - other.x) ** 2 + (box.y - other.y) ** 2 >= box.width**2 - 1e-6, (box, other)


def test_stops_are_numbered_there_and_back() -> None:
    way = Way.of(samples.prediction())
    assert list(way.numbers().values()) == list(range(1, 25))
    rows = way.table().rows
    assert [row[0] for row in rows[:2]] == ["1", "2"]
    assert rows[-1][0] == "24 back"
    assert "10.98.1.2:40000 > 10.98.2.2:8080\nin 10.99.0.12:50000 > 10.99.0.13:8472" in {row[4] for row in rows}


def test_what_was_seen_is_told_beside_each_hop() -> None:
    way = Way.of(REFUSED)
    assert {row[-1] for row in way.table().rows} == {""}
    sights = (*[Sight(Status.SEEN)] * 11, Sight(Status.OTHERWISE, "a RST"))
    seen = Way.of(REFUSED, Confirmation(REFUSED.walks[0], sights, arrived=True, answer="")).table().rows
    assert [row[-1] for row in seen[-3:]] == ["✓", "≠ a RST", ""]


def test_where_it_ends_is_marked_and_told() -> None:
    made = drawn(samples.whole(), REFUSED, WIDTHS["wide"])
    assert [item.text for item in made.texts if item.css == "stop fails"] == ["12"]
    *_, last, end = Way.of(REFUSED).table().rows
    assert last[0] == "✗ 12"
    assert end[2:4] == ("refused", "nothing listens on tcp 8080")


def test_a_way_of_nodes_that_could_not_be_read_is_drawn_as_far_as_they_were() -> None:
    made = drawn(samples.broken(), samples.prediction(), WIDTHS["wide"])
    assert "6" in {item.text for item in made.texts if item.css == "stop"}
    assert "12" not in {item.text for item in made.texts if item.css == "stop"}


def test_a_pod_that_it_passes_is_shown_however_many_there_are() -> None:
    last = "default/web-j9"
    assert last not in page.render(samples.many()).partition("<h2>Proof")[0]
    way = Way.of(samples.prediction(node="node-j", pod=last))
    assert last in page.render(samples.many(), way=way).partition("<h2>Way")[0]


def test_a_prediction_without_a_way_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="no way"):
        Way.of(Prediction(FAR.start, ()))
