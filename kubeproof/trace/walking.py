"""The walk of one packet through namespaces, bridges and tunnels, there and back, in the kernel's order. Pure.

What the kernel does is told where it is done; sources are net/ipv4 (route.c, fib_frontend.c, ip_output.c),
net/bridge (br_input.c, br_forward.c, br_netfilter_hooks.c) and drivers/net/vxlan of Linux.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import NoReturn

from kubeproof.networks.network import VXLAN_OVERHEAD
from kubeproof.state.model import Link, Neighbour, Route
from kubeproof.trace import routing
from kubeproof.trace.model import OUTSIDE, Direction, End, Hop, Outcome, Packet, Place, Start, Walk
from kubeproof.trace.netfilter import Firewall
from kubeproof.trace.passing import ESTABLISHED, INVALID, NEW, Chance, EndedError, Passing, Tracked, undecided
from kubeproof.trace.world import Node, Space, UnknownError, World

LONGEST = 200
"""Hops after which a packet goes round in circles."""
BROADCAST_MAC = "ff:ff:ff:ff:ff:ff"
REFUSED, IN_PIECES = "larger packets are refused by ICMP", "what is larger with its tunnel is sent in pieces"
LOST = "larger frames are dropped, and nobody is told"
"""By the end of a veth and by the port of a bridge (net/core/dev.c, __is_skb_forwardable)."""
ANY_MAC = "00:00:00:00:00:00"
"""The FDB entry of a VXLAN device for everything that no other entry is for."""
_RESOLVED = {"PERMANENT", "REACHABLE", "STALE", "DELAY", "PROBE", "NOARP"}
_WAYLESS = ("ipip", "gre", "sit", "wireguard", "tun", "macvlan", "ipvlan", "geneve", "vti", "xfrm")
"""Kinds of links behind which nobody looks here."""


@dataclass(frozen=True)
class _Inner:
    """A packet that is inside of a tunnel."""

    packet: Packet
    vni: int | None
    mac: str


class _DeliveredError(Exception):
    """The direction came to its end: delivered, or on its way outside."""


class Walker:
    """Walks one way."""

    def __init__(self, world: World, start: Start, chance: Chance) -> None:
        self.world = world
        self.start = start
        self.chance = chance
        self.packet = start.packet
        self.mark = 0
        self.port_in = ""
        """Port of the bridge by which it came in, which iptables sees in one namespace also where it is routed then."""
        self.direction = Direction.FORWARD
        self.inner: _Inner | None = None
        self.tracked: Tracked | None = None
        """What conntrack holds of the packet while it is in one namespace."""
        self.state = NEW
        self.connections: dict[int, list[Tracked]] = {}
        self.hops: list[Hop] = []
        self.notes: list[str] = []
        self.smallest: tuple[int, str] | None = None
        self.most: int | None = None
        """Bytes of the largest packet of this direction that has passed so far."""
        self.receiver: Space | None = None

    def walk(self) -> Walk:
        """There and back. Never raises for what becomes of the packet."""
        there = self._direction(self._set_off)
        back = None
        if there.end is End.ARRIVED:
            self._turn()
            back = self._direction(self._answer)
        if self.smallest:
            size, where = self.smallest
            self.notes.append(f"smallest MTU on the way: {size} ({where}); the predicted packet is smaller")
        notes = tuple(dict.fromkeys(self.notes))
        return Walk(tuple(self.hops), there, back, self.chance.probability, notes)

    def _direction(self, go: Callable[[], None]) -> Outcome:
        try:
            go()
        except _DeliveredError:
            return Outcome(End.ARRIVED)
        except EndedError as ended:
            return ended.outcome
        except UnknownError as error:
            return Outcome(End.UNDECIDED, str(error))
        return Outcome(End.ARRIVED)

    # Both ends

    def _set_off(self) -> None:
        if self.start.node == OUTSIDE:
            self._from_outside("sent by a host outside of the cluster")
        self._send(self._start_space())

    def _start_space(self) -> Space:
        name, pod = self.start.node, self.start.pod
        node = self.world.nodes.get(name)
        if node is None:
            reason = self.world.unreachable.get(name, "it is no node of the inventory")
            raise undecided(f"what {name or 'a node'} does is not known: {reason}")
        if pod and pod not in node.pods:
            raise undecided(f"no network namespace with the address of {pod} was found on {name}{node.why_unread}")
        return node.pods[pod] if pod else node.host

    def _turn(self) -> None:
        self.direction = Direction.REPLY
        self.packet = self.packet.reply
        self.most = None
        self._forget()

    def _forget(self) -> None:
        """What the kernel knows of a packet stays behind when it comes to another namespace, or out of a tunnel."""
        self.mark, self.tracked, self.state, self.port_in = 0, None, NEW, ""

    def _answer(self) -> None:
        if self.receiver is not None:
            self._send(self.receiver)
            return
        self._from_outside("answered by a host outside of the cluster, if it does")

    def _from_outside(self, what: str) -> NoReturn:
        """From the machine that the state was collected on by its routes, from another host straight to a node."""
        self._hop(None, Place.NIC, what)
        packet, host = self.packet, self.world.outside
        if host is not None and host.has_address(packet.source) and packet.source != packet.destination:
            route = self._route(host, "")
            next_hop = route.via if isinstance(route.via, IPv4Address) else packet.destination
            self._to_host(next_hop, None)
        elif packet.destination in self.world.facts.pod_cidr or packet.destination in self.world.facts.service_cidr:
            raise undecided(f"whether hosts outside know a way to {packet.destination} is not known")
        self._to_host(packet.destination, None)

    def _deliver(self, space: Space) -> NoReturn:
        """The packet is for this namespace itself."""
        if self.inner is not None:
            self._decapsulate(space)
        packet = self.packet
        if self.direction is Direction.REPLY:
            self._is_expected(space)
        elif packet.protocol == "icmp":
            if space.setting("ipv4/icmp_echo_ignore_all"):
                self._end(space, Place.SOCKET, End.DROPPED, "echo requests are ignored", "icmp_echo_ignore_all = 1")
            self._hop(space, Place.SOCKET, "the kernel answers the echo request")
        else:
            self._socket(space, packet)
        self.receiver = space
        raise _DeliveredError

    def _socket(self, space: Space, packet: Packet) -> None:
        taking = (s for s in space.sockets if s.takes(packet.protocol, packet.destination, packet.destination_port))
        socket = next(taking, None)
        if socket is None:
            told = {"tcp": "RST", "sctp": "ABORT"}.get(packet.protocol, "ICMP port unreachable")
            missing = f"nothing listens on {packet.protocol} port {packet.destination_port}: the kernel answers {told}"
            self._end(space, Place.SOCKET, End.REFUSED, missing)
        self._hop(space, Place.SOCKET, f"received by what listens on {socket}", decided_by=f"socket {socket}")
        if packet.protocol == "udp":
            self.notes.append("whether the application answers a datagram is its own affair: the way back is told")

    def _is_expected(self, space: Space) -> None:
        """A reply has to come back to the sender, from the address and port that it sent to."""
        expected = self.start.packet.reply
        if self.packet == expected:
            self._hop(space, Place.SOCKET, "the answer is what the sender waits for")
            return
        self._end(
            space,
            Place.SOCKET,
            End.REFUSED,
            f"the answer comes from {self.packet.source}, but {expected.source} was asked: it is nobody's, and refused",
        )

    # What a namespace does

    def _send(self, space: Space) -> NoReturn:
        """Packets that the namespace sends itself."""
        route = self._route(space, "")
        before = self.packet, self.mark
        if self._hook(space, Place.OUTPUT, out_device=route.device or ""):
            self._from_ipvs(space)
        if (self.packet.destination, self.mark) != (before[0].destination, before[1]):
            route = self._route(space, "")
        if route.type == "local":
            self._loop_back(space)
        self._leave(space, route)

    def _loop_back(self, space: Space) -> NoReturn:
        """What the namespace sends to itself."""
        self._hook(space, Place.POSTROUTING, out_device="lo")
        self._egress(space, "lo")
        self._ingress(space, "lo")
        self._hook(space, Place.PREROUTING, in_device="lo")
        if self._hook(space, Place.INPUT, in_device="lo"):
            self._from_ipvs(space, is_input=True)
        self._deliver(space)

    def _from_ipvs(self, space: Space, *, is_input: bool = False) -> NoReturn:
        """To a real server by OUTPUT, whatever the hook was; to the node itself on as before (ip_vs_nat_xmit)."""
        route = self._route(space, "")
        if route.type != "local":
            self._hook(space, Place.OUTPUT, out_device=route.device or "")
            self._leave(space, route)
        if is_input:
            self._deliver(space)
        self._loop_back(space)

    def _receive(self, space: Space, device: str, *, filtered: bool = False) -> NoReturn:
        """A packet that came in by a device; ``filtered`` is one that the bridge sent through prerouting already."""
        if not filtered:
            self._hook(space, Place.PREROUTING, in_device=device)
        self._forward(space, device, self._route_in(space, device))

    def _route_in(self, space: Space, device: str) -> Route:
        """The route of what came in by a device; what is for the namespace itself is delivered."""
        key = routing.Key(self.packet.destination, self.packet.source, self.mark, device)
        if reason := routing.refusal(space, key):
            self._end(space, Place.RP_FILTER, End.DROPPED, reason, reason, device=device)
        route = self._route(space, device)
        if route.type == "local":
            if self._hook(space, Place.INPUT, in_device=device):
                self._from_ipvs(space, is_input=True)
            self._deliver(space)
        return route

    def _forward(self, space: Space, device: str, route: Route) -> NoReturn:
        if not space.setting("forwarding", device) or not space.setting("ipv4/ip_forward"):
            which = "ip_forward" if not space.setting("ipv4/ip_forward") else f"conf.{device}.forwarding"
            text = f"sysctl net.ipv4.{which} = 0"
            self._end(space, Place.ROUTE, End.DROPPED, f"{space} does not forward", text, device=device)
        self._hook(space, Place.FORWARD, in_device=device, out_device=route.device or "")
        self._leave(space, route)

    def _route(self, space: Space, device: str) -> Route:
        packet = self.packet
        key = routing.Key(packet.destination, packet.source, self.mark, device)
        route = routing.lookup(space, key, self.chance)
        if route is None:
            told = f"there is no route to {packet.destination}{_why_none(space, 'veth') if space.pod else ''}"
            self._end(space, Place.ROUTE, End.REFUSED, told, owner="pod network")
        if route.type in ("unreachable", "blackhole", "prohibit"):
            end = End.DROPPED if route.type == "blackhole" else End.REFUSED
            told = f"the route to {packet.destination} leads nowhere"
            self._end(space, Place.ROUTE, end, told, routing.text(route))
        if route.type not in ("unicast", "local"):
            raise undecided(f"{packet.destination} is a {route.type} address", routing.text(route))
        own = route.type == "local"
        what = (
            f"{packet.destination} is an own address"
            if own
            else f"out by {route.device}{f' via {route.via}' if route.via else ''}"
        )
        self._hop(space, Place.ROUTE, what, decided_by=routing.text(route), device=route.device or "")
        return route

    def _hook(
        self,
        space: Space,
        hook: Place,
        *,
        in_device: str = "",
        out_device: str = "",
        port_out: str = "",
        next_hop: IPv4Address | None = None,
    ) -> bool:
        """Whether IPVS took the packet there, and sends it on."""
        if hook in (Place.PREROUTING, Place.OUTPUT) and in_device != "lo" and not self._is_scheduled:
            self._track(space)
        was_scheduled = self._is_scheduled
        before = self.chance.probability
        passing = self._passing(space, hook, in_device, out_device)
        passing.port_in, passing.port_out = self.port_in, port_out
        passing.next_hop = next_hop or self.packet.destination
        firewall = self._firewall(space)
        with self._ending(passing, in_device):
            firewall.traverse(passing)
        self.packet, self.mark, self.tracked, self.state = (
            passing.packet, passing.mark, passing.tracked, passing.state,
        )  # fmt: skip
        self._hook_hop(passing, self.chance.probability / before)
        return self._is_scheduled and not was_scheduled

    @property
    def _is_scheduled(self) -> bool:
        return self.tracked is not None and self.tracked.is_scheduled

    def _passing(self, space: Space, hook: Place, in_device: str, out_device: str) -> Passing:
        passing = Passing(
            space, hook, self.packet, self.chance, in_device, out_device, self.mark, self.tracked, self.state
        )
        passing.is_reply = self.direction is Direction.REPLY and self.inner is None
        return passing

    @contextmanager
    def _ending(self, passing: Passing, device: str) -> Iterator[None]:
        """Tells the hop at which rules end the way."""
        try:
            yield
        except EndedError as ended:
            told = ended.outcome
            self.packet = passing.packet
            self._hop(
                passing.space, passing.hook, told.reason, decided_by=told.decided_by, owner=told.owner, device=device
            )
            raise
        finally:
            self.notes += passing.notes

    def _ingress(self, space: Space, device: str) -> None:
        self._frame(self._passing(space, Place.INGRESS, device, ""), "ingress")

    def _egress(self, space: Space, device: str) -> None:
        self._frame(self._passing(space, Place.EGRESS, "", device), "egress")

    def _bridged(
        self, space: Space, hook: str, port_in: str = "", port_out: str = "", *, late: bool | None = None
    ) -> None:
        self._frame(self._passing(space, Place.BRIDGE, port_in, port_out), hook, late=late)

    def _frame(self, passing: Passing, hook: str, *, late: bool | None = None) -> None:
        """Chains of nftables that see frames; nothing is told of those that let it pass."""
        if passing.hook is Place.INGRESS:  # before connections are tracked
            passing.tracked, passing.state = None, INVALID
        with self._ending(passing, passing.in_device or passing.out_device):
            self._firewall(passing.space).see_frame(passing, hook, late=late)
        self.mark = passing.mark

    def _hook_hop(self, passing: Passing, probability: float) -> None:
        changes = [each for each in passing.decisions if each.what != "accepted"]
        shown = changes or passing.decisions[-1:]
        self._hop(
            passing.space,
            passing.hook,
            "; ".join(each.what for each in shown) or "passes",
            decided_by="; ".join(each.rule for each in shown),
            owner=", ".join(dict.fromkeys(each.owner for each in shown)),
            device=passing.out_device or passing.in_device,
            probability=probability,
        )

    def _firewall(self, space: Space) -> Firewall:
        known: dict[int, Firewall] = self.world.firewalls
        if id(space) not in known:
            known[id(space)] = Firewall(space, self.world.facts)
        return known[id(space)]

    def _track(self, space: Space) -> None:
        """What conntrack makes of a packet that comes into its sight."""
        known = self.connections.setdefault(id(space), [])
        packet = self.packet
        found = next((each for each in known if each.reply == packet), None)
        if found is not None and self.direction is Direction.REPLY:
            self.tracked, self.state = found, ESTABLISHED
        elif self.direction is Direction.REPLY and self.inner is None and packet.protocol != "udp":
            # A SYN-ACK or an echo reply without a request is nobody's (nf_conntrack_proto_tcp.c, tcp_new).
            self.tracked, self.state = None, INVALID
        else:
            self.tracked, self.state = Tracked(packet, packet.reply), NEW
            known.append(self.tracked)

    # Leaving

    def _leave(self, space: Space, route: Route) -> NoReturn:
        device = route.device or ""
        if route.via is not None and not isinstance(route.via, IPv4Address):
            raise undecided("the next hop is of IPv6", f"route {route}")
        next_hop = route.via or self.packet.destination
        self._hook(space, Place.POSTROUTING, out_device=device, next_hop=next_hop)
        self.tracked = None
        link = space.network.link(device)
        if link is None or not link.is_up:
            self._end(space, Place.NIC, End.DROPPED, f"{device} is {'down' if link else 'missing'}", device=device)
        if self.smallest is None or link.mtu < self.smallest[0]:
            self.smallest = link.mtu, f"{device} of {space}"
        self._measure(space, link, IN_PIECES if self.inner else REFUSED)
        self._transmit(space, link, next_hop)

    def _measure(self, space: Space, link: Link, told: str) -> None:
        """Tells where packets end that had room so far. What a trace sends has room everywhere: no link of IPv4 has an
        MTU of less than 68 bytes.
        """
        most = link.mtu - (VXLAN_OVERHEAD if self.inner else 0)
        if self.most is not None and most < self.most:
            what = f"takes {link.mtu} bytes: {told}"
            self._hop(space, Place.MTU, what, decided_by=f"mtu {link.mtu} of {link.name}", device=link.name)
        self.most = most if self.most is None else min(most, self.most)

    def _transmit(self, space: Space, link: Link, next_hop: IPv4Address) -> NoReturn:
        node = self.world.nodes[space.node]
        beyond = node.beyond(space, link) if link.kind == "veth" else None
        if link.kind == "vxlan":
            self._encapsulate(space, link, next_hop)
        if link.kind == "bridge":
            self._from_bridge(node, link, self._neighbour(node, space, link, next_hop))
        if beyond is not None:
            mac = self._neighbour(node, space, link, next_hop)
            self._egress(space, link.name)
            self._over_veth(node, beyond, mac)
        if link.kind in _WAYLESS:
            raise undecided(f"where {link.name} leads to is not known: links of kind {link.kind} are not followed")
        if link.kind == "dummy":
            self._end(space, Place.NIC, End.DROPPED, f"{link.name} is a dummy and sends nothing", device=link.name)
        self._resolve_on_wire(space, link, next_hop)
        self._egress(space, link.name)
        self._hop(space, Place.NIC, f"leaves by {link.name}", device=link.name)
        self._to_host(next_hop, space)

    def _resolve_on_wire(self, space: Space, link: Link, next_hop: IPv4Address) -> None:
        entry = _entry(space, link, next_hop)
        text = _neighbour_text(entry) if entry else ""
        resolved = entry is not None and bool(entry.states & _RESOLVED)
        if entry is not None and not resolved and self.world.node_with(next_hop) is None:
            self._end(space, Place.NEIGHBOUR, End.REFUSED, f"nobody answers ARP for {next_hop}", text, device=link.name)
        if entry is None or not entry.mac or not resolved:
            self._hop(space, Place.NEIGHBOUR, f"asks by ARP for {next_hop}", device=link.name)
            return
        self._check_mac(space, link, entry)
        self._hop(space, Place.NEIGHBOUR, f"{next_hop} is at {entry.mac}", decided_by=text, device=link.name)

    def _check_mac(self, space: Space, link: Link, entry: Neighbour) -> None:
        """A permanent entry that names another host's MAC, or nobody's."""
        node = self.world.node_with(entry.address)
        device = node.host.network.device_with(entry.address) if node else None
        if device and entry.mac != device.mac:
            wrong = f"{entry.address} is at {device.mac}, not at {entry.mac}: the frame is for nobody"
            self._end(space, Place.NEIGHBOUR, End.DROPPED, wrong, _neighbour_text(entry), device=link.name)

    def _neighbour(self, node: Node, space: Space, link: Link, next_hop: IPv4Address) -> str:
        """The MAC of a next hop behind a veth or a bridge of this node."""
        entry = _entry(space, link, next_hop)
        if entry is not None and entry.mac and entry.states & _RESOLVED:
            text = _neighbour_text(entry)
            owners = set(_macs_of(node, space, next_hop))
            if owners and entry.mac not in owners:
                right = _owner_mac(node, space, next_hop)
                wrong = f"{next_hop} is at {right}, not at {entry.mac}: the frame is for nobody"
                self._end(space, Place.NEIGHBOUR, End.DROPPED, wrong, text, device=link.name)
            self._hop(space, Place.NEIGHBOUR, f"{next_hop} is at {entry.mac}", decided_by=text, device=link.name)
            return entry.mac
        mac = _owner_mac(node, space, next_hop)
        beyond = node.beyond(space, link) if mac is None else None
        if beyond and any(beyond[0].setting("proxy_arp", device) for device in ("all", beyond[1].name)):
            mac = beyond[1].mac
        if mac is None:
            text = _neighbour_text(entry) if entry else ""
            told = f"nobody answers ARP for {next_hop} on {link.name}"
            self._end(space, Place.NEIGHBOUR, End.REFUSED, told, text, device=link.name)
        self._hop(space, Place.NEIGHBOUR, f"asks by ARP: {next_hop} is at {mac}", device=link.name)
        return mac

    # Bridges and veths

    def _over_veth(self, node: Node, end: tuple[Space, Link], mac: str) -> NoReturn:
        space, link = end
        self._hop(space, Place.VETH, f"comes out at {link.name}", device=link.name)
        self._forget()
        self._measure(space, link, LOST)
        if not link.is_up:
            self._end(space, Place.VETH, End.DROPPED, f"{link.name} is down", device=link.name)
        self._ingress(space, link.name)
        bridge = space.network.link(link.master) if link.master else None
        if bridge is not None and bridge.kind == "bridge":
            self._into_bridge(node, link, bridge, mac)
        if mac not in (link.mac, BROADCAST_MAC):
            why = ": it is another host's" if space.pod else ", which is in no bridge"
            wrong = f"the frame is for {mac}, and {link.name} is {link.mac}{why}"
            self._end(space, Place.VETH, End.DROPPED, wrong, device=link.name)
        self._receive(space, link.name)

    def _into_bridge(self, node: Node, port: Link, bridge: Link, mac: str) -> NoReturn:
        host = node.host
        if not bridge.is_up:  # which disables its ports, too
            self._end(host, Place.BRIDGE, End.DROPPED, f"{bridge.name} is down", device=bridge.name)
        if port.bridge_port and port.bridge_port.state not in ("forwarding", ""):
            told = f"port {port.name} is {port.bridge_port.state}"
            self._end(host, Place.BRIDGE, End.DROPPED, told, device=bridge.name)
        filtered = bool(host.setting("bridge/bridge-nf-call-iptables"))
        before = self.packet.destination
        self._bridged(host, "prerouting", port.name, late=False)
        if filtered:
            self.port_in = port.name
            self._hook(host, Place.PREROUTING, in_device=bridge.name)
        self._bridged(host, "prerouting", port.name, late=True)
        if self.packet.destination != before:
            mac = self._translated_at_bridge(node, port, bridge)
        elif any(link.mac == mac and link.name in (bridge.name, port.name) for link in host.network.links):
            self._into_host(host, port, bridge)
            self._receive(host, bridge.name, filtered=filtered)
        out = self._port_for(node, bridge, mac)
        self._out_of_bridge(node, bridge, port, out, mac, filtered=filtered)

    def _into_host(self, host: Space, port: Link, bridge: Link) -> None:
        self._bridged(host, "input", port.name)
        self._ingress(host, bridge.name)
        self._hop(host, Place.BRIDGE, "the frame is for the bridge itself: routed", device=bridge.name)

    def _translated_at_bridge(self, node: Node, port: Link, bridge: Link) -> str:
        """After DNAT at the bridge: bridged if the route leads back to it, else routed (br_nf_pre_routing_finish)."""
        host = node.host
        route = self._route_in(host, bridge.name)
        if route.device != bridge.name:
            self._bridged(host, "input", port.name)
            self._ingress(host, bridge.name)
            self._forward(host, bridge.name, route)
        next_hop = route.via if isinstance(route.via, IPv4Address) else self.packet.destination
        return self._neighbour(node, host, bridge, next_hop)

    def _port_for(self, node: Node, bridge: Link, mac: str) -> tuple[Link, str]:
        """The port that a frame leaves by, and what says so."""
        host = node.host
        # A permanent one is of a port's own MAC: such a frame is for the host.
        entries = (each for each in host.fdb if (each.mac, each.master) == (mac, bridge.name))
        learned = next((each for each in entries if each.state != "permanent"), None)
        if learned is not None and (link := host.network.link(learned.device)):
            return link, f"fdb {mac} dev {learned.device} master {bridge.name}"
        for port in host.network.links:
            beyond = node.beyond(host, port) if port.master == bridge.name and port.kind == "veth" else None
            if beyond is not None and beyond[1].mac == mac:
                return port, "no FDB entry: flooded to all ports"
        told = f"no port of {bridge.name} leads to {mac}"
        return self._end(host, Place.BRIDGE, End.DROPPED, told, device=bridge.name)

    def _out_of_bridge(
        self, node: Node, bridge: Link, port: Link | None, out: tuple[Link, str], mac: str, *, filtered: bool
    ) -> NoReturn:
        host, (link, text) = node.host, out
        if port is not None and link.name == port.name and not (port.bridge_port and port.bridge_port.hairpin):
            told = f"it would leave by {port.name}, by which it came in, and the port has no hairpin mode"
            self._end(host, Place.BRIDGE, End.DROPPED, told, f"bridge link {port.name}: hairpin off", device=port.name)
        if port is None:
            self._egress(host, bridge.name)
            self._bridged(host, "output", "", link.name)
            self._bridged(host, "postrouting", "", link.name)
        else:
            self._bridged(host, "forward", port.name, link.name, late=False)
            if filtered:
                self._hook(host, Place.FORWARD, in_device=bridge.name, out_device=bridge.name, port_out=link.name)
            self._bridged(host, "forward", port.name, link.name, late=True)
            self._bridged(host, "postrouting", "", link.name)
            if filtered:
                self._hook(host, Place.POSTROUTING, out_device=bridge.name, port_out=link.name)
        self._measure(host, link, LOST)
        self._egress(host, link.name)
        self._hop(
            host, Place.BRIDGE, f"leaves {bridge.name} by its port {link.name}", decided_by=text, device=link.name
        )
        beyond = node.beyond(host, link)
        if beyond is None:
            raise undecided(f"what is behind port {link.name} of {bridge.name} is not known{node.why_unread}")
        self._over_veth(node, beyond, mac)

    def _from_bridge(self, node: Node, bridge: Link, mac: str) -> NoReturn:
        """What the node itself sends out by a bridge."""
        self._out_of_bridge(node, bridge, None, self._port_for(node, bridge, mac), mac, filtered=False)

    # Tunnels and wires

    def _encapsulate(self, space: Space, link: Link, next_hop: IPv4Address) -> NoReturn:
        vxlan, entry = link.vxlan, _entry(space, link, next_hop)
        if vxlan is None:
            raise undecided(f"{link.name} is a VXLAN device of which nothing is known")
        if entry is None or not entry.mac or not (entry.states & _RESOLVED):
            if vxlan.learning:
                raise undecided(f"{link.name} learns: who answers ARP for {next_hop} there is not known")
            told = f"{link.name} has no ARP entry for {next_hop}"
            text = _neighbour_text(entry) if entry else f"ip neigh show {next_hop} dev {link.name}: nothing"
            self._end(space, Place.NEIGHBOUR, End.REFUSED, told, text, device=link.name, owner="pod network")
        text = _neighbour_text(entry)
        self._hop(space, Place.NEIGHBOUR, f"{next_hop} is at {entry.mac}", decided_by=text, device=link.name)
        self._egress(space, link.name)
        remote = self._remote(space, link, entry.mac)
        local = vxlan.local
        if local is None:
            raise undecided(f"{link.name} has no local address: which one it takes is not known")
        self.inner = _Inner(self.packet, vxlan.vni, entry.mac)
        self.packet = Packet("udp", local, remote, 0, vxlan.port)
        self.tracked, self.state, self.port_in = None, NEW, ""
        what = f"VXLAN {vxlan.vni} in UDP {vxlan.port} from {local} to {remote}"
        self._hop(space, Place.ENCAPSULATION, what, device=link.name)
        self._send(space)

    def _remote(self, space: Space, link: Link, mac: str) -> IPv4Address:
        entries = [each for each in space.fdb if each.device == link.name and each.destination]
        fitting = [each for each in entries if each.mac == mac] or [each for each in entries if each.mac == ANY_MAC]
        if not fitting or fitting[0].destination is None:
            told = f"{link.name} has no FDB entry for {mac}: it does not know which node has it"
            text = f"bridge fdb show dev {link.name}: no {mac}"
            self._end(space, Place.FDB, End.DROPPED, told, text, device=link.name, owner="pod network")
        chosen = fitting[0]
        text = f"fdb {chosen.mac} dev {chosen.device} dst {chosen.destination}"
        self._hop(space, Place.FDB, f"{mac} is behind {chosen.destination}", decided_by=text, device=link.name)
        assert chosen.destination is not None  # noqa: S101  # of those that have one
        return chosen.destination

    def _decapsulate(self, space: Space) -> NoReturn:
        inner = self.inner
        assert inner is not None  # noqa: S101  # asked by the caller
        packet = self.packet
        port, vnis = packet.destination_port, (inner.vni, None)
        links = (link for link in space.network.links if (own := link.vxlan) and own.port == port and own.vni in vnis)
        device = next(links, None)
        if device is None or not device.is_up:
            told = f"no VXLAN device takes VNI {inner.vni} on UDP {port}"
            self._end(space, Place.DECAPSULATION, End.DROPPED, told, owner="pod network")
        self.packet, self.inner = inner.packet, None
        self._forget()
        self._hop(space, Place.DECAPSULATION, f"unwrapped by {device.name}", device=device.name)
        if inner.mac != device.mac:
            told = f"the frame is for {inner.mac}, and {device.name} is {device.mac}: it is another host's"
            self._end(space, Place.DECAPSULATION, End.DROPPED, told, device=device.name)
        self._ingress(space, device.name)
        self._receive(space, device.name)

    def _to_host(self, address: IPv4Address, sender: Space | None) -> NoReturn:
        """Over the wire to the host that has an address; outside of the cluster nobody looks further."""
        node = self.world.node_with(address)
        if node is None and address != self.packet.destination and self._is_member(self.packet.destination):
            self._hop(None, Place.NIC, f"forwarded by the router {address}, as is taken for granted")
            self._to_host(self.packet.destination, sender)
        if node is not None and node.host is not sender:
            device = node.host.network.device_with(address)
            if device is None or not device.is_up:
                self._end(node.host, Place.NIC, End.DROPPED, f"the interface with {address} is down")
            self._forget()
            self._hop(node.host, Place.NIC, f"comes in by {device.name}", device=device.name)
            self._ingress(node.host, device.name)
            self._receive(node.host, device.name)
        for member in self.world.facts.nodes:
            if member.address == address and member.name not in self.world.nodes:
                reason = self.world.unreachable.get(member.name, "it was not read")
                raise undecided(f"what {member.name} does with it is not known: {reason}")
        self._outside(address, sender)

    def _is_member(self, address: IPv4Address) -> bool:
        return any(member.address == address for member in self.world.facts.nodes)

    def _outside(self, address: IPv4Address, sender: Space | None) -> NoReturn:
        facts, packet = self.world.facts, self.packet
        if sender is None and (packet.destination in facts.pod_cidr or packet.destination in facts.service_cidr):
            raise undecided(f"whether {address} knows a way to {packet.destination} is not known")
        if self.inner is not None:
            self._end(sender, Place.NIC, End.DROPPED, f"{address} is no node: nobody unwraps the packet")
        if sender is not None:
            self._is_known_outside(sender)
        if self.direction is Direction.REPLY:
            if self.start.node != OUTSIDE:
                told = f"the answer leaves the cluster to {address}, but {self.start.packet.source} waits for it"
                self._end(sender, Place.NIC, End.DROPPED, told)
            self._is_expected_outside()
            raise _DeliveredError
        self._hop(None, Place.NIC, f"leaves the cluster to {address}")
        self.notes.append("what happens outside of the cluster is not predicted: it is taken to arrive and be answered")
        self.receiver = None
        raise _DeliveredError

    def _is_known_outside(self, sender: Space) -> None:
        """Addresses of pods and Services mean nothing outside, unless hosts there route for the pod network."""
        facts, to = self.world.facts, self.packet.destination
        if to in facts.service_cidr:
            told = f"no rule translates {to}, an address of Services: it leaves the cluster, where nobody knows it"
            self._end(sender, Place.NIC, End.DROPPED, told, owner="kube-proxy")
        tunnel = next((link.name for link in sender.network.links if link.kind == "vxlan"), "")
        if to in facts.pod_cidr and tunnel:
            missing = f"there is no route to {to} by {tunnel}{_why_none(sender, 'bridge', 'vxlan')}"
            told = f"{missing}: it leaves the cluster, where nobody knows it"
            self._end(sender, Place.ROUTE, End.DROPPED, told, owner="pod network")
        if to in facts.pod_cidr:
            raise undecided(f"whether hosts outside bring packets for {to} to its node is not known")

    def _is_expected_outside(self) -> None:
        expected = self.start.packet.reply
        if self.packet != expected:
            told = f"the answer comes from {self.packet.source}, but {expected.source} was asked: it is refused"
            self._end(None, Place.SOCKET, End.REFUSED, told)
        self._hop(None, Place.SOCKET, "the answer is what the sender waits for")

    # The record

    def _hop(
        self,
        space: Space | None,
        place: Place,
        what: str,
        *,
        decided_by: str = "",
        owner: str = "",
        device: str = "",
        probability: float = 1.0,
    ) -> None:
        if len(self.hops) >= LONGEST:
            raise undecided("the packet goes round in circles")
        inner = self.inner
        self.hops.append(
            Hop(
                space.node if space else OUTSIDE,
                space.pod if space else "",
                place,
                what,
                inner.packet if inner else self.packet,
                self.direction,
                device,
                decided_by,
                owner,
                self.packet if inner else None,
                self.mark,
                probability,
            )
        )

    def _end(
        self,
        space: Space | None,
        place: Place,
        end: End,
        reason: str,
        decided_by: str = "",
        *,
        device: str = "",
        owner: str = "",
    ) -> NoReturn:
        self._hop(space, place, reason, decided_by=decided_by, owner=owner, device=device)
        raise EndedError(Outcome(end, reason, decided_by, owner))


def _why_none(space: Space, *kinds: str) -> str:
    """Routes go with their devices: which of such kinds are down."""
    down = [link.name for link in space.network.links if link.kind in kinds and not link.is_up]
    return f", as {' and '.join(down)} is down" if down else ""


def _entry(space: Space, link: Link, address: IPv4Address) -> Neighbour | None:
    return next((e for e in space.network.neighbours if (e.device, e.address) == (link.name, address)), None)


def _neighbour_text(entry: Neighbour) -> str:
    mac = f" lladdr {entry.mac}" if entry.mac else ""
    return f"neigh {entry.address} dev {entry.device}{mac} {' '.join(sorted(entry.states))}"


def _owner_mac(node: Node, asking: Space, address: IPv4Address) -> str | None:
    """Who answers ARP on the links of a node: a pod for its address, the node for any that it has."""
    for space in node.spaces:
        link = space.network.device_with(address) if space is not asking else None
        if link is not None:
            return link.mac
    return None


def _macs_of(node: Node, asking: Space, address: IPv4Address) -> Iterator[str]:
    """What may answer ARP for an address on the links of a node: of the node's own addresses any device of it does."""
    for space in node.spaces:
        link = space.network.device_with(address) if space is not asking else None
        if link is not None:
            yield from (each.mac for each in space.network.links if each.mac and (space is node.host or each == link))


def walks(world: World, start: Start, *, most: int = 5000) -> tuple[tuple[Walk, ...], bool]:
    """All ways of a packet, the most probable first, and whether these are all of them: ``most`` at most."""
    waiting: list[tuple[int, ...]] = [()]
    found: list[Walk] = []
    while waiting and len(found) < most:
        chance = Chance(waiting.pop())
        found.append(Walker(world, start, chance).walk())
        waiting += chance.alternatives
    return tuple(sorted(found, key=lambda walk: -walk.probability)), not waiting
