"""What a prediction looks like."""

import io
import json

from rich.console import Console

from kubeproof.trace.confirming import ANSWERED, Confirmation, Sight, Status
from kubeproof.trace.model import Prediction
from kubeproof.trace.report import ONLY_PREDICTED, WIDTH, show, to_json
from tests.unit.trace.lab import FAR, KUARD, NODE1, changed, healthy, predicted, without_lines

BROKEN = changed(healthy(), NODE1, "iptables", without_lines("-A FORWARD", "10.244.0.0/16"))


def shown(prediction: Prediction, confirmation: Confirmation | None = None) -> list[str]:
    out = io.StringIO()
    show(prediction, Console(file=out, width=300, highlight=False, emoji=False, soft_wrap=True), confirmation)
    return out.getvalue().splitlines()


def test_the_table_fits_its_width_and_shows_what_changes() -> None:
    lines = shown(predicted(healthy(), "outside", f"{NODE1}:33000"))
    table = lines[: lines.index("ways")]
    assert all(len(line) <= WIDTH for line in table)
    assert [line.split()[-1] for line in table if line.startswith("node ")] == ["✓", "✓"]
    text = "\n".join(table)
    assert "DNAT to" in text
    assert "in VXLAN:" in "\n".join(shown(predicted(healthy(), KUARD, FAR, "80")))
    assert lines[lines.index("ways") + 1].startswith("   33.3%  to 10.244.1.47:80: arrives, and its answer comes back")


def test_the_last_line_says_it_and_that_nothing_was_sent() -> None:
    lines = shown(predicted(healthy(), KUARD, FAR, "80"))
    assert lines[-1] == f"{KUARD} to 10.244.3.10 tcp 80: arrives, and its answer comes back ({ONLY_PREDICTED})"


def test_where_it_ends_is_told_with_rule_and_owner() -> None:
    lines = shown(predicted(BROKEN, KUARD, FAR, "80"))
    end = lines[lines.index(next(line for line in lines if line.startswith("where it ends"))) :]
    assert [line.strip() for line in end[:4]] == [
        "where it ends  forward cni0 on k8s-node1",
        "why         no rule of FORWARD takes it, and its policy is DROP",
        "decided by  iptables -t filter -P FORWARD DROP",
        "owner       Docker, or by hand",
    ]


def test_some_ways_may_fail() -> None:
    prediction = predicted(BROKEN, NODE1, "httpd-svc", "8080")
    assert prediction.succeeds
    gone = changed(healthy(), NODE1, "iptables", lambda text: text.replace("10.244.1.47", "10.244.1.99"))
    last = shown(predicted(gone, KUARD, "httpd-svc"))[-1]
    assert "arrives and is answered in 66.7% of cases; else refused at neighbour cni0 on k8s-node1" in last


def test_json_has_every_hop() -> None:
    prediction = predicted(healthy(), KUARD, FAR, "80")
    found = json.loads(json.dumps(to_json(prediction)))
    assert (found["schema"], found["predicted_only"], found["succeeds"]) == ("kubeproof.trace", True, True)
    (way,) = found["ways"]
    assert len(way["hops"]) == len(prediction.walks[0].hops)
    assert {hop["place"] for hop in way["hops"]} >= {"forward", "postrouting", "fdb", "encapsulation"}


def seen(prediction: Prediction, last: Sight, answer: str) -> Confirmation:
    """Of the first way: every hop as predicted, but for the last one."""
    way = prediction.walks[0]
    sights = (*[Sight(Status.SEEN)] * (len(way.hops) - 1), last)
    return Confirmation(way, sights, True, answer, counters=("k8s-node1: Ip.InDiscards +1",))


def test_what_was_seen_is_marked_at_its_hop() -> None:
    prediction = predicted(healthy(), KUARD, FAR, "80")
    lines = shown(prediction, seen(prediction, Sight(Status.SEEN), ANSWERED))
    assert lines[-1].endswith("(one packet was sent: it arrived, its answer came back; as predicted)")
    assert all(line.rstrip().endswith("✓") for line in lines if " comes out at " in line)
    assert "  counter of k8s-node1: Ip.InDiscards +1" in [line.rstrip() for line in lines]


def test_what_was_seen_otherwise_is_told() -> None:
    prediction = predicted(healthy(), KUARD, FAR, "80")
    lines = shown(prediction, seen(prediction, Sight(Status.OTHERWISE, "it went on"), "RST"))
    assert lines[-1].endswith("(one packet was sent: it arrived, its answer was RST; not as predicted)")
    (told,) = [line for line in lines if "it went on" in line]
    assert told.strip().startswith("seen otherwise at socket")
    missing = shown(prediction, seen(prediction, Sight(Status.NOT_SEEN), ""))
    assert missing[-1].endswith("(one packet was sent: it arrived, no answer was seen; not as predicted)")
    assert any(line.strip().startswith("not seen from socket") for line in missing)


def test_json_has_what_was_seen_of_every_hop() -> None:
    prediction = predicted(healthy(), KUARD, FAR, "80")
    found = json.loads(json.dumps(to_json(prediction, seen(prediction, Sight(Status.SEEN), ANSWERED), ["a note"])))
    assert (found["predicted_only"], found["notes"][-1]) == (False, "a note")
    assert (found["seen"]["way"], found["seen"]["as_predicted"], found["seen"]["answer"]) == (0, True, ANSWERED)
    assert len(found["seen"]["hops"]) == len(found["ways"][0]["hops"])
