"""Which client tries what, and what its results say of the table's cells. Pure."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from kubeproof.matrix.cases import PORTS, Json
from kubeproof.matrix.layout import OUTSIDE, Layout, Target
from kubeproof.matrix.table import Cell, Cells, Combination, Key, Mark
from kubeproof.policy.model import PROTOCOLS

NODE_PORT = PORTS[0]


@dataclass(frozen=True)
class Attempt:
    """A cell and how to find out: who tries, and what address and port. ``pod`` is who has to answer."""

    key: Key
    client: str
    address: str
    port: int
    pod: str


def plan(layout: Layout) -> tuple[Attempt, ...]:
    """Every client to every pod, by every way. Ordered as grids are read."""
    return (*_inside(layout), *_outside(layout))


def _inside(layout: Layout) -> Iterator[Attempt]:
    clients = [client for client in layout.clients if client != OUTSIDE]
    for combination, way in _ways():
        for client in clients:
            for target in layout.targets:
                yield Attempt(Key(combination, client, target.name), client, way(target), combination.port, target.pod)


def _ways() -> Iterator[tuple[Combination, Callable[[Target], str]]]:
    for protocol in PROTOCOLS:
        for port in PORTS:
            yield Combination("pod address", protocol, port), lambda target: str(target.address)
            yield Combination("Service address", protocol, port), lambda target: str(target.service_address)
            yield Combination("Service name", protocol, port), lambda target: target.service_name


def _outside(layout: Layout) -> Iterator[Attempt]:
    if layout.outside is None:
        return
    for protocol in ("TCP", "UDP"):
        for node, address in layout.nodes.items():
            for target in layout.targets:
                key = Key(Combination("NodePort", protocol, NODE_PORT), outside_by(node), target.name)
                yield Attempt(key, OUTSIDE, str(address), target.node_ports[protocol], target.pod)


def outside_by(node: str) -> str:
    """The outside client's name in rows: it comes by the NodePort of a node."""
    return f"{OUTSIDE}/{node}"


def node_of(source: str) -> str | None:
    """The node whose NodePort an outside client uses; None for other clients."""
    return source.removeprefix(f"{OUTSIDE}/") if source.startswith(f"{OUTSIDE}/") else None


def by_client(attempts: Iterable[Attempt]) -> dict[str, list[Attempt]]:
    """Attempts by the client that makes them: one line of its channel."""
    found: dict[str, list[Attempt]] = {}
    for attempt in attempts:
        found.setdefault(attempt.client, []).append(attempt)
    return found


def request(attempts: Sequence[Attempt], timeout: float) -> Json:
    """The line for a channel; results come back with the attempts' numbers."""
    return {
        "do": "probe",
        "probes": [
            {
                "id": number,
                "protocol": attempt.key.combination.protocol,
                "address": attempt.address,
                "port": attempt.port,
                "timeout": timeout,
            }
            for number, attempt in enumerate(attempts)
        ],
    }


def cells(attempts: Sequence[Attempt], answer: Json) -> dict[Key, Cell]:
    """What an answer says. Attempts that it does not mention have no cell."""
    if "problem" in answer:
        return broken(attempts, str(answer["problem"]))
    return {
        attempts[result["id"]].key: _cell(attempts[result["id"]], result)
        for result in answer.get("results", [])
        if 0 <= result["id"] < len(attempts)
    }


def broken(attempts: Iterable[Attempt], reason: str) -> dict[Key, Cell]:
    return {attempt.key: Cell(Mark.FAILED, reason) for attempt in attempts}


def without_sctp(attempts: Iterable[Attempt], refused: Mapping[str, str]) -> Cells:
    """Cells that cannot be probed: SCTP from and to clients that have no raw sockets (client -> why)."""
    return {
        attempt.key: Cell(Mark.NOT_PROBED, refused[end])
        for attempt in attempts
        if attempt.key.combination.protocol == "SCTP"
        for end in (attempt.client, attempt.key.target)
        if end in refused
    }


def _cell(attempt: Attempt, result: Json) -> Cell:
    detail = str(result.get("detail", ""))
    match result["outcome"]:
        case "open" if result.get("pod") not in (attempt.pod, ""):
            return Cell(Mark.FAILED, f"{result['pod']} answered instead of {attempt.pod}")
        case "open":
            seen = f"answered, seen as {result['client']}" if result.get("client") else "answered"
            return Cell(Mark.ALLOWED, f"{seen} ({detail})" if detail else seen)
        case "blocked":
            return Cell(Mark.BLOCKED, detail)
        case _:
            return Cell(Mark.FAILED, detail)
