"""Whether the clocks of all hosts agree. Pure."""

from collections.abc import Iterator
from statistics import median_low

from kubeproof.node.finding import Finding
from kubeproof.rules.before_deploy.inspection import Inspection
from kubeproof.rules.host import CLOCK_SECONDS, clock_skew

REMEDY = "run `timedatectl set-ntp true` there (with systemd-timesyncd or chrony installed), or `date --set`"


def findings(inspection: Inspection) -> Iterator[Finding]:
    """Hosts that are further than the limit from the median of all, whatever the question's way took of it.

    Of two hosts the one that is behind counts as the median: their difference is said once.
    """
    read = {name: reading for name, reading in inspection.clocks.items() if reading}
    middle = median_low([reading.ahead for reading in read.values()]) if read else 0.0
    for node, _ in inspection.answered():
        reading = inspection.clocks.get(node.name)
        if reading is None and node.name in inspection.clocks:
            breaks = "and joins fail where clocks differ"
            yield clock_skew.finding(
                node.name, "has a clock that cannot be read", REMEDY, breaks=breaks, severity="warning"
            )
        if reading is None:
            continue
        skew = reading.ahead - middle
        if abs(skew) - reading.uncertain > CLOCK_SECONDS:
            way = "ahead of" if skew > 0 else "behind"
            yield clock_skew.finding(
                node.name,
                f"has a clock {abs(skew):.0f} s {way} the median of all hosts",
                REMEDY,
                breaks=f"and beyond {CLOCK_SECONDS:.0f} s certificates and tokens are not valid yet, or any more",
            )
