"""Trying many targets at once. Each attempt ends as one of three: open, blocked (silence), or failed.

Silence alone counts as blocked. A connection that is refused, an ICMP error, or something that answers but is no probe
server says that the probe did not work as planned, whatever a policy says.
"""

import asyncio
import contextlib
import errno
import os
import random
import secrets
import socket
import struct
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import Literal

from agents.probe import names, sctp
from agents.probe.wire import MAX_ANSWER, Answer, read_answer

Outcome = Literal["open", "blocked", "failed"]

SENDS = 3
"""Datagrams of one attempt: UDP and SCTP packets are not sent again by the kernel."""
ANSWER_SECONDS = 3.0
"""For the answer on a TCP connection that the server's kernel has accepted: the server may wait for the processor."""
FIRST_PORT, LAST_PORT = 34000, 60999
"""Source ports, taken in turn so that none comes again to the same target while conntrack may still know it. Above the
NodePorts of a cluster (30000-33000 here, to 32767 by default), to the end of Linux's own ephemeral range."""
IP_RECVERR, MSG_ERRQUEUE = 11, 0x2000
"""linux/in.h and linux/socket.h; Python names neither."""


@dataclass(frozen=True)
class Probe:
    """One attempt: ``address`` is an IPv4 address or a fully qualified DNS name, ``timeout`` is in seconds."""

    id: int
    protocol: str
    address: str
    port: int
    timeout: float


@dataclass(frozen=True)
class Result:
    """How an attempt ended; ``pod`` ("namespace/name") answered, and saw ``client`` as the sender's address."""

    id: int
    outcome: Outcome
    detail: str = ""
    pod: str = ""
    client: str = ""


class _SilenceError(Exception):
    """Nothing came back; the text says from where, if that was not the target."""


class _FailedError(Exception):
    """Something came back that is no probe server's answer."""


async def run(probes: Sequence[Probe]) -> list[Result]:
    """All attempts at the same time; the results have the order of the probes."""
    run_of_line = _Run()
    try:
        return list(await asyncio.gather(*(run_of_line.result(probe) for probe in probes)))
    finally:
        run_of_line.close()


