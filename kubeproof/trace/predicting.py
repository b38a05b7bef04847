"""The prediction for one question: all ways of its packets, and where these end in words. Pure."""

from dataclasses import replace

from kubeproof.policy.ends import Resolver, UnknownEndError
from kubeproof.policy.engine import judge
from kubeproof.trace.endpoints import Question
from kubeproof.trace.model import JUDGED, Direction, End, Hop, Outcome, Place, Prediction, Walk
from kubeproof.trace.walking import walks
from kubeproof.trace.world import World

MOST_WAYS = 5000
"""Ways that are followed at most; kube-proxy may choose among any number of endpoints."""
ENFORCERS = ("podnet", "Calico")


def predict(world: World, question: Question) -> Prediction:
    """What becomes of the packet; never raises for what becomes of it."""
    share = 1 / len(question.starts)
    notes, found = list(question.notes), []
    for start in question.starts:
        ways, complete = walks(world, start, most=MOST_WAYS)
        found += [_explained(world, replace(way, probability=way.probability * share)) for way in ways]
        if not complete:
            notes.append(f"only the first {MOST_WAYS} ways are followed: there are more")
    found.sort(key=lambda way: -way.probability)
    return Prediction(question.starts[0], tuple(found), tuple(notes))


def _explained(world: World, way: Walk) -> Walk:
    outcome, back = way.there, way.back
    if outcome.end in (End.DROPPED, End.REFUSED):
        return replace(way, there=_with_remedy(world, outcome, way.hops[-1], way))
    if back is not None and back.end in (End.DROPPED, End.REFUSED):
        return replace(way, back=_with_remedy(world, back, way.hops[-1], way))
    return way


def _with_remedy(world: World, outcome: Outcome, hop: Hop, way: Walk) -> Outcome:
    if outcome.owner in ENFORCERS and (policy := _policy(world, hop)):
        return replace(outcome, reason=policy, remedy="change the policy, or add one that allows it: ./inv explain")
    return replace(outcome, remedy=_remedy(outcome, hop))


def _policy(world: World, hop: Hop) -> str:
    """Which NetworkPolicy denies it, in the words of `explain`; "" where by the API's rules none does."""
    packet = hop.packet if hop.direction is Direction.FORWARD else hop.packet.reply
    resolver = Resolver(world.objects, service_network=world.facts.service_cidr)
    try:
        source, target = (resolver.end(str(address)) for address in (packet.source, packet.destination))
        decision = judge(world.objects.world, source, target, JUDGED[packet.protocol], packet.destination_port)
    except (UnknownEndError, ValueError):
        return ""
    return "" if decision.allowed else "; ".join(str(decision).splitlines())


def _remedy(outcome: Outcome, hop: Hop) -> str:
    """What to do about it, where the hop tells; `./inv doctor` looks for the cause."""
    if outcome.decided_by.startswith("sysctl "):
        setting = outcome.decided_by.removeprefix("sysctl ").partition(" = ")[0]
        return f"on {hop.node}: sysctl -w {setting}=1"
    if "policy is DROP" in outcome.reason and hop.place is Place.FORWARD:
        return "the rules that accept pods' packets are missing: ./inv doctor names what restores them"
    if hop.place is Place.SOCKET and outcome.end is End.REFUSED and hop.direction is Direction.FORWARD:
        return "start what should listen there, or correct the targetPort"
    if outcome.owner == "pod network":
        return f"have the pod network's agent on {hop.node} write it anew: ./inv doctor names how"
    return ""
