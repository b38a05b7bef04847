"""Counters of the kernel and entries of conntrack that a trace has before and after. Pure."""

import re
from collections.abc import Iterator, Mapping

TELLING = re.compile(
    r"Discards|InErrors|InErrs|Csum|NoRoutes|(?<!DeferAccept)Drop|Prune|Filter|Unreach|NoPorts|AddrErr|HdrErr|TimeExc|(Reasm|Frag)Fails"
)
"""Those of /proc/net/snmp and /proc/net/netstat that say that something did not arrive; others move all the
time, as that of connections without data yet does."""
TELLING_OF_CONNTRACK = ("invalid", "insert_failed", "drop", "early_drop", "error")
_NUMBER = re.compile(r"(\w+)=(\d+)")


def moved(before: Mapping[str, int], after: Mapping[str, int]) -> Iterator[str]:
    """A line for each counter that has another value."""
    for name, value in after.items():
        if (more := value - before.get(name, value)) > 0:
            yield f"{name} +{more}"


def of_protocols(text: str) -> dict[str, int]:
    """Telling counters of /proc/net/snmp and /proc/net/netstat, such as "TcpExt.ListenDrops"."""
    found: dict[str, int] = {}
    lines = [line.split() for line in text.splitlines() if line.strip()]
    for names, values in zip(lines[::2], lines[1::2], strict=False):
        if names[0] != values[0]:
            continue
        pairs = zip(names[1:], values[1:], strict=False)
        found |= {f"{names[0].rstrip(':')}.{name}": int(value) for name, value in pairs if TELLING.search(name)}
    return found


def of_conntrack(text: str) -> dict[str, int]:
    """Telling counters of `conntrack -S`, of all processors together."""
    found = dict.fromkeys((f"conntrack.{name}" for name in TELLING_OF_CONNTRACK), 0)
    for name, value in _NUMBER.findall(text):
        if name in TELLING_OF_CONNTRACK:
            found[f"conntrack.{name}"] += int(value)
    return found
