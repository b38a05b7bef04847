"""Answers every TCP connection, UDP datagram and SCTP INIT with who it is."""

import contextlib
import secrets
import selectors
import socket
from collections.abc import Callable
from types import TracebackType

from agents.probe import sctp
from agents.probe.wire import PORTS, Answer, Identity

BACKLOG = 512
"""All clients of a run may connect in the same moment."""
READY = "answering on "


class Server:
    """All sockets of one pod. A kernel or a container that refuses raw sockets leaves SCTP out, and it says so."""

    def __init__(self, identity: Identity, ports: tuple[int, ...] = PORTS) -> None:
        self.identity = identity
        self.ports = ports
        self._selector = selectors.DefaultSelector()
        self._answering: list[str] = []

    def __enter__(self) -> "Server":
        try:
            for port in self.ports:
                self._listen_tcp(port)
                self._listen_udp(port)
            self._listen_sctp()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()

    def serve(self) -> None:
        print(READY + ", ".join(self._answering), flush=True)
        while True:
            for key, _ in self._selector.select():
                # A client that is gone again is none of the others' concern.
                with contextlib.suppress(OSError):
                    key.data()

    def _add(self, made: socket.socket, what: str, answer: Callable[[], None]) -> None:
        made.setblocking(False)
        self._selector.register(made, selectors.EVENT_READ, answer)
        self._answering.append(what)

    def _listen_tcp(self, port: int) -> None:
        listener = socket.create_server(("", port), backlog=BACKLOG)
        self._add(listener, f"TCP {port}", lambda: self._answer_tcp(listener, port))

    def _answer_tcp(self, listener: socket.socket, port: int) -> None:
        while True:
            connection, client = listener.accept()
            with connection:
                connection.send(Answer(self.identity.pod, "TCP", port, client[0]).to_bytes())

    def _listen_udp(self, port: int) -> None:
        bound = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        bound.bind(("", port))
        self._add(bound, f"UDP {port}", lambda: self._answer_udp(bound, port))

    def _answer_udp(self, bound: socket.socket, port: int) -> None:
        while True:
            _, client = bound.recvfrom(2048)
            bound.sendto(Answer(self.identity.pod, "UDP", port, client[0]).to_bytes(), client)

    def _listen_sctp(self) -> None:
        try:
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, sctp.PROTOCOL)
        except OSError as error:
            print(f"SCTP is not answered: raw sockets are refused ({error.strerror})", flush=True)
            return
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, sctp.RECEIVE_BUFFER)
        self._add(raw, f"SCTP {', '.join(map(str, self.ports))}", lambda: self._answer_sctp(raw))

    def _answer_sctp(self, raw: socket.socket) -> None:
        while True:
            data, client = raw.recvfrom(2048)
            packet = sctp.read(sctp.behind_ip(data))
            if packet is None or packet.kind != sctp.INIT or packet.destination not in self.ports:
                continue
            answer = Answer(self.identity.pod, "SCTP", packet.destination, client[0])
            reply = sctp.Packet(
                source=packet.destination,
                destination=packet.source,
                tag=packet.initiate_tag,
                kind=sctp.INIT_ACK,
                initiate_tag=secrets.randbelow(2**32 - 1) + 1,
                cookie=answer.to_bytes(),
            )
            raw.sendto(reply.to_bytes(), (client[0], 0))
