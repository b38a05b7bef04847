"""One case after the other, in a cluster whose probe pods run: apply, wait for the condition, probe, compare."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from kubeproof.config.patience import patient
from kubeproof.matrix import condition, plan
from kubeproof.matrix.api import Api
from kubeproof.matrix.cases import Json, LabelChange
from kubeproof.matrix.channel import Asked
from kubeproof.matrix.expected import expected
from kubeproof.matrix.labels import Labels
from kubeproof.matrix.layout import Layout
from kubeproof.matrix.plan import Attempt
from kubeproof.matrix.policies import Policies, policies_path
from kubeproof.matrix.result import CaseResult
from kubeproof.matrix.table import Cell, Key, Mark, TruthTable, compare, known_differences
from kubeproof.networks.network import KnownDifference
from kubeproof.policy import reading
from kubeproof.policy.model import World

IN_FORCE_SECONDS = 20.0
"""For policies to be in force on all nodes; a second is what is promised."""
POLL_SECONDS = 0.05
PROBE_SECONDS = 1.0
"""An answer that takes longer counts as none: all there is between two pods are a few devices of one machine or LAN."""
LEAST_PROBE_SECONDS = 0.3
SLOWER = 2.0
"""How much longer than the slowest answer of all cells at once, which is the most that there can be, a silence lasts
before it counts as one: PROBE_SECONDS at the most."""
SECOND_PROBE_SECONDS = 2.0
PAUSE_SECONDS = 0.5
"""Before cells that are not as expected are probed again."""
SHOWN = 3
"""Things that are missing, in one line."""
READY_SECONDS = 60.0
"""For all pairs to reach each other before any policy: servers start, and kube-proxy learns of the Services."""


@dataclass(frozen=True)
class Trial:
    """What is to be tried: policies as the API takes them, and changes of labels."""

    name: str
    shows: str
    theme: str = ""
    policies: tuple[Json, ...] = ()
    changes: tuple[LabelChange, ...] = ()


@dataclass
class _Steps:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.monotonic() - started


@dataclass(frozen=True)
class _Objects:
    pods: list[Json]
    namespaces: list[Json]
    policies: list[Json]

    def world(self) -> World:
        kinds = {"Pod": self.pods, "Namespace": self.namespaces, "NetworkPolicy": self.policies}
        # Items of the API's lists do not repeat their kind.
        items = [
            {**item, "kind": kind, "apiVersion": reading.API_VERSIONS[kind]}
            for kind, items in kinds.items()
            for item in items
        ]
        return reading.read_cluster({"kind": "List", "apiVersion": "v1", "items": items}).world

    def wanted(self) -> condition.Wanted:
        return condition.wanted(self.pods, self.namespaces, self.policies)


@dataclass(frozen=True)
class Enforcement:
    """What the nodes say of themselves. ``states`` are of nodes whose pod network writes a file."""

    states: Mapping[str, Json]
    silent: tuple[str, ...] = ()
    """Nodes without such a file."""
    unasked: Mapping[str, str] = field(default_factory=dict)
    """Nodes that could not be asked -> why. Nobody waits for them: what they forbid or not, the probes show."""

    @property
    def can_be_waited_for(self) -> bool:
        """Whether the pod network tells what is in force: it does on no node with another CNI."""
        return bool(self.states)

    @property
    def off(self) -> tuple[str, ...]:
        return tuple(node for node, state in self.states.items() if not state.get("enforced"))

    def missing(self, wanted: condition.Wanted) -> list[str]:
        lines = [f"{node}: its pod network does not say what is in force" for node in self.silent]
        lines += [f"{node}: {line}" for node, state in self.states.items() for line in condition.missing(wanted, state)]
        return lines

    def notes(self, wanted: condition.Wanted) -> list[str]:
        """What is in force, but not as it is written."""
        strict = [item for state in self.states.values() for item in condition.inexpressible(wanted, state).items()]
        lines = [f"policy {name} is enforced strictly: {reason}" for name, reason in dict.fromkeys(strict)]
        return lines + [f"{node} cannot be asked what is in force: {reason}" for node, reason in self.unasked.items()]


class Bench:
    """Probe pods with their channels, on which trials run."""

    def __init__(
        self,
        api: Api,
        asked: Asked,
        layout: Layout,
        labels: Labels,
        attempts: Sequence[Attempt],
        known: Sequence[KnownDifference] = (),
    ) -> None:
        self.policies = Policies(api)
        self.labels = labels
        self._api = api
        self._asked = asked
        self._layout = layout
        self._attempts = attempts
        self._known = known
        self._not_probed: dict[Key, Cell] = {}
        self._probe_seconds = PROBE_SECONDS

    def leave_out(self, cells: Mapping[Key, Cell]) -> None:
        """Cells that cannot be probed in this run."""
        self._not_probed.update(cells)

    def before(self) -> CaseResult:
        """The trial without a policy of its own: repeated until it holds, since Services take a while.

        Then it is known how long the answers to all cells take here, and so how long to wait for those that are silent.
        """
        trial = Trial("before-any-policy", "Without a policy every client reaches every pod")
        result = self._run(trial, patient(READY_SECONDS))
        if not result.differences:
            started = time.monotonic()
            self._probe(self._probed(), PROBE_SECONDS)
            slowest = time.monotonic() - started
            self._probe_seconds = min(PROBE_SECONDS, max(LEAST_PROBE_SECONDS, SLOWER * slowest))
        return result

    def run(self, trial: Trial) -> CaseResult:
        try:
            return self._run(trial, None)
        finally:
            if trial.changes:
                self.labels.restore()

    def _run(self, trial: Trial, patience: float | None) -> CaseResult:
        started, steps = time.monotonic(), _Steps()
        with steps.step("apply"):
            self.policies.clear()
            self.labels.change(trial.changes)
            self.policies.apply(trial.policies)
            objects = self._objects()
        with steps.step("in force"):
            enforcement, lacking = self._in_force(objects.wanted())
        with steps.step("judge"):
            wanted = expected(objects.world(), self._layout, self._attempts, self._known)
        if patience is None and not enforcement.can_be_waited_for:
            patience = patient(IN_FORCE_SECONDS)
        with steps.step("probe"):
            observed, retried = self._observe(wanted, patience)
        return CaseResult(
            name=trial.name,
            shows=trial.shows,
            theme=trial.theme,
            problem=_not_in_force(lacking),
            notes=tuple(enforcement.notes(objects.wanted())),
            expected=wanted,
            observed=observed,
            differences=compare(wanted, observed),
            known=known_differences(wanted, observed),
            retried=retried,
            seconds=time.monotonic() - started,
            steps=steps.seconds,
        )

    def _objects(self) -> _Objects:
        paths = ("/api/v1/pods", "/api/v1/namespaces", policies_path())
        return _Objects(*(self._api.request("GET", path)["items"] for path in paths))

    def enforcement(self) -> Enforcement:
        answers = self._asked.ask({node: {"do": "state"} for node in self._layout.nodes})
        states = {node: answer["state"] for node, answer in answers.items() if answer.get("state")}
        unasked = {node: str(answer["problem"]) for node, answer in answers.items() if "problem" in answer}
        silent = tuple(node for node in answers if node not in states and node not in unasked)
        return Enforcement(states, silent, unasked)

    def _in_force(self, wanted: condition.Wanted) -> tuple[Enforcement, list[str]]:
        """Wait until every node has what the API has; what is missing when the deadline passes.

        Where a pod network does not tell, or does not enforce, there is nothing to wait for: the probes show it.
        """
        end = time.monotonic() + patient(IN_FORCE_SECONDS)
        while True:
            now = self.enforcement()
            if not now.can_be_waited_for or now.off:
                return now, []
            lacking = now.missing(wanted)
            if not lacking:
                return now, []
            if time.monotonic() > end:
                return now, lacking
            time.sleep(POLL_SECONDS)

    def _observe(self, wanted: TruthTable, patience: float | None) -> tuple[TruthTable, int]:
        """The observed table, and how many cells were probed again.

        Cells that are not as expected are probed once more before they are believed; with ``patience`` (in seconds)
        again and again, until they are or the time is up. Where an answer that is expected does not come in time, no
        silence of that round is believed: all silent cells are probed again, and from then on for longer.
        """
        end = time.monotonic() + (patience or 0.0)
        attempts = self._probed()
        observed = TruthTable({**self._not_probed, **self._probe(attempts, self._probe_seconds)})
        retried: set[Key] = set()
        again = True
        while again and (differing := {item.key for item in compare(wanted, observed)}):
            retried |= differing
            silent = {key for key, cell in observed.cells.items() if cell.mark is Mark.BLOCKED}
            if differing & silent:
                self._probe_seconds = min(PROBE_SECONDS, SLOWER * self._probe_seconds)
                differing |= silent
            again = time.monotonic() < end
            time.sleep(PAUSE_SECONDS)
            second = [attempt for attempt in attempts if attempt.key in differing]
            observed = observed.replaced(self._probe(second, SECOND_PROBE_SECONDS))
        return observed, len(retried)

    def _probed(self) -> list[Attempt]:
        return [attempt for attempt in self._attempts if attempt.key not in self._not_probed]

    def _probe(self, attempts: Sequence[Attempt], timeout: float) -> dict[Key, Cell]:
        by_client = plan.by_client(attempts)
        answers = self._asked.ask({client: plan.request(mine, patient(timeout)) for client, mine in by_client.items()})
        found: dict[Key, Cell] = {}
        for client, mine in by_client.items():
            found |= plan.cells(mine, answers[client])
        return found

    def hello(self) -> dict[str, Json]:
        return self._asked.ask({client: {"do": "hello"} for client in self._layout.clients})


def _not_in_force(lacking: Sequence[str]) -> str:
    """The first few things that are missing on nodes; empty if nothing is."""
    if not lacking:
        return ""
    more = f"; and {len(lacking) - SHOWN} more" if len(lacking) > SHOWN else ""
    return f"not in force after {patient(IN_FORCE_SECONDS):.0f} s: {'; '.join(lacking[:SHOWN])}{more}"
