"""What has to be done to turn the network that is into the one that should be. Pure."""

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Interface
from typing import Any, TypeVar

from agents.podnet.plan import BRIDGE, DEVICE, Plan, PodnetError, Route, Vxlan


@dataclass(frozen=True)
class Neighbour:
    """An ARP entry of the VXLAN device."""

    address: IPv4Address
    mac: str
    permanent: bool = True

    def __str__(self) -> str:
        return f"{self.address} is at {self.mac}"


@dataclass(frozen=True)
class FdbEntry:
    """A forwarding entry of the VXLAN device: frames to ``mac`` go to the node with the address ``node``."""

    mac: str
    node: IPv4Address
    permanent: bool = True

    def __str__(self) -> str:
        return f"{self.mac} dst {self.node}"


@dataclass(frozen=True)
class Device:
    """The VXLAN device as it is; ``vxlan`` is None if what has its name is another kind of device."""

    vxlan: Vxlan | None
    mac: str
    mtu: int
    up: bool
    addresses: frozenset[IPv4Interface] = frozenset()
    routes: frozenset[Route] = frozenset()
    neighbours: frozenset[Neighbour] = frozenset()
    fdb: frozenset[FdbEntry] = frozenset()


@dataclass(frozen=True)
class Bridge:
    """cni0 as it is; ``ports`` are the names of the interfaces attached to it."""

    addresses: frozenset[IPv4Interface]
    ports: tuple[str, ...] = ()


@dataclass(frozen=True)
class Observed:
    """The parts of a node's network that podnet looks after, as they are."""

    device: Device | None = None
    bridge: Bridge | None = None


@dataclass(frozen=True)
class DeleteLink:
    name: str
    reason: str = field(compare=False, default="")

    def __str__(self) -> str:
        return f"delete {self.name}: {self.reason}"


@dataclass(frozen=True)
class CreateDevice:
    vxlan: Vxlan
    mtu: int

    def __str__(self) -> str:
        return f"create {DEVICE}: VNI {self.vxlan.vni}, UDP {self.vxlan.port}, local {self.vxlan.local}, MTU {self.mtu}"


@dataclass(frozen=True)
class SetMtu:
    mtu: int

    def __str__(self) -> str:
        return f"set {DEVICE} MTU {self.mtu}"


@dataclass(frozen=True)
class SetUp:
    def __str__(self) -> str:
        return f"set {DEVICE} up"


Entry = IPv4Interface | Route | Neighbour | FdbEntry
"""What the VXLAN device has."""


@dataclass(frozen=True)
class Set:
    entry: Entry

    def __str__(self) -> str:
        return f"set {_told(self.entry)}"


@dataclass(frozen=True)
class Delete:
    entry: Entry

    def __str__(self) -> str:
        return f"delete {_told(self.entry)}"


E = TypeVar("E", IPv4Interface, Route, Neighbour, FdbEntry)
Action = DeleteLink | CreateDevice | SetMtu | SetUp | Set | Delete


def _told(entry: Entry) -> str:
    match entry:
        case Route():
            return f"route {entry}"
        case Neighbour():
            return f"ARP entry {entry}"
        case FdbEntry():
            return f"FDB entry {entry}"
        case _:
            return f"address {entry} of {DEVICE}"


def differences(plan: Plan, observed: Observed) -> list[Action]:
    """Actions in an order in which each can succeed; none if all is as planned."""
    actions: list[Action] = []
    device = observed.device
    if device is not None and (reason := unfit(plan, device)):
        actions.append(DeleteLink(DEVICE, reason))
        device = None
    if device is None:
        actions.append(CreateDevice(plan.vxlan, plan.mtu))
        device = Device(plan.vxlan, mac="", mtu=plan.mtu, up=False)
    if device.mtu != plan.mtu:
        actions.append(SetMtu(plan.mtu))
    actions += _changes(device.addresses, {plan.address}, lambda address: address)
    if not device.up:
        actions.append(SetUp())
    # Where a packet of a new node goes is known before the route that sends it there.
    actions += _changes(device.fdb, {FdbEntry(mac, node) for mac, node in plan.fdb.items()}, lambda entry: entry.mac)
    actions += _neighbours(plan, device)
    # A device that is down has no routes, so all of them are set.
    actions += _changes(device.routes if device.up else set(), plan.routes, lambda route: route.destination)
    return actions


def unfit(plan: Plan, device: Device) -> str:
    """Why a VXLAN device has to be made anew; "" if it fits. These attributes cannot be changed on a device."""
    found, wanted = device.vxlan, plan.vxlan
    if found is None:
        return "it is not a VXLAN device"
    names = ("vni", "port", "local", "underlay", "learning")
    changed = [
        f"{name} is {getattr(found, name)}, not {getattr(wanted, name)}"
        for name in names
        if getattr(found, name) != getattr(wanted, name)
    ]
    return ", ".join(changed)


def stale_bridge(plan: Plan, bridge: Bridge | None) -> list[Action]:
    """Deal with a cni0 of an earlier cluster, which the bridge plugin refuses to use (kubernetes#39557).

    Raises PodnetError if pods are still attached to it: deleting it would cut them off behind the back of their owner.
    """
    if bridge is None or not bridge.addresses or plan.gateway in bridge.addresses:
        return []
    found = ", ".join(sorted(str(address) for address in bridge.addresses))
    if bridge.ports:
        raise PodnetError(
            f"{BRIDGE} has {found}, left from an earlier cluster; this node's pods need {plan.gateway}. Interfaces of "
            f"running pods are attached to it ({', '.join(sorted(bridge.ports))}): end these pods (kubectl drain, or "
            f"docker rm of leftovers), or cut them off with `ip link delete {BRIDGE}`; podnet then goes on by itself"
        )
    return [DeleteLink(BRIDGE, f"it has {found} of an earlier cluster, not {plan.gateway}, and no pod uses it")]


def _neighbours(plan: Plan, device: Device) -> Iterator[Action]:
    # Entries that the kernel made by itself (multicast, failed look-ups) age by themselves.
    present = {entry for entry in device.neighbours if entry.permanent}
    wanted = {Neighbour(address, mac) for address, mac in plan.neighbours.items()}
    return _changes(present, wanted, lambda entry: entry.address)


def _changes(present: AbstractSet[E], wanted: AbstractSet[E], key: Callable[[E], Any]) -> Iterator[Action]:
    """Delete what has a key that nothing wanted has, then set what is wanted and not there."""
    keys = {key(entry) for entry in wanted}
    for entry in sorted(present, key=key):
        if key(entry) not in keys:
            yield Delete(entry)
    for entry in sorted(wanted - present, key=key):
        yield Set(entry)
