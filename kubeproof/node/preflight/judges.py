"""All who judge hosts. One more is one line here. Pure."""

from collections.abc import Callable, Iterable, Iterator

from kubeproof.node import changed_settings
from kubeproof.node.finding import Finding
from kubeproof.node.preflight import (
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
from kubeproof.node.preflight.inspection import Inspection
from kubeproof.node.tunnel import tunnel_mtu

Judge = Callable[[Inspection], Iterable[Finding]]


def _changed_settings(inspection: Inspection) -> Iterable[Finding]:
    mtu = tunnel_mtu(inspection.cluster, inspection.hosts)
    return changed_settings.findings(inspection.cluster, inspection.in_use, mtu)


JUDGES: tuple[Judge, ...] = (
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


def judged(inspection: Inspection, judges: Iterable[Judge] = JUDGES) -> Iterator[Finding]:
    """What all of them find."""
    for judge in judges:
        yield from judge(inspection)
