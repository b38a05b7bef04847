"""Traces beside the matrix: while cases are in force, their cells are predicted, and some packets are watched."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from kubeproof.config.cluster import LoadedInventory
from kubeproof.matrix.channel import Asked as Channels
from kubeproof.matrix.layout import OUTSIDE, full_name
from kubeproof.matrix.result import CaseResult, RunResult
from kubeproof.matrix.table import Key, Mark
from kubeproof.trace import collecting
from kubeproof.trace.confirming import Confirmation
from kubeproof.trace.endpoints import Asked
from kubeproof.trace.model import End, Place, Walk
from kubeproof.trace.world import World, make
from tests.lab.tracing import AT_ONCE, confirm, predicted

DNS = ("kube-system/kube-dns", "53", "udp")
Requests = Mapping[str, dict[str, Any]]


@dataclass
class Traced:
    """Channels of a run. Each ``every``-th time that all cells are probed the state is collected and packets sent."""

    inventory: LoadedInventory
    inner: Channels
    every: int
    looks: dict[int, tuple[World, Requests]] = field(default_factory=dict)
    """By the number of the case, of those that are probed."""
    watched: list[tuple[Asked, Confirmation]] = field(default_factory=list)
    _cases: int = 0
    _all: int = 0

    def open(self) -> Mapping[str, str]:
        return self.inner.open()

    def close(self) -> None:
        self.inner.close()

    def ask(self, requests: Requests) -> dict[str, dict[str, Any]]:
        probes = sum(len(request.get("probes", ())) for request in requests.values())
        self._all = self._all or probes
        if probes and probes == self._all:  # cells that are asked again are fewer
            if self._cases % self.every == 0:
                self._look(requests)
            self._cases += 1
        return self.inner.ask(requests)

    def _look(self, requests: Requests) -> None:
        world = make(collecting.collect(self.inventory))
        self.looks[self._cases] = world, requests
        asked = [_asked(client, probe) for client, request in requests.items() for probe in request["probes"]]
        seen = [one for one in asked if one.protocol != "sctp"]
        # Other cells each time, of all clients and all ways.
        step = len(seen) // AT_ONCE
        some = seen[self._cases % step :: step][:AT_ONCE]
        self.watched += confirm(world, some, self.inventory.ssh)

    def cells(self, result: RunResult) -> Iterator[tuple[Key, Mark, Mark | None]]:
        """Each cell of the cases that were looked at: what was found, and what is predicted, None for undecided."""
        probed = [case for case in result.cases if case.observed.cells]
        for number, (world, requests) in self.looks.items():
            yield from _cells(probed[number], world, requests)


def _asked(client: str, probe: Mapping[str, Any]) -> Asked:
    source = full_name(client) if "/" in client else client
    service, _, namespace = str(probe["address"]).partition(".svc.")[0].partition(".")
    to = f"{namespace}/{service}" if ".svc." in probe["address"] else str(probe["address"])
    return Asked(source, to, str(probe["port"]), str(probe["protocol"]).lower())


def _cells(case: CaseResult, world: World, requests: Requests) -> Iterator[tuple[Key, Mark, Mark | None]]:
    @cache
    def mark(asked: Asked) -> Mark | None:
        marks = {_mark(walk) for walk in predicted(world, asked).walks}
        return marks.pop() if len(marks) == 1 else None

    for client, request in requests.items():
        cells = {key: cell for key, cell in case.observed.cells.items() if _client(key) == client}
        probed = {key: cell for key, cell in cells.items() if cell.mark is not Mark.NOT_PROBED}
        for (key, cell), probe in zip(probed.items(), request["probes"], strict=True):
            asked = _asked(client, probe)
            found = mark(asked)
            if key.combination.via == "Service name" and found is Mark.ALLOWED:
                found = mark(Asked(asked.source, *DNS))
            if cell.mark is not Mark.FAILED:
                yield key, cell.mark, found


def _client(key: Key) -> str:
    return OUTSIDE if key.source.startswith(f"{OUTSIDE}/") else key.source


def _mark(walk: Walk) -> Mark | None:
    last, end = walk.hops[-1], walk.outcome.end
    # The probes' servers of SCTP are raw sockets, which nothing lists: it is let in where it comes to the socket.
    if end is End.ARRIVED or (last.packet.protocol == "sctp" and last.place is Place.SOCKET):
        return Mark.ALLOWED
    return Mark.BLOCKED if end is End.DROPPED else None
