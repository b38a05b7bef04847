"""`./inv explain`: says whether policies allow one connection, and why; of files or of the live cluster."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kubeproof import remote_kubectl
from kubeproof.cluster import LoadedInventory
from kubeproof.console import console
from kubeproof.errors import EXIT_NOT_HOLDING, EXIT_OK, CommandError, UserError
from kubeproof.patience import patiently
from kubeproof.policy import reading
from kubeproof.policy.ends import Resolver, UnknownEndError, is_number, named_port, numbered_port
from kubeproof.policy.engine import Decision, End, judge
from kubeproof.policy.model import PROTOCOLS, Judged
from kubeproof.policy.reading import Objects

QUERY = ("get", "pods,namespaces,networkpolicies,nodes", "-A", "-o", "json", "--request-timeout=8s")
"""Everything at once: what one call shows belongs together."""
JUDGED: tuple[Judged, ...] = (*PROTOCOLS, "ICMP")


@dataclass(frozen=True)
class Question:
    """A connection as the user wrote it, each part in the form of its option."""

    source: str
    destination: str
    port: str
    protocol: str


@dataclass(frozen=True)
class Answer:
    """Lines to print, the first one beginning with allowed or denied; and the exit code."""

    lines: tuple[str, ...]
    code: int


def run(
    load: Callable[[], LoadedInventory] | None,
    *,
    source: str,
    destination: str,
    port: str,
    protocol: str,
    files: Sequence[Path],
) -> int:
    """Print whether a connection is allowed, and why; return 0 if it is, 1 if not.

    Objects are those of the files, or of the cluster of the inventory that ``load`` reads. Raises UserError with all
    that is wrong with files, inventory and options, also where the cluster cannot be asked: 1 would read as "denied".
    """
    question = Question(source.strip(), destination.strip(), port.strip(), protocol.strip())
    try:
        objects = reading.read_files(files) if load is None else _ask(load())
    except UserError as error:
        raise UserError([*_incomplete(question), *error.problems]) from None
    answer = explain(objects, question)
    for line in answer.lines:
        console.print(line, markup=False)
    return answer.code


def explain(objects: Objects, question: Question) -> Answer:
    """The answer to a question. Pure.

    Raises UserError naming each option that is missing or names nothing, and what is nearest.
    """
    resolver = Resolver(objects)
    problems = _incomplete(question)
    protocol = _protocol(question)
    source = _resolve(resolver, "--from", question.source, problems)
    destination = _resolve(resolver, "--to", question.destination, problems)
    port = _port(question, destination, protocol, problems)
    if problems or source is None or destination is None or protocol is None:
        raise UserError(problems)
    source = resolver.as_seen(source, destination)
    decision = judge(objects.world, source, destination, protocol, port)
    asked = f"{source} to {destination}, {protocol if protocol == 'ICMP' else f'{protocol} {port}'}"
    notes = [*objects.notes, *_unlabelled(objects), *resolver.notes]
    lines = (*_lines(decision, asked), *(f"note: {note}" for note in notes))
    return Answer(lines, EXIT_OK if decision.allowed else EXIT_NOT_HOLDING)


def _lines(decision: Decision, asked: str) -> list[str]:
    lines = [f"{'allowed' if decision.allowed else 'denied'}: {asked}"]
    for verdict in (decision.egress, decision.ingress):
        first, *rest = verdict.reason.split("; ")
        lines += [f"  {'.' if verdict.allowed else 'X'} {first}", *(f"      {part}" for part in rest)]
    return lines


def _incomplete(question: Question) -> list[str]:
    """What can be said against a question without looking anything up."""
    problems = [
        f"{option}: is missing; write ns/pod, a node's name or an IPv4 address"
        for option, written in (("--from", question.source), ("--to", question.destination))
        if not written
    ]
    protocol = _protocol(question)
    if protocol is None:
        problems.append(f"--protocol: {question.protocol or 'nothing'} is not known; use {', '.join(JUDGED)}")
    if not question.port and protocol != "ICMP":
        problems.append("--port: is missing; write a number, or the name of a container's port")
    return problems


def _protocol(question: Question) -> Judged | None:
    return next((name for name in JUDGED if name == question.protocol.upper()), None)


def _resolve(resolver: Resolver, option: str, written: str, problems: list[str]) -> End | None:
    try:
        return resolver.end(written) if written else None
    except UnknownEndError as error:
        problems.append(f"{option}: {error}")
        return None


def _port(question: Question, destination: End | None, protocol: Judged | None, problems: list[str]) -> int:
    """A number can be judged alone; a name only together with a destination and a protocol that are right."""
    if protocol == "ICMP" or not question.port:
        return 0
    try:
        if is_number(question.port):
            return numbered_port(question.port)
        if destination is not None and protocol is not None:
            return named_port(question.port, destination, protocol)
    except UnknownEndError as error:
        problems.append(f"--port: {error}")
    return 0


def _unlabelled(objects: Objects) -> list[str]:
    """Namespaces that are known from their pods alone, where a policy asks for labels of namespaces."""
    peers = [
        peer
        for policy in objects.policies
        for rule in (*policy.ingress, *policy.egress)
        for peer in rule.peers
        if peer.namespace_selector is not None
    ]
    known = objects.world.namespaces
    missing = sorted({pod.namespace for pod in objects.pods} - set(known)) if peers else []
    return [f"namespace {name}: its object is missing, so it is taken to have no labels" for name in missing]


def _ask(loaded: LoadedInventory) -> Objects:
    try:
        text = remote_kubectl.capture(loaded, [patiently(word) for word in QUERY])
    except CommandError as error:
        raise UserError(f"{error}; see that the cluster is up, or give files by -f") from error
    try:
        answer = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"kubectl get: the answer is no JSON ({error}); ask again") from error
    return reading.read_cluster(answer)
