"""`./inv trace` and `./inv collect`: from what the user wrote to a table and an exit code."""

import json
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from pathlib import Path

from kubeproof.config.cluster import LoadedInventory, SshAccess
from kubeproof.proof.collect import collect as collect_state
from kubeproof.proof.proving import checks
from kubeproof.rules.result import CheckResult, Status
from kubeproof.terminal.console import console, step
from kubeproof.terminal.errors import EXIT_NOT_HOLDING, EXIT_OK, CommandError
from kubeproof.terminal.summary import counted
from kubeproof.trace import collecting, report
from kubeproof.trace.collecting import Collected
from kubeproof.trace.confirmed import UnconfirmedError, confirm, source_port
from kubeproof.trace.confirming import Confirmation
from kubeproof.trace.endpoints import SOURCE_PORT, Asked, question
from kubeproof.trace.model import End, Place, Prediction, Walk
from kubeproof.trace.predicting import ENFORCERS, predict
from kubeproof.trace.world import make

Draw = Callable[[LoadedInventory, Prediction, Confirmation | None], None]
"""Shows a live trace in another form, too."""


def trace(
    load: Callable[[], LoadedInventory],
    asked: Asked,
    *,
    folder: Path | None,
    as_json: bool,
    sends: bool = True,
    draw: Draw | None = None,
) -> int:
    """Print what becomes of a packet, in the collected state of ``folder`` or live; return the exit code.

    Live, one is sent unless not ``sends``. 0: it arrives and its answer comes back, on every way, and that of the one
    that was sent; 1: not so, or that is undecided. Raises UserError with all that is wrong with what was asked, and
    where there is no state to predict from.
    """
    loaded: LoadedInventory | None = None
    collected = collecting.read(folder) if folder is not None else collecting.collect(loaded := load())
    world = make(collected)
    look_up = _look_up if loaded else lambda _name: None
    asks = question(world, asked, look_up=look_up, source_port=source_port() if loaded else SOURCE_PORT)
    prediction = predict(world, asks)
    if loaded and any(map(_may_be_repaired, prediction.walks)):
        prediction = with_remedies(prediction, checks(collect_state(loaded)), loaded.ssh)
    confirmation, notes = None, _gaps(collected)
    if loaded and sends:
        try:
            confirmation = confirm(prediction, world, loaded.ssh)
        except UnconfirmedError as error:
            notes += error.reasons
    if as_json:
        document = report.to_json(prediction, confirmation, notes)
        console.print(json.dumps(document, indent=2, ensure_ascii=False), markup=False)
    else:
        report.show(prediction, console, confirmation, notes)
    if draw and loaded:
        draw(loaded, prediction, confirmation)
    holds = prediction.succeeds and (confirmation is None or confirmation.is_answered)
    return EXIT_OK if holds else EXIT_NOT_HOLDING


def _may_be_repaired(way: Walk) -> bool:
    """Neither a policy nor a closed port is what the proof's rules know a remedy of."""
    is_closed = bool(way.hops) and way.hops[-1].place is Place.SOCKET
    return way.outcome.end in (End.DROPPED, End.REFUSED) and way.outcome.owner not in ENFORCERS and not is_closed


def with_remedies(prediction: Prediction, results: Iterable[CheckResult], ssh: Mapping[str, SshAccess]) -> Prediction:
    """Where ways end, with the remedies of the rules that do not hold on their nodes, one a line, if there are any."""
    known = [
        (result.node, f"{result.name}: {remedy.paste(ssh)}")
        for result in results
        if result.status is Status.FAILS
        for remedy in result.remedies
    ]

    def mended(way: Walk) -> Walk:
        passed = {hop.node for hop in way.hops}
        lines = dict.fromkeys(line for node, line in known if node in passed)
        if not (lines and _may_be_repaired(way)):
            return way
        outcome = replace(way.outcome, remedy="\n".join(lines))
        return replace(way, back=outcome) if way.outcome is way.back else replace(way, there=outcome)

    return replace(prediction, walks=tuple(map(mended, prediction.walks)))


def collect(loaded: LoadedInventory, folder: Path) -> int:
    """Write the state of all nodes into a folder; return 1 if not all of it could be read, else 0. Raises UserError."""
    with step(f"Reading {counted(len(loaded.cluster.nodes), 'node')} and the API"):
        collected = collecting.collect(loaded)
    if not collected.outputs:
        raise CommandError("; ".join(f"{node}: {reason}" for node, reason in collected.unreachable.items()))
    files = collecting.write(collected, folder)
    console.print(f"{folder}: {counted(files, 'file')} of {counted(len(collected.outputs), 'node')}", markup=False)
    gaps = _gaps(collected)
    for gap in gaps:
        console.print(gap, markup=False)
    return EXIT_NOT_HOLDING if gaps else EXIT_OK


def _gaps(collected: Collected) -> list[str]:
    gaps = [f"{node}: {reason}" for node, reason in collected.unreachable.items()]
    for node, outputs in collected.outputs.items():
        gaps += [f"{node}: {name}: {each.last_words}" for name, each in outputs.items() if each.code]
    gaps += [f"objects of the API: {collected.objects}"] if isinstance(collected.objects, str) else []
    return [f"not collected: {gap}" for gap in gaps]


def _look_up(name: str) -> IPv4Address | None:
    """The first IPv4 address of a name, as this machine resolves it."""
    try:
        return IPv4Address(socket.getaddrinfo(name, None, socket.AF_INET)[0][4][0])
    except (OSError, ValueError, UnicodeError):
        return None