class _Run:
    """What the attempts of one line share: names that are asked for once, and a raw socket."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._names: dict[str, asyncio.Task[IPv4Address]] = {}
        self._sctp: _RawSctp | None = None

    def close(self) -> None:
        if self._sctp is not None:
            self._sctp.close()

    async def result(self, probe: Probe) -> Result:
        try:
            address = await self._address(probe)
            answer = await self._attempt(probe, address)
        except _SilenceError as silence:
            return Result(probe.id, "blocked", str(silence))
        except (_FailedError, names.NoAddressError) as failed:
            return Result(probe.id, "failed", str(failed))
        except OSError as error:
            return Result(probe.id, "failed", (os.strerror(error.errno) if error.errno else str(error)).lower())
        if answer is None:
            return Result(probe.id, "open", "an ABORT came back, which names no pod")
        return Result(probe.id, "open", "", answer.pod, answer.client)

    async def _address(self, probe: Probe) -> str:
        try:
            return str(IPv4Address(probe.address))
        except AddressValueError:
            if probe.address not in self._names:
                self._names[probe.address] = asyncio.ensure_future(self._resolve(probe.address, probe.timeout))
            return str(await self._names[probe.address])

    async def _resolve(self, name: str, timeout: float) -> IPv4Address:
        server = names.server()
        if server is None:
            raise names.NoAddressError("there is no name server in /etc/resolv.conf")
        number = secrets.randbelow(2**16)
        try:
            query = names.query(name, number)
        except (UnicodeError, ValueError):
            raise names.NoAddressError(f"{name!r} is no DNS name") from None
        with _udp() as asking:
            asking.connect((server, names.PORT))
            async for reply in _ask(self._loop, asking, query, timeout):
                found = names.read_reply(reply, number)
                if found is not None:
                    return found
        raise _SilenceError("name not resolved (no answer)")

    async def _attempt(self, probe: Probe, address: str) -> Answer | None:
        match probe.protocol:
            case "TCP":
                return await self._tcp(address, probe.port, probe.timeout)
            case "UDP":
                return await self._udp(address, probe.port, probe.timeout)
            case "SCTP":
                if self._sctp is None:
                    self._sctp = _RawSctp(self._loop)
                return await self._sctp.attempt(address, probe.port, probe.timeout)
            case other:
                raise _FailedError(f"no such protocol: {other}")

    async def _tcp(self, address: str, port: int, timeout: float) -> Answer:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as connection:
            connection.setblocking(False)
            # Closing resets the connection: conntrack forgets it, and no TIME_WAIT piles up on either side.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            _PORTS.bind(connection)
            try:
                await asyncio.wait_for(self._loop.sock_connect(connection, (address, port)), timeout)
            except TimeoutError:
                raise _SilenceError("no answer to the SYN") from None
            try:
                return _answer(await asyncio.wait_for(self._line(connection), ANSWER_SECONDS))
            except TimeoutError:
                raise _FailedError("connected, but no answer came") from None

    async def _line(self, connection: socket.socket) -> bytes:
        data = b""
        while not data.endswith(b"\n") and len(data) < MAX_ANSWER:
            more = await self._loop.sock_recv(connection, MAX_ANSWER)
            if not more:
                break
            data += more
        return data

    async def _udp(self, address: str, port: int, timeout: float) -> Answer:
        with _udp() as asking:
            asking.connect((address, port))
            async for data in _ask(self._loop, asking, b"who?\n", timeout):
                return _answer(data)
        raise _SilenceError("no answer to the datagrams")


async def _ask(
    loop: asyncio.AbstractEventLoop, asking: socket.socket, query: bytes, timeout: float
) -> AsyncIterator[bytes]:
    """Send a datagram again and again until the time is up, and give what comes back."""
    for _ in range(SENDS):
        asking.send(query)
        end = loop.time() + timeout / SENDS
        while (rest := end - loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                yield await asyncio.wait_for(loop.sock_recv(asking, 2048), rest)


class _RawSctp:
    """One raw socket for all SCTP attempts of a line: it receives every SCTP packet of the network namespace."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._waiting: dict[int, tuple[int, asyncio.Future[Answer | None]]] = {}
        """Source port -> the initiate tag that was sent, which a reply has as its verification tag."""
        try:
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, sctp.PROTOCOL)
        except OSError as error:
            raise _FailedError(f"raw sockets are refused ({error.strerror})") from None
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, sctp.RECEIVE_BUFFER)
        # ICMP errors, which a raw socket is not told of otherwise.
        self._socket.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
        loop.add_reader(self._socket, self._receive)

    def close(self) -> None:
        self._loop.remove_reader(self._socket)
        self._socket.close()

    async def attempt(self, address: str, port: int, timeout: float) -> Answer | None:
        """The server's answer; None for an ABORT, which shows that the INIT arrived."""
        source, tag = _PORTS.next(), secrets.randbelow(2**32 - 1) + 1
        init = sctp.Packet(source, port, tag=0, kind=sctp.INIT, initiate_tag=tag).to_bytes()
        future: asyncio.Future[Answer | None] = self._loop.create_future()
        self._waiting[source] = (tag, future)
        try:
            for _ in range(SENDS):
                self._send(init, address)
                with contextlib.suppress(TimeoutError):
                    return await asyncio.wait_for(asyncio.shield(future), timeout / SENDS)
        finally:
            del self._waiting[source]
        raise _SilenceError("no answer to the INIT")

    def _send(self, packet: bytes, address: str) -> None:
        try:
            self._socket.sendto(packet, (address, 0))
        except OSError:
            # The socket's pending error may be another attempt's, and telling it has cleared it.
            self._read_errors()
            self._socket.sendto(packet, (address, 0))

    def _receive(self) -> None:
        while True:
            try:
                data, _ = self._socket.recvfrom(2048)
            except BlockingIOError:
                break
            except OSError:
                continue
            packet = sctp.read(sctp.behind_ip(data))
            if packet is not None:
                self._settle(packet)
        self._read_errors()

    def _settle(self, packet: sctp.Packet) -> None:
        tag, future = self._waiting.get(packet.destination, (0, None))
        if future is None or future.done() or packet.tag != tag:
            return
        if packet.kind == sctp.ABORT:
            future.set_result(None)
        elif packet.kind == sctp.INIT_ACK:
            answer = read_answer(packet.cookie)
            if answer is None:
                future.set_exception(_FailedError("an INIT ACK came back, but not from a probe server"))
            else:
                future.set_result(answer)

    def _read_errors(self) -> None:
        """ICMP errors come with the packet that they are about."""
        while True:
            try:
                data, ancillary, _, _ = self._socket.recvmsg(2048, 512, MSG_ERRQUEUE)
            except OSError:
                return
            number = next((struct.unpack_from("=I", item)[0] for _, kind, item in ancillary if kind == IP_RECVERR), 0)
            source = struct.unpack_from("!H", data)[0] if len(data) >= 2 else 0
            _, future = self._waiting.get(source, (0, None))
            if future is not None and not future.done():
                future.set_exception(OSError(number, os.strerror(number)))


class _SourcePorts:
    """Source ports one after the other, for as long as this process lives; the first one by chance."""

    def __init__(self) -> None:
        self._next = random.randint(FIRST_PORT, LAST_PORT)  # noqa: S311  # no secret

    def next(self) -> int:
        port = self._next
        self._next = FIRST_PORT if port == LAST_PORT else port + 1
        return port

    def bind(self, made: socket.socket) -> None:
        """Bind to the next free port; on a node, other programs have some."""
        for _ in range(100):
            try:
                return made.bind(("", self.next()))
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
        raise OSError(errno.EADDRINUSE, "no free source port")


_PORTS = _SourcePorts()


def _udp() -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setblocking(False)
    # Otherwise a UDP socket is told of a refused port only, and not of a host or network that cannot be reached.
    made.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
    _PORTS.bind(made)
    return made


def _answer(data: bytes) -> Answer:
    answer = read_answer(data)
    if answer is None:
        raise _FailedError(f"something else than a probe server answered: {data[:40]!r}")
    return answer
