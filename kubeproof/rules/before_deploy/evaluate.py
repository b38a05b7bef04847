"""All that is asked of hosts before a deploy. Pure."""

from collections.abc import Iterator

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
