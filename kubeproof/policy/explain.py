"""`./inv explain`: says whether policies allow one connection, and why; of files or of the live cluster."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import TypeVar

from kubeproof.access import remote_kubectl
from kubeproof.config.cluster import LoadedInventory
from kubeproof.config.patience import patiently
from kubeproof.networks.network import HAIRPIN
from kubeproof.policy import reading
from kubeproof.policy.ends import Resolver, UnknownEndError, is_number, named_port, numbered_port
from kubeproof.policy.engine import Decision, End, NodeEnd, PodEnd, end_of, judge
from kubeproof.policy.model import NAME_LABEL, PROTOCOLS, Judged, OtherPolicy, Pod, Service, World
from kubeproof.policy.reading import Objects
from kubeproof.policy.selectors import Selector
from kubeproof.state.kubernetes_yaml import one_line
from kubeproof.terminal.console import console
from kubeproof.terminal.errors import EXIT_BAD_INPUT, EXIT_NOT_HOLDING, EXIT_OK, CommandError, UserError

RESOURCES = "pods,namespaces,networkpolicies,nodes,services,deployments,statefulsets,daemonsets,jobs,cronjobs"
BUT_NAME = " but its name's"
JUDGED: tuple[Judged, ...] = (*PROTOCOLS, "ICMP")


T = TypeVar("T")


@dataclass(frozen=True)
class Question:
    """A connection as the user wrote it, each part in the form of its option."""

    source: str
    destination: str
    port: str
    protocol: str


@dataclass(frozen=True)
class Network:
    """What is known of the network that is asked about: nothing where objects are of files."""

    hairpin: bool | None = None
    """Whether it polices a pod that reaches itself through its own Service (HAIRPIN)."""
    services: IPv4Network | None = None
    enforces: bool = True


@dataclass(frozen=True)
class Answer:
    """Lines to print, the first one beginning with allowed, denied or not known; and the exit code."""

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
    network = Network()
    problems: list[str] = []
    try:
        if load is None:
            objects, problems = reading.read_what_can_be(files)
        else:
            loaded = load()
            settings = loaded.cluster.settings
            network = Network(HAIRPIN in settings.network.known, settings.service_cidr, settings.enforces_policy)
            objects = _ask(loaded)
    except UserError as error:
        raise UserError([*_incomplete(question), *error.problems]) from None
    if problems:
        raise UserError([*_incomplete(question), *problems, *_all_the_same(objects, question)])
    answer = explain(objects, question, network)
    for line in answer.lines:
        console.print(line, markup=False)
    return answer.code


def _all_the_same(objects: Objects, question: Question) -> list[str]:
    """What can be said though some objects cannot be read."""
    try:
        return [f"without what cannot be read: {explain(objects, question).lines[0]}; correct that, and ask again"]
    except UserError:
        # What names nothing may be in what cannot be read.
        return []


def explain(objects: Objects, question: Question, network: Network = Network()) -> Answer:
    """The answer to a question. Pure.

    Raises UserError naming each option that is missing or names nothing, and what is nearest.
    """
    resolver = Resolver(objects, service_network=network.services)
    problems = _incomplete(question)
    protocol = _protocol(question)
    source = _resolve(resolver.source, "--from", question.source, problems)
    destination = _resolve(resolver.destination, "--to", question.destination, problems)
    targets = _targets(resolver, question, destination, protocol, problems)
    if problems or source is None or destination is None or protocol is None:
        raise UserError(problems)
    decided = [_decided(objects.world, resolver, source, target, protocol, port) for target, port in targets]
    seen = source if isinstance(destination, Service) else decided[0].source
    asked = f"{seen} to {destination}, {_connection(protocol, targets, question, destination)}"
    notes = [*objects.notes, *_namespace_notes(objects), *resolver.notes, *_unplaced(objects, source, targets)]
    if not network.enforces:
        notes.append(
            "this cluster's network enforces no NetworkPolicy as it is set up, so that nothing is denied in fact"
        )
    by_service = isinstance(destination, Service) and network.hairpin is not False
    hairpin = _hairpin(objects.world, source, targets, protocol) if by_service else []
    unknown = [*_others(objects, source, targets), *(reason for each in decided for reason in each.unknown)]
    return _answer(asked, decided, list(dict.fromkeys(unknown)), notes, hairpin, network)


@dataclass(frozen=True)
class _Decided:
    """What becomes of a connection to one target, and why that is not known for certain."""

    source: End
    target: End
    port: str
    decision: Decision
    unknown: tuple[str, ...]


def _answer(
    asked: str, decided: list[_Decided], unknown: list[str], notes: list[str], hairpin: list[str], network: Network
) -> Answer:
    """One line that says it, then why; of several pods behind a Service one for each verdict."""
    denied = [each for each in decided if not each.decision.allowed]
    allowed = not denied and not (hairpin and network.hairpin)
    if unknown:
        words = f"not known: {asked}; NetworkPolicies that are known {'allow' if allowed else 'deny'} it"
    elif denied and len(denied) < len(decided):
        words = f"denied: {asked}; by {len(denied)} of the {len(decided)} pods behind it"
    else:
        words = f"{'allowed' if allowed else 'denied'}: {asked}"
    lines = [words]
    for verdict in dict.fromkeys(each.decision.allowed for each in decided):
        alike = [each for each in decided if each.decision.allowed == verdict]
        if len(decided) > 1 or asked.partition(" to ")[2].startswith("Service "):
            more = f", and so {len(alike) - 1} more" if len(alike) > 1 else ""
            lines.append(f"  at {alike[0].target}, {alike[0].port}{more}:")
        lines += _lines(alike[0].decision)
    code = EXIT_BAD_INPUT if unknown else EXIT_OK if allowed else EXIT_NOT_HOLDING
    return Answer((*lines, *(f"note: {note}" for note in dict.fromkeys((*unknown, *hairpin, *notes)))), code)


def _decided(world: World, resolver: Resolver, source: End, target: End, protocol: Judged, port: int) -> _Decided:
    seen = resolver.as_seen(source, target)
    decision = judge(world, seen, target, protocol, port)
    unknown = []
    missing = sorted(
        {end.pod.namespace for end in (source, target) if isinstance(end, PodEnd)}
        - {name for name, namespace in world.namespaces.items() if namespace.known}
    )
    either = {judge(replace(world, assumed=labels), seen, target, protocol, port).allowed for labels in (True, False)}
    if missing and len(either) > 1:
        unknown.append(f"it depends on labels of namespace {', '.join(missing)}: give the Namespace's object")
    match seen, target:
        case (NodeEnd(node), PodEnd(pod)) | (PodEnd(pod), NodeEnd(node)):
            if not decision.allowed and not (node and pod.node):
                unknown.append(f"a node and its own pods always reach each other: give {pod.full_name} its nodeName")
    return _Decided(seen, target, protocol if protocol == "ICMP" else f"{protocol} {port}", decision, tuple(unknown))


def _targets(
    resolver: Resolver,
    question: Question,
    destination: End | Service | None,
    protocol: Judged | None,
    problems: list[str],
) -> list[tuple[End, int]]:
    """The ends that the connection leads to, and their ports; what is wrong goes to the problems."""
    if not isinstance(destination, Service):
        port = _port(question, destination, protocol, problems)
        behind = resolver.outer(destination, question.port, protocol) if destination and protocol else None
        if isinstance(behind, Pod):
            problems.append(f"--to: {destination} leads to pod {behind.full_name} at port {port}; write that pod")
        elif behind:
            problems.append(
                f"--to: {destination} leads to {behind} at port {port}, where the source that pods see depends on"
                " the node; write the Service, or a pod behind it"
            )
        return [(destination, port)] if destination else []
    if protocol is None or (not question.port and protocol != "ICMP"):
        return []
    try:
        return [(end_of(pod), port) for pod, port in resolver.behind(destination, question.port, protocol)]
    except UnknownEndError as error:
        problems.append(one_line(f"--to: {error}"))
        return []


def _connection(
    protocol: Judged, targets: list[tuple[End, int]], question: Question, destination: End | Service
) -> str:
    if protocol == "ICMP":
        return protocol
    return f"{protocol} {question.port if isinstance(destination, Service) else targets[0][1]}"


def _hairpin(world: World, source: End, targets: list[tuple[End, int]], protocol: Judged) -> list[str]:
    """A pod that reaches itself by its own Service, where Calico filters it.

    Felix sees the packet on its way back with the pod's own address on both sides, before it is masqueraded, and asks
    its policies; by the API's rules a pod always reaches itself.
    """
    for target, port in targets:
        if source == target and not judge(world, source, target, protocol, port, filtered=True).allowed:
            return [
                f"{source} reaches itself by its own Service, which Calico (Canal) blocks and podnet lets pass: "
                f"{HAIRPIN.meaning} ({HAIRPIN.id}, {HAIRPIN.reference})"
            ]
    return []


def _others(objects: Objects, source: End, targets: list[tuple[End, int]]) -> Iterator[str]:
    """Policies of other kinds that may be about the ends."""
    pods = _pods(source, targets)
    namespaces = {pod.namespace for pod in pods}
    for other in objects.others:
        if other.namespace is None or other.namespace in namespaces or _reaches_everywhere(other):
            group = f" (of {other.group})" if other.group else ""
            yield f"{other.place}: such a policy{group} may decide too where it is in force, and is not judged here"


def _reaches_everywhere(other: OtherPolicy) -> bool:
    """Istio's in its root namespace is for all."""
    return other.kind == "AuthorizationPolicy" and other.namespace == "istio-system"


