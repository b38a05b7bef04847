"""What a run of pyinfra did, or would do, read from the events that it tells. Pure."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

FILE = "KUBEPROOF_EVENTS"
"""Environment variable with the path of the file that events are written to; a line of JSON for each."""
ANSWERS = "KUBEPROOF_ANSWERS"
"""Environment variable with the number of the descriptor that the parent process answers on."""
ASKED = "asked for a sudo password"
"""The event that is answered with a line: the password, or nothing."""


@dataclass(frozen=True)
class Change:
    """An operation and the hosts that it changed, or would change; ``maybe`` are those where a condition decides."""

    operation: str
    hosts: tuple[str, ...]
    maybe: tuple[str, ...] = ()
    reasons: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Why, by host: lines for people, where the operation has said so in a dry run."""


@dataclass(frozen=True)
class Report:
    changes: tuple[Change, ...] = ()
    failures: Mapping[str, str] = field(default_factory=dict)
    """Why each of the hosts failed that did, as far as it is known."""
    refusal: tuple[str, ...] = ()
    """What the deploy refused before it changed anything, a line for each problem."""
    broken: str = ""
    changed_keys: tuple[str, ...] = ()
    """Hosts that have another SSH host key than is known of them."""
    is_complete: bool = False


def read(lines: Iterable[str]) -> Report:
    """Read the events of a run, a line of JSON for each (kubeproof.deploy.run_events)."""
    told: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        event = json.loads(line)
        told[event["event"]].append(event)
    why = {event["host"]: event["why"] for event in reversed(told["failed"])}
    failed = told["end"][0]["failed"] if told["end"] else {}
    return Report(
        changes=tuple(_changes(told["operation"], told["reason"])),
        failures={host: why.get(host, said) for host, said in failed.items()},
        refusal=tuple(line for event in told["refused"] for line in event["lines"]),
        broken="".join(event["why"] for event in told["broken"]),
        changed_keys=tuple(dict.fromkeys(event["host"] for event in told["host key changed"])),
        is_complete=bool(told["end"]),
    )


def _changes(operations: Iterable[Mapping[str, Any]], reasons: Iterable[Mapping[str, Any]]) -> Iterator[Change]:
    why: dict[str, dict[str, tuple[str, ...]]] = defaultdict(dict)
    for reason in reasons:
        why[reason["operation"]][reason["host"]] = tuple(reason["lines"])
    for item in operations:
        if item["hosts"] or item["maybe"]:
            yield Change(item["name"], tuple(item["hosts"]), tuple(item["maybe"]), why.get(item["hash"], {}))


def plan_lines(changes: Iterable[Change], hosts: Iterable[str]) -> Iterator[str]:
    """What would change and why, for each host that would be changed, in the order of ``hosts``."""
    changes = tuple(changes)
    for host in hosts:
        of_host = [change for change in changes if host in (*change.hosts, *change.maybe)]
        if of_host:
            yield host
        for change in of_host:
            yield f"  {change.operation}{'' if host in change.hosts else ' (perhaps)'}"
            yield from (f"      {line}" for line in change.reasons.get(host, ()))


def left_out_line(names: Sequence[str], leader: str) -> str:
    """What it means that --limit has left hosts out."""
    more = ", so objects of the cluster are not looked at and nodes not waited for" if leader in names else ""
    return f"left out by --limit: {', '.join(names)}{more}; ./inv plan without it tells what they lack"


def grouped(reasons_by_host: Mapping[str, str]) -> str:
    """Hosts with their reasons in one line, those with the same reason together."""
    together: dict[str, list[str]] = defaultdict(list)
    for host, reason in reasons_by_host.items():
        together[reason].append(host)
    return "; ".join(", ".join(hosts) + (f" ({reason})" if reason else "") for reason, hosts in together.items())


def shortened(said: Sequence[str]) -> str:
    """Of lines about an error the first, and if more are announced the last of them."""
    return f"{said[0]} {said[-1]}" if said[1:] and said[0].endswith(":") else "".join(said[:1])
