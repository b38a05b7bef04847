"""The node itself: reads its links, addresses, routes, neighbours and FDB by netlink, and changes them."""

import errno
import secrets
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from typing import Any

from pyroute2 import IPRoute  # type: ignore[import-untyped]
from pyroute2.netlink.exceptions import NetlinkError  # type: ignore[import-untyped]

from agents.podnet import differences as do
from agents.podnet.plan import BRIDGE, DEVICE, PodnetError, Route, Underlay, Vxlan

AF_BRIDGE = 7
"""Address family of FDB entries (linux/socket.h)."""
NTF_SELF = 2
"""An FDB entry of the device itself, not of a bridge that it is a port of (linux/neighbour.h)."""
NUD_PERMANENT = 0x80
RTNH_F_ONLINK = 4
RT_TABLE_MAIN = 254
RTPROT_KERNEL = 2
RTPROT_BOOT = 3
"""What `ip route add` sets, and flannel too: such a route is shown without "proto" (linux/rtnetlink.h)."""
IFF_UP = 1


class Host:
    """The network namespace that podnet runs in. Raises PodnetError where netlink refuses."""

    def __init__(self, ipr: IPRoute | None = None) -> None:
        self._ipr = IPRoute() if ipr is None else ipr

    def close(self) -> None:
        self._ipr.close()

    def underlay(self, address: IPv4Address) -> Underlay:
        """The interface that carries ``address``; PodnetError if none does."""
        with _refused("cannot read this node's addresses"):
            for message in self._ipr.get_addr(family=socket.AF_INET):
                if message.get_attr("IFA_LOCAL") != str(address):
                    continue
                if (link := self._link(index=message["index"])) is not None:
                    return Underlay(message["index"], _name(link), address, link.get_attr("IFLA_MTU"))
        raise PodnetError(
            f"no interface of this node has its InternalIP {address}: give kubelet --node-ip=ADDRESS with an address "
            "that the other nodes reach (a node with several interfaces needs it)"
        )

    def observe(self) -> do.Observed:
        with _refused("cannot read this node's network"):
            device, bridge = self._link(ifname=DEVICE), self._link(ifname=BRIDGE)
            return do.Observed(
                device=None if device is None else self._device(device),
                bridge=None if bridge is None else self._bridge(bridge),
            )

    def device_mac(self) -> str:
        """MAC of the VXLAN device; PodnetError if somebody deleted it meanwhile."""
        link = self._link(ifname=DEVICE)
        if link is None:
            raise PodnetError(f"{DEVICE} has just been deleted; podnet makes it again")
        return str(link.get_attr("IFLA_ADDRESS"))

    def create_device(self, action: do.CreateDevice, mac: str | None) -> None:
        """Make the VXLAN device with this MAC, or a random one."""
        vxlan = action.vxlan
        with _refused(f"{action} failed (is there another VXLAN device with this VNI and port?)"):
            self._ipr.link(
                "add",
                ifname=DEVICE,
                kind="vxlan",
                mtu=action.mtu,
                # Given explicitly, since udev replaces a MAC that the kernel chose, some time after it was published.
                address=mac or random_mac(),
                vxlan_id=vxlan.vni,
                vxlan_port=vxlan.port,
                vxlan_local=str(vxlan.local),
                vxlan_link=vxlan.underlay,
                vxlan_learning=vxlan.learning,
            )

    def apply(self, action: do.Action) -> None:
        """Carry out one difference. Raises PodnetError with the action and the kernel's reason if it fails."""
        with _refused(f"{action} failed"):
            match action:
                case do.CreateDevice():
                    self.create_device(action, None)
                case do.DeleteLink(name):
                    self._ipr.link("del", index=self._index(name))
                case do.SetMtu(mtu):
                    self._ipr.link("set", index=self._index(), mtu=mtu)
                case do.SetUp():
                    self._ipr.link("set", index=self._index(), state="up")
                case do.Set(entry):
                    self._change("replace", entry)
                case do.Delete(entry):
                    self._change("del", entry)

    def _change(self, command: str, entry: do.Entry) -> None:
        match entry:
            case Route():
                self._route(command, entry)
            case do.Neighbour(address, mac):
                self._neighbour(command, family=socket.AF_INET, dst=str(address), lladdr=mac)
            case do.FdbEntry(mac, node):
                # Not pyroute2's fdb("append"): VXLAN appends no second destination to a MAC, only "replace" changes it.
                self._neighbour(command, family=AF_BRIDGE, lladdr=mac, dst=str(node), flags=NTF_SELF)
            case IPv4Interface():
                self._address("add" if command == "replace" else command, entry)

    def _address(self, command: str, address: IPv4Interface) -> None:
        self._ipr.addr(command, index=self._index(), address=str(address.ip), prefixlen=address.network.prefixlen)

    def _route(self, command: str, route: Route) -> None:
        gateway = {} if route.gateway is None else {"gateway": str(route.gateway)}
        self._ipr.route(
            command,
            dst=str(route.destination),
            oif=self._index(),
            table=RT_TABLE_MAIN,
            proto=RTPROT_BOOT,
            flags=RTNH_F_ONLINK if route.onlink else 0,
            **gateway,
        )

    def _neighbour(self, command: str, **entry: Any) -> None:
        self._ipr.neigh(command, ifindex=self._index(), state=NUD_PERMANENT, **entry)

    def _device(self, link: Any) -> do.Device:
        index = link["index"]
        return do.Device(
            vxlan=_vxlan(link),
            mac=link.get_attr("IFLA_ADDRESS"),
            mtu=link.get_attr("IFLA_MTU"),
            up=bool(link["flags"] & IFF_UP),
            addresses=self._addresses(index),
            routes=frozenset(self._routes(index)),
            neighbours=frozenset(self._neighbours(index)),
            fdb=frozenset(self._fdb_entries(index)),
        )

    def _bridge(self, link: Any) -> do.Bridge:
        index = link["index"]
        ports = (_name(port) for port in self._ipr.get_links() if port.get_attr("IFLA_MASTER") == index)
        return do.Bridge(self._addresses(index), tuple(sorted(ports)))

    def _addresses(self, index: int) -> frozenset[IPv4Interface]:
        messages = (m for m in self._ipr.get_addr(family=socket.AF_INET) if m["index"] == index)
        return frozenset(IPv4Interface((m.get_attr("IFA_LOCAL"), m["prefixlen"])) for m in messages)

    def _routes(self, index: int) -> Iterable[Route]:
        for message in self._ipr.get_routes(family=socket.AF_INET, table=RT_TABLE_MAIN):
            if message.get_attr("RTA_OIF") != index or message["proto"] == RTPROT_KERNEL:
                continue
            gateway = message.get_attr("RTA_GATEWAY")
            yield Route(
                IPv4Network((message.get_attr("RTA_DST") or "0.0.0.0", message["dst_len"])),  # noqa: S104 (default route)
                None if gateway is None else IPv4Address(gateway),
                bool(message["flags"] & RTNH_F_ONLINK),
            )

    def _neighbours(self, index: int) -> Iterable[do.Neighbour]:
        for message in self._ipr.get_neighbours(family=socket.AF_INET):
            mac = message.get_attr("NDA_LLADDR")
            if message["ifindex"] == index and mac:
                permanent = bool(message["state"] & NUD_PERMANENT)
                yield do.Neighbour(IPv4Address(message.get_attr("NDA_DST")), mac, permanent)

    def _fdb_entries(self, index: int) -> Iterable[do.FdbEntry]:
        for message in self._ipr.get_neighbours(family=AF_BRIDGE):
            node = message.get_attr("NDA_DST")
            if message["ifindex"] == index and node:
                permanent = bool(message["state"] & NUD_PERMANENT)
                yield do.FdbEntry(message.get_attr("NDA_LLADDR"), IPv4Address(node), permanent)

    def _index(self, name: str = DEVICE) -> int:
        # By the kernel's own look-up: this is asked once for each entry, and a list of links has one for each pod.
        try:
            return socket.if_nametoindex(name)
        except OSError:
            raise PodnetError(f"{name} has just been deleted; podnet mends this next time") from None

    def _link(self, **which: str | int) -> Any | None:
        """The link with this ``ifname`` or ``index``."""
        try:
            return next(iter(self._ipr.link("get", **which)), None)
        except NetlinkError as error:
            if error.code == errno.ENODEV:
                return None
            raise


@contextmanager
def _refused(otherwise: str) -> Iterator[None]:
    try:
        yield
    except NetlinkError as error:
        raise PodnetError(f"{otherwise}: {error.args[-1] if error.args else error}") from error


def random_mac() -> str:
    """A locally administered unicast MAC address."""
    first, *rest = secrets.token_bytes(6)
    return ":".join(f"{byte:02x}" for byte in [first & 0xFE | 0x02, *rest])


def _name(link: Any) -> str:
    return str(link.get_attr("IFLA_IFNAME"))


def _vxlan(link: Any) -> Vxlan | None:
    info = link.get_attr("IFLA_LINKINFO")
    if info is None or info.get_attr("IFLA_INFO_KIND") != "vxlan":
        return None
    data = info.get_attr("IFLA_INFO_DATA")
    return Vxlan(
        vni=data.get_attr("IFLA_VXLAN_ID"),
        port=data.get_attr("IFLA_VXLAN_PORT"),
        local=IPv4Address(data.get_attr("IFLA_VXLAN_LOCAL") or 0),
        underlay=data.get_attr("IFLA_VXLAN_LINK") or 0,
        learning=bool(data.get_attr("IFLA_VXLAN_LEARNING")),
    )
