"""Sets of numbers (IPv4 addresses, ports) as sorted inclusive ranges that neither overlap nor touch. Pure.

Ranges and not CIDRs: nftables' interval sets take them as they are, and fewer are needed.
"""

from bisect import bisect_right
from collections.abc import Iterable
from ipaddress import IPv4Network

Spans = tuple[tuple[int, int], ...]
ALL_ADDRESSES: Spans = ((0, 2**32 - 1),)
ALL_PORTS: Spans = ((0, 2**16 - 1),)


def merge(ranges: Iterable[tuple[int, int]]) -> Spans:
    """The union of inclusive ranges.

    >>> merge([(7, 9), (1, 2), (3, 4)])
    ((1, 4), (7, 9))
    """
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(merged)


def subtract(spans: Spans, holes: Spans) -> Spans:
    """What is in ``spans`` and not in ``holes``.

    >>> subtract(((1, 9),), ((3, 4), (9, 9)))
    ((1, 2), (5, 8))
    """
    left: list[tuple[int, int]] = []
    for first, last in spans:
        for hole_first, hole_last in holes:
            if hole_last < first or hole_first > last:
                continue
            if first < hole_first:
                left.append((first, hole_first - 1))
            first = hole_last + 1
        if first <= last:
            left.append((first, last))
    return tuple(left)


def contains(spans: Spans, number: int) -> bool:
    """Whether a number is in one of the ranges.

    >>> contains(((1, 2), (5, 8)), 3)
    False
    """
    found = bisect_right(spans, number, key=lambda span: span[0])
    return found > 0 and number <= spans[found - 1][1]


def of_network(network: IPv4Network) -> tuple[int, int]:
    return int(network.network_address), int(network.broadcast_address)
