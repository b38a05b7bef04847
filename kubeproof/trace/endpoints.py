"""What FROM and TO of a trace mean, and the packet that they make. Pure but for names outside, which are looked up."""

from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address

from kubeproof.policy.ends import Resolver, UnknownEndError, is_number, named_port, numbered_port
from kubeproof.policy.engine import End, NodeEnd, OutsideEnd, PodEnd, address_of
from kubeproof.policy.model import Service, ServicePort
from kubeproof.state.kubernetes_yaml import one_line
from kubeproof.terminal.errors import UserError
from kubeproof.trace import routing
from kubeproof.trace.model import JUDGED, OUTSIDE, PROTOCOLS, UNKNOWN_PORT, Packet, Protocol, Start
from kubeproof.trace.passing import Chance, EndedError
from kubeproof.trace.world import UnknownError, World

OUTSIDE_WORD = "outside"
SOURCE_PORT = 40000
"""The sender's port, if nobody chooses another: one of those that the kernel gives (ip_local_port_range)."""
LookUp = Callable[[str], IPv4Address | None]
"""A name outside of the cluster -> its address."""


@dataclass(frozen=True)
class Asked:
    """What the user wrote."""

    source: str
    destination: str
    port: str = ""
    protocol: str = "tcp"


@dataclass(frozen=True)
class Question:
    """What that means: one packet, or of a headless Service's name one for each endpoint. ``to`` is in words."""

    starts: tuple[Start, ...]
    to: str
    notes: tuple[str, ...] = ()


@dataclass
class _Reader:
    """Collects problems and notes while words are read."""

    world: World
    asked: Asked
    look_up: LookUp
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.resolver = Resolver(self.world.objects, service_network=self.world.facts.service_cidr)
        self.protocol: Protocol = "tcp"

    def wrong(self, option: str, problem: object) -> None:
        self.problems.append(one_line(f"{option}: {problem}"))

    def read_protocol(self) -> None:
        found = next((known for known in PROTOCOLS if known == self.asked.protocol.strip().lower()), None)
        if found is None:
            self.wrong("--protocol", f"{self.asked.protocol or 'nothing'} is not known; use {', '.join(PROTOCOLS)}")
        else:
            self.protocol = found

    # FROM

    def source(self) -> End | None:
        written = self.asked.source
        if written == OUTSIDE_WORD:
            return self._outside("FROM")
        try:
            return self.resolver.source(written)
        except UnknownEndError as error:
            self.wrong("FROM", error)
            return None

    def _outside(self, option: str) -> OutsideEnd | None:
        if self.world.facts.outside is None:
            self.wrong(option, "which address this machine has towards the nodes is not known; write an address")
            return None
        return OutsideEnd(self.world.facts.outside)

    # TO

    def destination(self) -> End | Service | None:
        written = self.asked.destination
        if written == OUTSIDE_WORD:
            return self._outside("TO")
        node, colon, port = written.rpartition(":")
        if colon and is_number(port):
            return self._node_port(node, port)
        try:
            return self._headed(self.resolver.destination(written))
        except UnknownEndError as error:
            return self._named_outside(written, error)

    def _node_port(self, written: str, port: str) -> End | Service | None:
        if self.asked.port:
            self.wrong("--port", f"TO names port {port} already; leave one of them out")
        self.asked = Asked(self.asked.source, written, port, self.asked.protocol)
        return self.destination()

    def _headed(self, end: End | Service) -> End | Service | None:
        if isinstance(end, Service) and end.external:
            self.notes.append(f"{end} stands for {end.external}, which is outside of the cluster")
            return self._named_outside(end.external, UnknownEndError(f"{end.external} has no address here"))
        return end

    def _named_outside(self, name: str, error: UnknownEndError) -> OutsideEnd | None:
        """A name with a dot that is nothing in the cluster may be one of DNS."""
        address = self.look_up(name) if "." in name and "/" not in name and not is_number(name[-1]) else None
        if address is None:
            self.wrong("TO", error)
            return None
        self.notes.append(f"{name} is {address}, as this machine resolves it")
        return OutsideEnd(address)

    # Ports

    def has_no_port(self) -> bool:
        if self.protocol == "icmp" and self.asked.port:
            self.wrong("--port", "ICMP has no ports; leave it out")
        return self.protocol == "icmp"

    def number(self) -> int:
        """The port that is asked for by its number."""
        try:
            return numbered_port(self.asked.port)
        except UnknownEndError as error:
            self.wrong("--port", error)
            return UNKNOWN_PORT

    def port_of(self, end: End) -> int:
        if self.has_no_port():
            return UNKNOWN_PORT
        declared = self.world.ports.get(end.pod.full_name, ()) if isinstance(end, PodEnd) else ()
        fitting = [number for protocol, number in declared if protocol == self.protocol]
        if not self.asked.port:
            if len(fitting) == 1:
                return fitting[0]
            self.wrong(
                "--port", f"is missing; write {'one of ' + ', '.join(map(str, fitting)) if fitting else 'a number'}"
            )
            return UNKNOWN_PORT
        if not is_number(self.asked.port):
            try:
                return named_port(self.asked.port, end, JUDGED[self.protocol])
            except UnknownEndError as error:
                self.wrong("--port", error)
                return UNKNOWN_PORT
        number = self.number()
        if isinstance(end, PodEnd) and number not in fitting:
            self.notes.append(f"no container of {end} names port {number}/{self.protocol}: it is traced all the same")
        return number

    def service_port(self, service: Service) -> ServicePort | None:
        if self.has_no_port():
            return None
        offered = [each for each in service.ports if each.protocol == JUDGED[self.protocol]]
        wanted = self.asked.port
        if not wanted and len(offered) == 1:
            return offered[0]
        found = next((each for each in offered if wanted and wanted in (str(each.number), each.name)), None)
        if found is None and (not wanted or not is_number(wanted)):
            known = ", ".join(f"{each.number}" for each in offered)
            told = (
                f"has no {JUDGED[self.protocol]} port {wanted}"
                if wanted
                else "has several ports"
                if known
                else "has none"
            )
            self.wrong("--port", f"{service} {told}; use {known or 'another protocol'}")
        return found