def _pods(source: End, targets: list[tuple[End, int]]) -> list[Pod]:
    return [end.pod for end in (source, *(target for target, _ in targets)) if isinstance(end, PodEnd)]


def _unplaced(objects: Objects, source: End, targets: list[tuple[End, int]]) -> list[str]:
    """Policies that name no namespace, or one that nobody knows, where their author may have meant another one."""
    known = {namespace.name for namespace in objects.namespaces} | {pod.namespace for pod in objects.pods}
    nowhere = {policy.namespace for policy in objects.policies} - known - {reading.DEFAULT_NAMESPACE}
    namespaces = sorted({pod.namespace for pod in _pods(source, targets)} - {reading.DEFAULT_NAMESPACE})
    return [
        f"{place}: names no namespace, so it is read as one of default, and isolates no pod of {', '.join(namespaces)}"
        for place in objects.unplaced
        if namespaces
    ] + [f"namespace {name}: has policies, and neither its object nor a pod of it is known" for name in sorted(nowhere)]


def _lines(decision: Decision) -> list[str]:
    lines = []
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
        written = one_line(question.protocol) or "nothing"
        problems.append(f"--protocol: {written} is not known; use {', '.join(JUDGED)}")
    if not question.port and protocol != "ICMP":
        problems.append("--port: is missing; write a number, or the name of a container's port")
    return problems


