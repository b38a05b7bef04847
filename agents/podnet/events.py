"""Notices when somebody changes the node's network, so that a mend does not wait for the next round."""

import errno
import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator

log = logging.getLogger(__name__)

NETLINK_NETFILTER = 12
GROUPS = 1 << 0 | 1 << 2 | 1 << 4 | 1 << 6
"""RTMGRP_LINK, _NEIGH, _IPV4_IFADDR, _IPV4_ROUTE (linux/rtnetlink.h)."""
NFTABLES_GROUP = 1 << (7 - 1)
"""NFNLGRP_NFTABLES (linux/netfilter/nfnetlink.h): iptables-nft's changes are announced there."""
INTERESTING = frozenset({16, 17, 20, 21, 24, 25, 29})
"""RTM_NEWLINK, DELLINK, NEWADDR, DELADDR, NEWROUTE, DELROUTE, DELNEIGH. Not NEWNEIGH: ARP itself causes it all day."""
BUFFER = 65536
HEADER = struct.Struct("=IHHII")


def watch_kernel(changed: Callable[[], None]) -> None:
    """Call ``changed``, from threads of their own, whenever links, addresses, routes, neighbours or rules change."""
    _start(socket.NETLINK_ROUTE, GROUPS, INTERESTING, changed)
    try:
        _start(NETLINK_NETFILTER, NFTABLES_GROUP, None, changed)
    except OSError as error:
        log.info("changes of nftables are not announced here (%s); rules are checked periodically", error)


def _start(protocol: int, groups: int, types: frozenset[int] | None, changed: Callable[[], None]) -> None:
    listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    listener.bind((0, groups))
    threading.Thread(target=_listen, args=(listener, types, changed), daemon=True).start()


def _listen(listener: socket.socket, types: frozenset[int] | None, changed: Callable[[], None]) -> None:
    while True:
        try:
            data = listener.recv(BUFFER)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            changed()  # messages were lost: something has changed, nobody knows what
            continue
        if types is None or not types.isdisjoint(message_types(data)):
            changed()


def message_types(data: bytes) -> Iterator[int]:
    """Types of the netlink messages in one datagram (linux/netlink.h: nlmsghdr, aligned to 4 bytes)."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, *_ = HEADER.unpack_from(data, offset)
        if length < HEADER.size:
            return
        yield kind
        offset += (length + 3) & ~3
