"""Hops are held against what was seen: as predicted, otherwise, not."""

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from kubeproof.trace import confirming
from kubeproof.trace.confirming import ANSWERED, Sight, Sightings, Status, Where, fits
from kubeproof.trace.model import Direction, End, Hop, Outcome, Packet, Place, Prediction, Start, Walk
from kubeproof.trace.watching import Raw
from tests.unit.trace.captured import captured

DNS, MASTER, WORKER = IPv4Address("10.244.0.5"), IPv4Address("192.168.200.11"), IPv4Address("192.168.200.13")
SERVICE = Packet("tcp", DNS, IPv4Address("10.1.58.91"), 0, 80)
OUTER = Packet("udp", MASTER, WORKER, 0, 8472)
POD = "kube-system/dns"
START = Start("k8s-master", POD, SERVICE)


@pytest.fixture(scope="module")
def seen() -> dict[Where, Sightings]:
    return sightings("service")


def sightings(name: str) -> dict[Where, Sightings]:
    found = captured(name)
    return confirming.read({node: Raw(outputs) for node, outputs in found.raw.items()}, found.marked, (), (8472,))


def endpoint(seen: Mapping[Where, Sightings]) -> Packet:
    """Where the captured packet went by DNAT."""
    here = seen["k8s-master", ""].interfaces
    address = next(one.packet.destination for one in here if one.device == "flannel.1")
    return replace(SERVICE, destination=address, destination_port=8080)


def beside(hop: Hop, seen: Mapping[Where, Sightings], end: End = End.UNDECIDED) -> Sight:
    """What was seen of a hop; it is the last one there."""
    walk = (
        Walk((hop,), Outcome(end)) if hop.direction is Direction.FORWARD else Walk((hop,), Outcome(end), Outcome(end))
    )
    return confirming.compare(Prediction(START, (walk,)), seen)[1][0]


def test_a_hook_is_compared_behind_its_last_chain(seen: dict[Where, Sightings]) -> None:
    hop = Hop("k8s-master", "", Place.PREROUTING, "DNAT", endpoint(seen), device="cni0")
    assert beside(hop, seen) == Sight(Status.SEEN)
    assert beside(replace(hop, packet=SERVICE), seen).status is Status.OTHERWISE
    assert beside(replace(hop, place=Place.INPUT), seen).status is Status.NOT_SEEN


def test_a_packet_that_comes_to_a_hook_again_is_seen_as_it_is_each_time(seen: dict[Where, Sightings]) -> None:
    here = seen["k8s-master", ""]
    again = replace(next(one for one in here.chains if one.is_end), packet=replace(SERVICE, destination=WORKER))
    twice = {("k8s-master", ""): replace(here, chains=(*here.chains, again))}
    for packet in (endpoint(seen), again.packet):
        assert beside(Hop("k8s-master", "", Place.PREROUTING, "", packet), twice) == Sight(Status.SEEN)


def test_the_packet_of_the_tunnel_is_another_one(seen: dict[Where, Sightings]) -> None:
    hop = Hop("k8s-master", "", Place.OUTPUT, "passes", endpoint(seen), outer=OUTER)
    assert beside(hop, seen) == Sight(Status.SEEN)
    assert beside(replace(hop, outer=None), seen).status is Status.NOT_SEEN
    wrong = replace(OUTER, destination=MASTER)
    found = beside(replace(hop, outer=wrong), seen)
    assert found.status is Status.OTHERWISE
    assert found.found.endswith("> 192.168.200.13:8472")


@pytest.mark.parametrize(
    ("place", "device", "status"),
    [
        (Place.ENCAPSULATION, "flannel.1", Status.SEEN),
        (Place.NIC, "host0", Status.SEEN),
        (Place.NIC, "eth7", Status.NOT_SEEN),
        (Place.ROUTE, "flannel.1", Status.UNWATCHED),
        (Place.NIC, "", Status.UNWATCHED),
    ],
)
def test_interfaces(seen: dict[Where, Sightings], place: Place, device: str, status: Status) -> None:
    hop = Hop("k8s-master", "", place, "", endpoint(seen), device=device, outer=OUTER)
    assert beside(hop, seen).status is status


def test_nobody_watches_a_node_that_is_not_there(seen: dict[Where, Sightings]) -> None:
    assert beside(Hop("other", "", Place.FORWARD, "", SERVICE), seen) == Sight(Status.UNWATCHED)


def test_a_drop_that_was_predicted_did_not_happen(seen: dict[Where, Sightings]) -> None:
    hop = Hop("k8s-master", "", Place.FORWARD, "dropped", endpoint(seen))
    assert beside(hop, seen, End.DROPPED).status is Status.OTHERWISE


def test_a_drop_is_seen_at_its_hook_and_names_the_rule(seen: dict[Where, Sightings]) -> None:
    here = seen["k8s-master", ""]
    ended = tuple(one for one in here.chains if not (one.hook is Place.FORWARD and one.is_end))
    changed = {("k8s-master", ""): replace(here, chains=ended)}
    hop = Hop("k8s-master", "", Place.FORWARD, "dropped", endpoint(seen))
    rule = "-t filter -A FORWARD -s 10.244.0.0/16 -j ACCEPT"
    assert beside(hop, changed, End.DROPPED) == Sight(Status.SEEN, f"ended by {rule}")
    assert beside(hop, changed) == Sight(Status.OTHERWISE, f"ended by {rule}")


def test_the_answer_is_held_against_the_end() -> None:
    seen = sightings("refused")
    assert confirming.answer(START, seen) == "ICMP destination unreachable"
    hop = Hop("k8s-node2", "", Place.SOCKET, "nobody listens", SERVICE)
    assert beside(hop, seen, End.REFUSED) == Sight(Status.SEEN, "answered by ICMP destination unreachable")
    assert beside(hop, seen, End.ARRIVED).status is Status.OTHERWISE
    assert beside(hop, seen, End.DROPPED).status is Status.UNWATCHED


def test_an_answered_packet_has_arrived(seen: dict[Where, Sightings]) -> None:
    assert confirming.answer(START, seen) == ANSWERED
    assert confirming.arrived(Walk((), Outcome(End.ARRIVED)), START, seen)
    assert not confirming.arrived(Walk((), Outcome(End.ARRIVED)), START, {})
    # What another address answers, as without br_netfilter on one bridge, is nobody's.
    assert confirming.answer(replace(START, packet=replace(SERVICE, destination=WORKER)), seen) == ""


def test_of_several_ways_the_one_that_was_taken_is_chosen(seen: dict[Where, Sightings]) -> None:
    taken = Hop("k8s-master", "", Place.PREROUTING, "DNAT", endpoint(seen))
    other = replace(taken, packet=replace(endpoint(seen), destination=IPv4Address("10.244.9.9")))
    ways = tuple(Walk((hop,), Outcome(End.ARRIVED)) for hop in (other, taken))
    walk, _ = confirming.compare(Prediction(START, ways), seen)
    assert walk is ways[1]


@pytest.mark.parametrize(("source_port", "same"), [(0, True), (62000, True), (62001, False)])
def test_a_port_that_could_not_be_known_fits_any(source_port: int, same: bool) -> None:
    assert fits(replace(SERVICE, source_port=source_port), replace(SERVICE, source_port=62000)) is same
