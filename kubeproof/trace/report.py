"""What a prediction looks like: a table of hops that fits 100 columns, and JSON."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from kubeproof.trace.confirming import Confirmation, Sight, Status
from kubeproof.trace.model import OUTSIDE, Direction, End, Hop, Outcome, Packet, Place, Prediction, Walk

SCHEMA = "kubeproof.trace"
SCHEMA_VERSION = 1
WIDTH = 100
ONLY_PREDICTED = "predicted from the nodes' state only"
_COMMENT = re.compile(r' -m comment --comment (?:"(?:[^"\\]|\\.)*"|\S+)| -m (?:tcp|udp|sctp)\b')
MARKS = {Status.SEEN: "✓", Status.OTHERWISE: "≠", Status.NOT_SEEN: "✗", Status.UNWATCHED: ""}
_HOOKS = (Place.PREROUTING, Place.INPUT, Place.FORWARD, Place.OUTPUT, Place.POSTROUTING)


def show(
    prediction: Prediction,
    console: Console,
    confirmation: Confirmation | None = None,
    notes: Sequence[str] = (),
) -> None:
    """The way that was taken or is most probable, and the first that fails; a line for each way; where it ended, last.

    ``notes`` are more of them, beside those of the prediction.
    """
    ways = prediction.walks
    first = confirmation.walk if confirmation else ways[0]
    shown = [first, *[way for way in ways if not way.succeeds and way is not first][:1]] if first.succeeds else [first]
    for way in shown:
        sights = confirmation.sights if confirmation and way is confirmation.walk else ()
        _show_way(way, prediction, console, sights)
    if len(ways) > 1:
        console.print("[bold]ways[/bold]")
        for way in ways:
            console.print(f"  {way.probability:6.1%}  {target(way)}: {result(way)}", markup=False)
    for note in dict.fromkeys((*prediction.notes, *(note for way in shown for note in way.notes), *notes)):
        console.print(f"note: {note}", markup=False)
    failing = next((way for way in ways if not way.succeeds), None)
    if failing is not None:
        _show_end(failing, console)
    colour = "green" if prediction.succeeds else "red"
    if confirmation is not None:
        _show_seen(confirmation, console)
    sent = in_words(confirmation) if confirmation else ONLY_PREDICTED
    console.print(f"[bold {colour}]{escape(headline(prediction))}[/bold {colour}] ({escape(sent)})")


def in_words(confirmation: Confirmation) -> str:
    """One line about the packet that was sent."""
    if confirmation.send_error:
        return f"one packet was to be sent, and the sender's kernel said: {confirmation.send_error}"
    came = "its answer came back" if confirmation.is_answered else f"its answer was {confirmation.answer}"
    arrived = "arrived" if confirmation.arrived else "was not seen to arrive"
    beside = "as predicted" if confirmation.agrees else "not as predicted"
    return f"one packet was sent: it {arrived}, {came if confirmation.answer else 'no answer was seen'}; {beside}"


def _show_seen(confirmation: Confirmation, console: Console) -> None:
    pairs = list(zip(confirmation.walk.hops, confirmation.sights, strict=True))
    lines = [f"{sight.status.value} at {_where(hop)}: {sight.found}" for hop, sight in pairs if sight.found]
    missing = [hop for hop, sight in pairs if sight.status is Status.NOT_SEEN]
    lines += [f"not seen from {_where(missing[0])} on"] if missing else []
    lines += [f"counter of {line}" for line in confirmation.counters]
    lines += [f"conntrack of {line}" for line in confirmation.entries]
    if lines:
        console.print("\n[bold]what was seen[/bold]")
    for line in lines:
        console.print(f"  {line}", markup=False)


def headline(prediction: Prediction) -> str:
    """One line that says it."""
    sender = prediction.start.pod or prediction.start.node or "outside"
    asked = f"{sender} to {prediction.start.packet.destination}"
    if prediction.start.packet.protocol != "icmp":
        asked += f" {prediction.start.packet.protocol} {prediction.start.packet.destination_port}"
    fine = sum(way.probability for way in prediction.walks if way.succeeds)
    if prediction.succeeds:
        return f"{asked}: arrives, and its answer comes back"
    worst = next(way for way in prediction.walks if not way.succeeds)
    if fine:
        return f"{asked}: arrives and is answered in {fine:.1%} of cases; else {result(worst)}"
    return f"{asked}: {result(worst)}"


def target(way: Walk) -> str:
    """Where a way leads to."""
    packet = next((hop.packet for hop in reversed(way.hops) if hop.direction is Direction.FORWARD), None)
    return f"to {packet.ends[1]}" if packet else "nowhere"


def result(way: Walk) -> str:
    """How a way ends, in words."""
    if way.succeeds:
        return "arrives, and its answer comes back"
    hop = way.hops[-1] if way.hops else None
    where = f" at {_where(hop)}" if hop else ""
    answer = "its answer is " if way.there.end is End.ARRIVED else ""
    return f"{answer}{way.outcome.end.value}{where}: {way.outcome.reason}"


def _show_end(way: Walk, console: Console) -> None:
    outcome, hop = way.outcome, way.hops[-1] if way.hops else None
    console.print(f"\n[bold]where it ends[/bold]  {escape(_where(hop)) if hop else 'before it is sent'}")
    rows = (
        ("why", outcome.reason),
        ("decided by", outcome.decided_by),
        ("owner", outcome.owner),
        ("remedy", outcome.remedy),
    )
    for heading, text in rows:
        if text:
            indented = text.replace("\n", f"\n{'':14}")
            # A command can only be pasted from one line.
            console.print(f"  [dim]{heading:10}[/dim]  {escape(indented)}", soft_wrap=heading == "remedy")


def _where(hop: Hop) -> str:
    inside = f" in pod {hop.pod}" if hop.pod else ""
    return f"{hop.where}{inside} on {hop.node}" if hop.node else f"{hop.where} outside"


def _show_way(way: Walk, prediction: Prediction, console: Console, sights: Sequence[Sight]) -> None:
    share = "" if way.probability > 0.9999 else f", {way.probability:.1%} of cases"
    for direction in Direction:
        both = zip(way.hops, sights or [Sight(Status.UNWATCHED)] * len(way.hops), strict=True)
        hops = [(hop, sight) for hop, sight in both if hop.direction is direction]
        if hops:
            title = "there" if direction is Direction.FORWARD else "back"
            console.print(f"[bold]{title}[/bold]{share}")
            console.print(_table(hops, prediction.start.packet if direction is Direction.FORWARD else None))


def _table(hops: list[tuple[Hop, Sight]], sent: Packet | None) -> Table:
    table = Table(box=None, pad_edge=False, width=WIDTH, padding=(0, 1, 0, 0), header_style="dim")
    table.add_column("node", width=13, overflow="fold")
    table.add_column("where", width=14, overflow="fold")
    table.add_column("what happens", ratio=1, overflow="fold")
    table.add_column("then", width=22, overflow="fold")
    table.add_column("decided by", width=24, overflow="fold")
    table.add_column("✓", width=1)
    place, packet, outer = None, sent, None
    for hop, sight in _worth_showing(hops):
        changed = hop.packet != packet or hop.outer != outer
        here = _space(hop) if (hop.node, hop.pod) != place else ""
        table.add_row(
            escape(here),
            escape(hop.where),
            escape(hop.what),
            escape(_then(hop)) if changed else "",
            escape(_decided(hop)),
            MARKS[sight.status],
        )
        place, packet, outer = (hop.node, hop.pod), hop.packet, hop.outer
    return table


def _worth_showing(hops: list[tuple[Hop, Sight]]) -> Iterator[tuple[Hop, Sight]]:
    """All but hooks at which nothing happens, if that is so; JSON has these too."""
    for number, (hop, sight) in enumerate(hops):
        is_usual = sight.status in (Status.SEEN, Status.UNWATCHED)
        if hop.place not in _HOOKS or hop.decided_by or not is_usual or number == len(hops) - 1:
            yield hop, sight


def _space(hop: Hop) -> str:
    if hop.node == OUTSIDE:
        return "outside"
    return f"{hop.node} pod {hop.pod.rpartition('/')[2]}" if hop.pod else hop.node


def _then(hop: Hop) -> str:
    mark = "in VXLAN:\n" if hop.outer is not None else ""
    return mark + "\n> ".join((hop.outer or hop.packet).ends)


def _decided(hop: Hop) -> str:
    text = _COMMENT.sub("", hop.decided_by.replace("iptables -t ", "").replace(" -A ", " "))
    return f"{hop.owner}: {text}" if hop.owner else text


# JSON -----------------------------------------------------------------------------------------------------------------


def to_json(
    prediction: Prediction, confirmation: Confirmation | None = None, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """The stable form of a prediction: see SCHEMA_VERSION."""
    return {
        "schema": SCHEMA,
        "schema_version": SCHEMA_VERSION,
        "predicted_only": confirmation is None,
        "from": {"node": prediction.start.node or "outside", "pod": prediction.start.pod},
        "packet": _packet(prediction.start.packet),
        "succeeds": prediction.succeeds,
        "headline": headline(prediction),
        "notes": [*prediction.notes, *notes],
        "ways": [_way(way) for way in prediction.walks],
        "seen": _seen(prediction, confirmation) if confirmation else None,
    }


def _seen(prediction: Prediction, confirmation: Confirmation) -> dict[str, Any]:
    return {
        "way": next(number for number, way in enumerate(prediction.walks) if way is confirmation.walk),
        "as_predicted": confirmation.agrees,
        "arrived": confirmation.arrived,
        "answer": confirmation.answer,
        "send_error": confirmation.send_error,
        "hops": [{"seen": sight.status.value, "found": sight.found} for sight in confirmation.sights],
        "counters": list(confirmation.counters),
        "conntrack": list(confirmation.entries),
    }


def _way(way: Walk) -> dict[str, Any]:
    return {
        "probability": round(way.probability, 6),
        "succeeds": way.succeeds,
        "there": _outcome(way.there),
        "back": _outcome(way.back) if way.back else None,
        "notes": list(way.notes),
        "hops": [_hop(hop) for hop in way.hops],
    }


def _outcome(outcome: Outcome) -> dict[str, str]:
    return {**asdict(outcome), "end": outcome.end.value}


def _hop(hop: Hop) -> dict[str, Any]:
    return {
        "direction": hop.direction.value,
        "node": hop.node or "outside",
        "pod": hop.pod,
        "place": hop.place.value,
        "device": hop.device,
        "what": hop.what,
        "packet": _packet(hop.packet),
        "outer": _packet(hop.outer) if hop.outer else None,
        "mark": hop.mark,
        "decided_by": hop.decided_by,
        "owner": hop.owner,
        "probability": round(hop.probability, 6),
    }


def _packet(packet: Packet) -> dict[str, Any]:
    return {
        "protocol": packet.protocol,
        "source": str(packet.source),
        "source_port": packet.source_port or None,
        "destination": str(packet.destination),
        "destination_port": packet.destination_port or None,
    }
