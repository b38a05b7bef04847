"""Notices when somebody changes the node's network, so that a mend does not wait for the next round."""

import errno
import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator

from agents.podnet.plan import DEVICE
from agents.podnet.policy.nft import NETLINK_NETFILTER, attribute
from agents.podnet.policy.table import NAME as POLICIES

log = logging.getLogger(__name__)

GROUPS = 1 << 0 | 1 << 2 | 1 << 4 | 1 << 6
"""RTMGRP_LINK, _NEIGH, _IPV4_IFADDR, _IPV4_ROUTE (linux/rtnetlink.h)."""
NFTABLES_GROUP = 1 << (7 - 1)
"""NFNLGRP_NFTABLES (linux/netfilter/nfnetlink.h): iptables-nft's changes are announced there."""
INTERESTING = frozenset({16, 17, 20, 21, 24, 25, 29})
"""RTM_NEWLINK, DELLINK, NEWADDR, DELADDR, NEWROUTE, DELROUTE, DELNEIGH."""
NEWNEIGH = 28
"""RTM_NEWNEIGH: of interest on podnet's own device only; on others ARP and bridges cause it all day."""
NDMSG = struct.Struct("=BxxxiHBB")
"""Family, interface, state, flags and type of a neighbour (linux/neighbour.h)."""
BUFFER = 65536
HEADER = struct.Struct("=IHHII")
NFGENMSG = 4
"""Bytes of nfgenmsg, which stand between header and attributes of nftables' messages."""
NFTA_TABLE = 1
"""The attribute that names the table is 1 in messages of tables, chains, rules, sets, elements and objects."""
NFT_MSG_NEWGEN = 10 << 8 | 15
"""Ends every transaction; says nothing of what was changed."""


def watch_kernel(changed: Callable[[], None], policies_changed: Callable[[], None]) -> None:
    """Call ``changed``, from threads of their own, whenever links, addresses, routes, neighbours or rules change.

    ``policies_changed`` is called instead for the nftables table with podnet's policies.
    """

    def network(data: bytes) -> None:
        if any(kind in INTERESTING or (kind == NEWNEIGH and _is_ours(body)) for kind, body in messages(data)):
            changed()

    def rules(data: bytes) -> None:
        tables = {table_of(body) for kind, body in messages(data) if kind != NFT_MSG_NEWGEN}
        if POLICIES in tables:
            policies_changed()
        if tables - {POLICIES}:
            changed()

    def lost() -> None:
        changed()
        policies_changed()

    _start(socket.NETLINK_ROUTE, GROUPS, network, changed)
    try:
        _start(NETLINK_NETFILTER, NFTABLES_GROUP, rules, lost)
    except OSError as error:
        log.info("changes of nftables are not announced here (%s); rules are checked periodically", error)


def _start(protocol: int, groups: int, heard: Callable[[bytes], None], lost: Callable[[], None]) -> None:
    listener = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, protocol)
    listener.bind((0, groups))
    threading.Thread(target=_listen, args=(listener, heard, lost), daemon=True).start()


def _listen(listener: socket.socket, heard: Callable[[bytes], None], lost: Callable[[], None]) -> None:
    while True:
        try:
            data = listener.recv(BUFFER)
        except OSError as error:
            if error.errno != errno.ENOBUFS:
                raise
            lost()  # something has changed, nobody knows what
            continue
        heard(data)


def _is_ours(body: bytes) -> bool:
    """Whether a neighbour is one of podnet's device: ARP and FDB entries there are set by podnet alone."""
    if len(body) < NDMSG.size:
        return False
    _, interface, *_ = NDMSG.unpack_from(body)
    try:
        return socket.if_indextoname(interface) == DEVICE
    except OSError:
        return False  # the device is gone, which is announced by itself


def messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of the netlink messages in one datagram (linux/netlink.h: nlmsghdr, aligned to 4 bytes)."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, *_ = HEADER.unpack_from(data, offset)
        if length < HEADER.size:
            return
        yield kind, data[offset + HEADER.size : offset + length]
        offset += (length + 3) & ~3


def table_of(body: bytes) -> str:
    """Name of the table that a message of nftables is about, "" if it names none."""
    name = attribute(body, NFGENMSG, NFTA_TABLE) or b""
    return name.rstrip(b"\0").decode(errors="replace")
