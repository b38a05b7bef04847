"""All that is asked of hosts before a deploy. Pure."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from kubeproof.node.finding import Finding
from kubeproof.rules.before_deploy import (
    clocks,
    disks,
    identity,
    kernels,
    left_out,
    machines,
    network_obstacles,
    networks,
    ownership,
    runtimes,
    sources,
    udp_paths,
    versions,
)
from kubeproof.rules.before_deploy.inspection import Inspection

FAMILIES = (
    *(left_out, ownership, machines, versions, disks, clocks, identity, networks, kernels, runtimes, sources),
    *(network_obstacles, udp_paths),
)


def evaluate(inspection: Inspection) -> Iterator[Finding]:
    for module in FAMILIES:
        yield from module.findings(inspection)


@dataclass(frozen=True)
class Verdict:
    """Findings by what is to be done about them, each once."""

    errors: tuple[Finding, ...] = ()
    warnings: tuple[Finding, ...] = ()
    ignored: tuple[Finding, ...] = ()

    def shown(self) -> list[str]:
        """What does not stop anything: a line for each warning, and a short one for each that is ignored."""
        ignored = [f"[ignored] {f'{item.name} {item.host}'.rstrip()}: {item.found}" for item in self.ignored]
        return [*map(str, self.warnings), *ignored]

    def refusal(self, *, ignorable: bool = True) -> list[str]:
        """A line for each error and one that sums them up; empty if there is none."""
        if not self.errors:
            return []
        number = len(self.errors)
        count = f"{number} error{'s' if number > 1 else ''}"
        otherwise = ", or name it in ignore_findings" if ignorable else ""
        end = f"preflight: {count}, nothing has been changed on any host; correct what is named{otherwise}"
        return [*map(str, self.errors), end]


def verdict(findings: Iterable[Finding], ignored: Collection[str], hosts: Sequence[str] = ()) -> Verdict:
    """Sort findings by what is to be done about them, and those by host: of none first, of several last."""
    order = {"": -1, **{name: place for place, name in enumerate(hosts)}}
    found = sorted(dict.fromkeys(findings), key=lambda item: order.get(item.host, len(order)))
    heeded = [item for item in found if item.name not in ignored]
    return Verdict(
        errors=tuple(item for item in heeded if item.severity == "error"),
        warnings=tuple(item for item in heeded if item.severity == "warning"),
        ignored=tuple(item for item in found if item.name in ignored),
    )
