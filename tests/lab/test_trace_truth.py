"""Traces tell the truth: what breaks the lab is where the walk ends, and pairs of all kinds are seen as predicted.

By default a part of the pairs is sent; KUBEPROOF_EVERY_PAIR=1 sends all of them, which takes some minutes.
"""

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from kubeproof.config.cluster import LoadedInventory
from kubeproof.trace import collecting, confirmed
from kubeproof.trace.confirming import Confirmation, Status
from kubeproof.trace.endpoints import Asked, question
from kubeproof.trace.model import End, Place, Prediction
from kubeproof.trace.predicting import predict
from kubeproof.trace.world import World, make
from tests.lab import breakages
from tests.lab.breakages import BREAKAGES
from tests.lab.breaking import other, worker
from tests.lab.proving import Prover

pytestmark = pytest.mark.usefixtures("running_lab")
EVERY = os.environ.get("KUBEPROOF_EVERY_PAIR") == "1"
PART = 24
"""Pairs that are sent by default."""
UNDECIDED_SHARE = 0.02
SERVICES = (("kuard", ""), ("httpd-svc", "8080"), ("kubernetes", "443"))
CLOSED_PORT = "7"
KUARD_PORT, HTTPD_PORT, DNS_PORT = "8080", "80", "53"


def _predicted(world: World, asked: Asked) -> Prediction:
    return predict(world, question(world, asked, look_up=lambda _name: None, source_port=confirmed.source_port()))


# What is broken by hand ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Told:
    """Where the walk from a pod of the broken node ends, and what is said there."""

    breakage: str
    place: Place
    words: str
    to: str = "pod"
    """A pod of the other node, or what else is asked for."""
    undo: str = ""
    """Where the breakage's own leaves that to a new pod."""


TOLD = (
    Told("cni0 down", Place.BRIDGE, "cni0 is down"),
    Told("veth off its bridge", Place.VETH, ""),
    Told(
        "pod without default route",
        Place.ROUTE,
        "no route",
        undo=f"{breakages.INSIDE} ip route replace default via GATEWAY",
    ),
    Told("pods into an unreachable table", Place.ROUTE, "leads nowhere"),
    Told("rule that prohibits another node's pods", Place.ROUTE, ""),
    Told("blackhole for half of another subnet", Place.ROUTE, "leads nowhere"),
    Told("forwarding off on cni0", Place.ROUTE, "does not forward"),
    Told("raw drop", Place.PREROUTING, "dropped"),
    Told("mangle drop of the tunnel", Place.OUTPUT, "dropped"),
    Told("ARP entry deleted", Place.NEIGHBOUR, "no ARP entry"),
    Told("FDB entries deleted", Place.FDB, "no FDB entry"),
    Told("flannel.1 down", Place.ROUTE, ""),
    Told("NodePort redirected", Place.SOCKET, "nothing listens", to="node-port"),
)


@pytest.fixture(scope="module")
def prover(inventory: LoadedInventory) -> Prover:
    return Prover(inventory)


@pytest.mark.parametrize("told", TOLD, ids=lambda told: told.breakage.replace(" ", "-"))
def test_the_walk_ends_where_it_is_broken(told: Told, inventory: LoadedInventory, prover: Prover) -> None:
    breakage = next(each for each in BREAKAGES if each.name == told.breakage)
    before = make(collecting.collect(inventory))
    target = _kuards(before, other().name)[0]
    asked = [Asked(source, target, KUARD_PORT) for source in _kuards(before, worker().name)]
    if told.to == "node-port":
        asked = [Asked("outside", f"{worker().name}:33000")]
    assert all(_predicted(before, each).succeeds for each in asked)
    undone = breakages.filled(told.undo or breakage.undo)
    try:
        breakages.make(breakage)
        world = make(collecting.collect(inventory))
        # Some break one pod of the node only.
        prediction = min((_predicted(world, each) for each in asked), key=lambda each: each.succeeds)
        found = confirmed.confirm(prediction, world, inventory.ssh)
    finally:
        breakages.undo(breakage, undone)
    prover.wait(seconds=breakage.seconds)
    (walk,) = prediction.walks
    assert walk.outcome.end in (End.DROPPED, End.REFUSED), walk.outcome
    assert (walk.hops[-1].place, walk.hops[-1].node) == (told.place, worker().name), walk.hops[-1]
    assert told.words in walk.outcome.reason
    assert not found.is_answered
    assert found.agrees, _odd(found)


def _kuards(world: World, node: str) -> list[str]:
    return [pod for pod in world.nodes[node].pods if pod.startswith("default/kuard")]


# All pairs -----------------------------------------------------------------------------------------------------------


def _pairs(world: World) -> Iterator[Asked]:
    """From every pod, every node and outside to every pod (an open port and a closed one), Service and NodePort."""
    pods = sorted(pod for node in world.nodes.values() for pod in node.pods)
    for source in (*pods, *world.nodes, "outside"):
        for pod in pods:
            if source not in (pod, "outside"):
                yield Asked(source, pod, _open_port(pod))
                yield Asked(source, pod, CLOSED_PORT)
        if source != "outside":
            yield from (Asked(source, *service) for service in SERVICES)
        yield from (Asked(source, f"{node}:33000") for node in world.nodes)


def _open_port(pod: str) -> str:
    name = pod.rpartition("/")[2]
    return KUARD_PORT if name.startswith("kuard") else HTTPD_PORT if name.startswith("httpd") else DNS_PORT


def test_pairs_are_seen_as_predicted(inventory: LoadedInventory) -> None:
    world = make(collecting.collect(inventory))
    pairs = list(_pairs(world))
    assert len(pairs) >= 200
    chosen = pairs if EVERY else list(itertools.islice(pairs, 0, None, len(pairs) // PART))

    # One after the other: what is watched on a node at the same time is seen by both.
    found = [(asked, confirmed.confirm(_predicted(world, asked), world, inventory.ssh)) for asked in chosen]
    kinds = Counter(one.walk.outcome.end for _, one in found)
    print(f"{len(found)} pairs: {', '.join(f'{count} {end.value}' for end, count in kinds.items())}")
    assert kinds[End.UNDECIDED] <= UNDECIDED_SHARE * len(found)
    assert kinds[End.ARRIVED], "none arrived"
    assert kinds[End.REFUSED], "none was refused"
    wrong = [
        f"{asked}: {one.walk.outcome}, answer {one.answer!r}, {_odd(one)}"
        for asked, one in found
        if one.walk.outcome.end is not End.UNDECIDED
        and not (one.agrees and one.is_answered == (one.walk.outcome.end is End.ARRIVED))
    ]
    assert wrong == []


def _odd(found: Confirmation) -> list[str]:
    pairs = zip(found.walk.hops, found.sights, strict=True)
    odd = [(hop, sight) for hop, sight in pairs if sight.status not in (Status.SEEN, Status.UNWATCHED)]
    return [f"{hop.node} {hop.place.value} {hop.what}: {sight.status.value} {sight.found}" for hop, sight in odd]
