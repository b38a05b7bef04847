"""All that is asked of hosts before a deploy. Pure."""

from collections.abc import Callable, Iterable, Iterator

from kubeproof.node import changed_settings
from kubeproof.node.finding import Finding
from kubeproof.node.tunnel import tunnel_mtu
from kubeproof.rules.before_deploy import (
    clocks,
    disks,
    identity,
    kernels,
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

Findings = Callable[[Inspection], Iterable[Finding]]


def _changed_settings(inspection: Inspection) -> Iterable[Finding]:
    mtu = tunnel_mtu(inspection.cluster, inspection.hosts)
    return changed_settings.findings(inspection.cluster, inspection.in_use, mtu)


FAMILIES: tuple[Findings, ...] = (
    ownership.findings,
    _changed_settings,
    machines.findings,
    versions.findings,
    disks.findings,
    clocks.findings,
    identity.findings,
    networks.findings,
    kernels.findings,
    runtimes.findings,
    sources.findings,
    network_obstacles.findings,
    udp_paths.findings,
)


def evaluate(inspection: Inspection) -> Iterator[Finding]:
    """What does not hold."""
    for findings in FAMILIES:
        yield from findings(inspection)
