"""A plan for people: host by host, what would change and why. Pure."""

from collections.abc import Iterable, Iterator

from kubeproof.deploy.run_report import Change


def lines(changes: Iterable[Change], hosts: Iterable[str]) -> Iterator[str]:
    """Lines for each host that would be changed, in the order of ``hosts``."""
    changes = tuple(changes)
    for host in hosts:
        of_host = [change for change in changes if host in (*change.hosts, *change.maybe)]
        if of_host:
            yield host
        for change in of_host:
            yield f"  {change.operation}{'' if host in change.hosts else ' (perhaps)'}"
            yield from (f"      {line}" for line in change.reasons.get(host, ()))