def question(world: World, asked: Asked, *, look_up: LookUp, source_port: int = SOURCE_PORT) -> Question:
    """What is asked. Raises UserError with everything that names nothing, or cannot be."""
    reader = _Reader(world, asked, look_up)
    reader.read_protocol()
    source, destination = reader.source(), reader.destination()
    targets = _targets(reader, destination) if destination is not None else []
    if reader.problems or source is None or destination is None:
        raise UserError(reader.problems)
    to = str(destination)
    starts = tuple(_start(reader, source, target, port, source_port) for target, port in targets)
    if reader.problems:
        raise UserError(reader.problems)
    # The resolver's own notes are about how policies see an end, not about a packet whose way is followed.
    return Question(starts, to, tuple(dict.fromkeys(reader.notes)))


def _targets(reader: _Reader, destination: End | Service) -> list[tuple[IPv4Address, int]]:
    if not isinstance(destination, Service):
        return [(address_of(destination), reader.port_of(destination))]
    port = reader.service_port(destination)
    is_numbered = is_number(reader.asked.port) and reader.protocol != "icmp"
    number = port.number if port else reader.number() if is_numbered else UNKNOWN_PORT
    if not destination.headless:
        if port is not None and not reader.world.endpoints.get((destination.namespace, destination.name, port.name)):
            reader.notes.append(f"{destination} has no ready endpoint at port {number}")
        written = reader.asked.destination
        chosen = next((each for each in destination.addresses if str(each) == written), None)
        if not destination.addresses:
            reader.wrong("TO", f"{destination} has no IPv4 address")
            return []
        return [(chosen or destination.addresses[0], number)]
    found = sorted(
        {
            (address, number if is_numbered or port is None else at)
            for (namespace, name, port_name), backends in reader.world.endpoints.items()
            if (namespace, name) == (destination.namespace, destination.name)
            and (port is None or port_name == port.name)
            for address, at in backends
        }
    )
    if not found:
        reader.wrong("TO", f"{destination} is headless and has no ready endpoint: its name has no address")
    reader.notes.append(f"{destination} is headless: its name leads to {len(found)} pods themselves, in any order")
    return found


def _start(reader: _Reader, source: End, target: IPv4Address, port: int, source_port: int) -> Start:
    own = UNKNOWN_PORT if reader.protocol == "icmp" else source_port
    packet = Packet(reader.protocol, address_of(source), target, own, port)
    match source:
        case PodEnd(pod):
            return Start(pod.node or "", pod.full_name, packet)
        case NodeEnd(node, seen):
            return Start(node, "", Packet(reader.protocol, _of_node(reader, node, target) or seen, target, own, port))
        case OutsideEnd():
            return Start(OUTSIDE, "", packet)


def _of_node(reader: _Reader, node: str, target: IPv4Address) -> IPv4Address | None:
    """The address that a node sends from, which its route chooses."""
    found = reader.world.nodes.get(node)
    if found is None:
        return None
    try:
        route = routing.lookup(found.host, routing.Key(target), Chance())
    except (EndedError, UnknownError):
        return None
    if route is None or route.type not in ("unicast", "local"):
        return None
    if route.type == "local":
        return target
    next_hop = route.via if isinstance(route.via, IPv4Address) else target
    return routing.source_for(found.host, route, next_hop)
