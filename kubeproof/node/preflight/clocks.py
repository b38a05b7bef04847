"""Whether the clocks of all hosts agree. Pure."""

from collections.abc import Iterator
from statistics import median_low

from kubeproof.node.finding import Finding
from kubeproof.node.preflight.inspection import Inspection

LIMIT_SECONDS = 10.0
"""kubeadm's certificates are valid from the second in which they are made (`kubeadm init` takes 23 s here, its
certificates come first, a worker joins right after it): a worker whose clock is further behind than that refuses the
API server's (kubernetes#42791). Half of it leaves room; clocks that are kept by NTP differ by milliseconds."""
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
            yield Finding("clock-skew", node.name, "has a clock that cannot be read", breaks, REMEDY, "warning")
        if reading is None:
            continue
        skew = reading.ahead - middle
        if abs(skew) - reading.uncertain > LIMIT_SECONDS:
            way = "ahead of" if skew > 0 else "behind"
            yield Finding(
                "clock-skew",
                node.name,
                f"has a clock {abs(skew):.0f} s {way} the median of all hosts",
                f"and with more than {LIMIT_SECONDS:.0f} s certificates and tokens are not valid yet, or any more",
                REMEDY,
            )
