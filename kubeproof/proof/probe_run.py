"""Runs the probes: those of nodes and pods in one round trip for each node, those of a client outside from here."""

import json
import secrets
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from kubeproof.access import programs
from kubeproof.config.cluster import Node
from kubeproof.config.patience import patient
from kubeproof.proof.hosts import UnreachableError, run_everywhere
from kubeproof.proof.probe import REQUEST_SECONDS, Probe, Verdict, judged, summarize, worst
from kubeproof.proof.probes import TITLES, Matrix, node_port_url
from kubeproof.proof.snapshot import Snapshot
from kubeproof.rules.result import CheckResult, Status
from kubeproof.state import collector
from kubeproof.state.collector import Output
from kubeproof.state.containers import Tool
from kubeproof.state.errors import ParseError

NODE_PORT = "node-port"
REQUESTS_PER_NODE = 3
"""Each goes to an endpoint at random, on the node itself or on another one."""


def run_matrix(matrix: Matrix, snapshot: Snapshot) -> list[CheckResult]:
    """Send all probes at once; return a result for each row and node, in the order of the rows."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        inside = pool.submit(_run_inside, matrix.probes, snapshot)
        outside = pool.submit(_run_outside, snapshot, matrix)
        results = [*matrix.not_run, *summarize(inside.result(), snapshot.line), *outside.result()]
    order = list(TITLES)
    return sorted(results, key=lambda result: order.index(result.name))


def _run_inside(probes: Iterable[Probe], snapshot: Snapshot) -> list[tuple[Probe, Verdict]]:
    by_node: dict[str, list[Probe]] = {}
    for probe in probes:
        by_node.setdefault(probe.node, []).append(probe)
    batches = {node: Batch(items) for node, items in by_node.items()}
    answers = run_everywhere({node: batch.commands for node, batch in batches.items()}, snapshot.loaded.ssh)
    return [pair for node, batch in batches.items() for pair in batch.verdicts(answers[node])]


class Batch:
    """The probes of one node as commands of one script; those inside one container are one command together."""

    def __init__(self, probes: Iterable[Probe]) -> None:
        self.marker = secrets.token_hex(8)
        self.alone: dict[str, Probe] = {}
        self.inside: dict[str, dict[str, Probe]] = {}
        for number, probe in enumerate(probes):
            group = self.alone if probe.container is None else self.inside.setdefault(probe.container, {})
            group[str(number)] = probe

    @property
    def commands(self) -> dict[str, str]:
        alone = {number: probe.command for number, probe in self.alone.items()}
        return alone | {container: self._exec(container) for container in self.inside}

    def _exec(self, container: str) -> str:
        text = collector.build_inside(self._inner(container), marker=self.marker, timeout=patient(REQUEST_SECONDS) + 1)
        return self._tool(container).inside(container, text)

    def _tool(self, container: str) -> Tool:
        return next(iter(self.inside[container].values())).tool

    def _inner(self, container: str) -> dict[str, str]:
        return {number: probe.command for number, probe in self.inside[container].items()}

    def verdicts(self, answer: dict[str, Output] | UnreachableError) -> list[tuple[Probe, Verdict]]:
        """Each probe with its verdict; all are broken if the node could not be asked."""
        if isinstance(answer, UnreachableError):
            probes = [*self.alone.values(), *(probe for group in self.inside.values() for probe in group.values())]
            return [(probe, Verdict(Status.BROKEN, f"{probe.node} cannot be reached: {answer}")) for probe in probes]
        pairs = [(probe, judged(probe, answer[number])) for number, probe in self.alone.items()]
        for container, group in self.inside.items():
            pairs += self._inside_verdicts(answer[container], container, group)
        return pairs

    def _inside_verdicts(
        self, output: Output, container: str, group: Mapping[str, Probe]
    ) -> list[tuple[Probe, Verdict]]:
        try:
            outputs = collector.read(output.out, self._inner(container), marker=self.marker)
        except ParseError as error:
            reason = (
                f"{self._tool(container).called}: exit code {output.code}: {output.last_words}"
                if output.code
                else str(error)
            )
            return [(probe, Verdict(Status.BROKEN, reason)) for probe in group.values()]
        return [(probe, judged(probe, outputs[number])) for number, probe in group.items()]


# From outside of the cluster: this machine --------------------------------------------------------------------------


def _run_outside(snapshot: Snapshot, matrix: Matrix) -> list[CheckResult]:
    if any(row.name == NODE_PORT for row in matrix.not_run):
        return []
    nodes = snapshot.proven
    with ThreadPoolExecutor(max_workers=len(nodes)) as pool:
        return list(pool.map(lambda node: _node_port(node, snapshot), nodes))


def _node_port(node: Node, snapshot: Snapshot) -> CheckResult:
    url = node_port_url(node, snapshot.loaded.cluster.settings.httpd_node_port)
    refusal = route_refusal(node)
    verdicts = [Verdict(Status.BROKEN, refusal)] if refusal else [_get(url) for _ in range(REQUESTS_PER_NODE)]
    found = worst(verdicts)
    return CheckResult(
        node=node.name,
        name=NODE_PORT,
        status=found.status,
        expected=f"{REQUESTS_PER_NODE} requests from here to {url}: HTTP status 200 and a page each",
        found=found.found,
        look_further=f"curl --noproxy '*' -v --max-time {patient(REQUEST_SECONDS)} {url}",
    )


def route_refusal(node: Node) -> str | None:
    """Why nothing may be sent to a node from here: this machine has no usable route. None if it has one.

    While a lab is down, its networks are unreachable on purpose, so that nothing leaves by the machine's uplink.
    """
    done = programs.run(["ip", "-j", "route", "get", str(node.address)])
    if done.returncode != 0:
        return f"this machine has no route to {node.address} ({done.stderr.strip()}); is the lab up?"
    try:
        kind = json.loads(done.stdout)[0].get("type", "unicast")
    except (ValueError, LookupError, AttributeError):
        return f"the route to {node.address} cannot be read: {done.stdout[:60]!r}"
    return None if kind in ("unicast", "local") else f"this machine's route to {node.address} is of type {kind}"


def _get(url: str) -> Verdict:
    """One GET without any proxy, whatever the environment says."""
    try:
        with build_opener(ProxyHandler({})).open(url, timeout=patient(REQUEST_SECONDS)) as answer:
            body = answer.read(1 << 20)
            found = f"HTTP status {answer.status} and {len(body)} bytes"
            return Verdict(Status.HOLDS if answer.status == 200 and body.strip() else Status.FAILS, found)
    except HTTPError as error:
        return Verdict(Status.FAILS, f"HTTP status {error.code}")
    except (URLError, OSError, HTTPException) as error:
        return Verdict(Status.FAILS, f"no answer: {getattr(error, 'reason', error)}")