def _protocol(question: Question) -> Judged | None:
    return next((name for name in JUDGED if name == question.protocol.upper()), None)


def _resolve(find: Callable[[str], T], option: str, written: str, problems: list[str]) -> T | None:
    try:
        return find(written) if written else None
    except UnknownEndError as error:
        problems.append(one_line(f"{option}: {error}"))
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
        problems.append(one_line(f"--port: {error}"))
    return 0


def _namespace_notes(objects: Objects) -> Iterator[str]:
    """Namespaces that are known from their pods alone, or without their name as a label, where a policy asks."""
    selectors = [
        peer.namespace_selector
        for policy in objects.policies
        for rule in (*policy.ingress, *policy.egress)
        for peer in rule.peers
        if peer.namespace_selector is not None
    ]
    known = {namespace.name: namespace for namespace in objects.namespaces}
    for name in sorted({pod.namespace for pod in objects.pods} - set(known)) if selectors else ():
        yield f"namespace {name}: its object is missing, so it is taken to have no labels{objects.written * BUT_NAME}"
    if any(selector.about(NAME_LABEL) != Selector() for selector in selectors):
        if objects.written:
            yield f"API servers since 1.21 give each namespace the label {NAME_LABEL}, so it is taken to be there"
        for name, namespace in sorted(known.items()):
            if NAME_LABEL not in namespace.labels:
                yield f"namespace {name}: has no label {NAME_LABEL}, which API servers before 1.21 do not give"


def _ask(loaded: LoadedInventory) -> Objects:
    resources = ",".join((RESOURCES, *loaded.cluster.settings.network.policy_resources))
    try:
        # Everything at once: what one call shows belongs together.
        words = ("get", resources, "-A", "-o", "json", patiently("--request-timeout=8s"))
        text = remote_kubectl.capture(loaded, words)
    except CommandError as error:
        raise UserError(f"{error}; see that the cluster is up, or give files by -f") from error
    try:
        answer = json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"kubectl get: the answer is no JSON ({error}); ask again") from error
    return reading.read_cluster(answer)
