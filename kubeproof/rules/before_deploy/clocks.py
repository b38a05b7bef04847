"""Whether the clocks of all hosts agree. Pure."""

from collections.abc import Iterator
from statistics import median_low

from kubeproof.config.cluster import Node
from kubeproof.node.finding import Finding
from kubeproof.rules.before_deploy.inspection import Inspection, of_each_host
from kubeproof.rules.host import CLOCK_SECONDS, clock_skew
from kubeproof.state.node import NodeState

REMEDY = "run `timedatectl set-ntp true` there (with systemd-timesyncd or chrony installed), or `date --set`"


@of_each_host
def findings(inspection: Inspection, node: Node, _: NodeState) -> Iterator[Finding]:
    """Hosts that are further than the limit from the median of all, whatever the question's way took of it.

    Of two hosts the one that is behind counts as the median: their difference is said once.
    """
    read = {name: reading for name, reading in inspection.clocks.items() if reading}
    if node.name not in read:
        if node.name in inspection.clocks:
            breaks = "and joins fail where clocks differ"
            yield clock_skew.finding("has a clock that cannot be read", REMEDY, breaks=breaks, severity="warning")
        return
    skew = read[node.name].ahead - median_low([reading.ahead for reading in read.values()])
    if abs(skew) - read[node.name].uncertain > CLOCK_SECONDS:
        way = "ahead of" if skew > 0 else "behind"
        yield clock_skew.finding(
            f"has a clock {abs(skew):.0f} s {way} the median of all hosts",
            REMEDY,
            breaks=f"and beyond {CLOCK_SECONDS:.0f} s certificates and tokens are not valid yet, or any more",
        )
