"""Traces as tests of the lab make them: predictions from one collected state, held against packets that are watched."""

import random
from collections.abc import Iterable, Iterator, Mapping

from kubeproof.config.cluster import SshAccess
from kubeproof.trace import confirmed
from kubeproof.trace.confirming import Confirmation, Status
from kubeproof.trace.endpoints import Asked, question
from kubeproof.trace.model import End, Prediction
from kubeproof.trace.predicting import predict
from kubeproof.trace.world import World

AT_ONCE = 28
"""Packets that are watched along with each other."""


def predicted(world: World, asked: Asked, source_port: int = confirmed.LOWEST_PORT) -> Prediction:
    return predict(world, question(world, asked, look_up=lambda _name: None, source_port=source_port))


def confirm(
    world: World, asked: Iterable[Asked], access: Mapping[str, SshAccess]
) -> Iterator[tuple[Asked, Confirmation]]:
    """Send a packet for each, those of one sender in a row, and watch them."""
    every = list(asked)
    ports = random.sample(range(confirmed.LOWEST_PORT, confirmed.HIGHEST_PORT + 1), len(every))
    for at in range(0, len(every), AT_ONCE):
        some = slice(at, at + AT_ONCE)
        predictions = [predicted(world, *each) for each in zip(every[some], ports[some], strict=True)]
        yield from zip(every[some], confirmed.confirm_all(predictions, world, access), strict=True)


def disagreement(asked: Asked, found: Confirmation) -> str:
    """What was seen that the prediction does not say; "" for nothing. An undecided one says nothing."""
    end = found.walk.outcome.end
    # Whether an application answers a datagram that it does not understand is its own affair.
    is_answered = found.is_answered or (asked.protocol == "udp" and end is End.ARRIVED)
    if end is End.UNDECIDED or (found.agrees and is_answered == (end is End.ARRIVED)):
        return ""
    return f"{asked}: {found.walk.outcome}, answer {found.answer!r}, {_odd(found)}"


def _odd(found: Confirmation) -> list[str]:
    pairs = zip(found.walk.hops, found.sights, strict=True)
    odd = [(hop, sight) for hop, sight in pairs if sight.status not in (Status.SEEN, Status.UNWATCHED)]
    return [f"{hop.node} {hop.place.value} {hop.what}: {sight.status.value} {sight.found}" for hop, sight in odd]
