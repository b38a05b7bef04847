"""The good cluster of the proof's tests as the doctor sees it, and ways to change it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from kubeproof.doctor.conclusion import conclude, failing
from kubeproof.doctor.diagnosis import Diagnosis
from kubeproof.doctor.evidence import ControlPlane, Evidence
from kubeproof.proof.checks import run_all
from kubeproof.proof.probes import TITLES
from kubeproof.proof.snapshot import Snapshot
from kubeproof.rules.api import ApiObjects
from kubeproof.rules.result import CheckResult, Status
from kubeproof.state.node import NodeState
from kubeproof.state.paths_between import CONNECTED, CapturedEcho, PathProbe, PathProbes, Tunnel
from tests.unit.proof import good

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
Change = Callable[[Evidence], Evidence]


def evidence(**settings: Any) -> Evidence:
    """Everything in order; ``settings`` differ."""
    loaded = good.loaded(cgroup_driver="cgroupfs", **settings)
    return Evidence(
        snapshot=seen(good.snapshot(loaded=loaded)),
        control_plane=ControlPlane(
            controller_flags={"allocate-node-cidrs": "true", "cluster-cidr": str(good.PODS)},
            network_cidrs=(str(good.PODS),),
            network_policy="enforce",
        ),
        now=NOW,
    )


def seen(snapshot: Snapshot) -> Snapshot:
    """With what only the doctor asks for."""
    states = {
        name: replace(
            found,
            kubelet_driver="cgroupfs",
            runtime_driver="cgroupfs",
            node_ip=str(good.address(name)),
            path_probes=path_probes(name),
        )
        for name, found in snapshot.states.items()
    }
    return replace(snapshot, states=states)


def path_probes(name: str) -> PathProbes:
    """Everything was answered, and seen on the wire both ways."""
    others = [other for other in good.NAMES if other != name]
    own = good.address(name)
    seen = {
        CapturedEcho(*ends, is_request)
        for other in others
        for ends in ((own, good.address(other)), (good.address(other), own))
        for is_request in (True, False)
    }
    return PathProbes(
        paths={good.address(other): PathProbe(True, CONNECTED, "02:99:00:00:00:01") for other in others},
        tunnels={good.subnet(other)[0]: Tunnel(True, True, CONNECTED) for other in others},
        captured=frozenset(seen),
    )


def state(name: str, change: Callable[[NodeState], NodeState]) -> Change:
    """One node read otherwise."""

    def changed(item: Evidence) -> Evidence:
        states = {**item.snapshot.states, name: change(item.snapshot.states[name])}
        return replace(item, snapshot=replace(item.snapshot, states=states))

    return changed


def api(change: Callable[[ApiObjects], ApiObjects]) -> Change:
    def changed(item: Evidence) -> Evidence:
        assert not isinstance(item.snapshot.objects, str)
        return replace(item, snapshot=replace(item.snapshot, objects=change(item.snapshot.objects)))

    return changed


def no_api(item: Evidence) -> Evidence:
    unreadable = dict.fromkeys(("tokens", "network_cidrs"), "exit code 1: connection refused")
    plane = ControlPlane(controller_flags=item.control_plane.controller_flags, unreadable=unreadable)
    return replace(item, snapshot=replace(item.snapshot, objects="connection refused"), control_plane=plane)


def unreachable(name: str, reason: str) -> Change:
    """A node that ssh does not reach, and what the others' packets to it came to: nothing."""

    def changed(item: Evidence) -> Evidence:
        states = {other: found for other, found in item.snapshot.states.items() if other != name}
        return replace(item, snapshot=replace(item.snapshot, states=states, unreachable={name: reason}))

    return changed


def on_host(name: str, **changes: Any) -> Change:
    return state(name, lambda found: replace(found, **changes))


def travelled(name: str, **changes: Any) -> Change:
    """One node's packets had another end."""
    return lambda item: on_host(name, path_probes=replace(item.snapshot.states[name].path_probes, **changes))(item)


def tunnel(name: str, to: str, found: Tunnel) -> Change:
    def changed(item: Evidence) -> Evidence:
        known = item.snapshot.states[name].path_probes.tunnels
        return travelled(name, tunnels={**known, good.subnet(to)[0]: found})(item)

    return changed


def way(name: str, to: str, found: PathProbe) -> Change:
    def changed(item: Evidence) -> Evidence:
        return travelled(name, paths={**item.snapshot.states[name].path_probes.paths, good.address(to): found})(item)

    return changed


def unseen(name: str, *lost: tuple[str, str, bool]) -> Change:
    """Packets that did not show up in one node's capture: from, to, whether it is a request."""
    gone = {CapturedEcho(good.address(source), good.address(to), is_request) for source, to, is_request in lost}
    return lambda item: travelled(name, captured=item.snapshot.states[name].path_probes.captured - gone)(item)


def plane(**changes: Any) -> Change:
    return lambda item: replace(item, control_plane=replace(item.control_plane, **changes))


def both(*changes: Change) -> Change:
    def changed(item: Evidence) -> Evidence:
        for change in changes:
            item = change(item)
        return item

    return changed


def proven(item: Evidence) -> Evidence:
    """With the checks that do not hold; no packet can be sent here."""
    snapshot = item.snapshot
    rows = [*snapshot.reachability(), *run_all(snapshot.contexts())]
    return replace(item, failing=(*failing(rows), *(row for row in item.failing if row.name in TITLES)))


def lost(row: str, node: str, found: str = "no answer") -> Change:
    """A probe that fails."""
    more = CheckResult(node, row, Status.FAILS, "an answer", found, f"ssh {node} true")
    return lambda item: replace(item, failing=(*item.failing, more))


def found(item: Evidence) -> list[Diagnosis]:
    """What is told."""
    return list(conclude(proven(item)).diagnoses)


def undecided(item: Evidence) -> list[str]:
    return [line for answer in conclude(proven(item)).answers.values() for line in answer.undecided]
