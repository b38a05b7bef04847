"""The HTTP server and its three answers: a text page, ``/whoami`` as JSON, ``/bytes/N`` for transfers across nodes."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8080
"""Port of the upstream kuard, which Services of its demos point to."""
MAX_BYTES = 64 * 1024 * 1024
"""Largest answer of ``/bytes/N``."""
CHUNK = 64 * 1024


@dataclass(frozen=True)
class Identity:
    """Who answers: set from the downward API by the Deployment, "unknown" where it is not."""

    pod: str
    node: str
    pod_ip: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Identity":
        names = ("POD_NAME", "NODE_NAME", "POD_IP")
        return cls(*(environment.get(name, "unknown") for name in names))


def whoami(identity: Identity, client: tuple[str, int]) -> dict[str, str | int]:
    """What ``/whoami`` tells: the server's identity and the client's address as it arrived here."""
    return {
        "pod": identity.pod,
        "node": identity.node,
        "pod_ip": identity.pod_ip,
        "client": client[0],
        "client_port": client[1],
    }


def page(identity: Identity, client: tuple[str, int]) -> str:
    return (
        "This is Kubeproof's stand-in for kuard, not the upstream program.\n\n"
        f"pod     {identity.pod}\nnode    {identity.node}\npod IP  {identity.pod_ip}\n"
        f"client  {client[0]} port {client[1]}\n\n"
        f"/whoami   the same as JSON\n/bytes/N  N bytes, at most {MAX_BYTES}\n"
    )


def requested_bytes(path: str) -> int | None:
    """N of ``/bytes/N``; None where N is no number from 0 to MAX_BYTES.

    >>> requested_bytes("/bytes/1500"), requested_bytes("/bytes/-1")
    (1500, None)
    """
    digits = path.removeprefix("/bytes/")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= len(str(MAX_BYTES))):
        return None
    wanted = int(digits)
    return wanted if wanted <= MAX_BYTES else None


def filler(length: int) -> Iterator[bytes]:
    """``length`` bytes in chunks, so that a large answer costs no memory."""
    chunk = b"kubeproof\n" * (CHUNK // 10)
    while length > 0:
        part = chunk[:length]
        yield part
        length -= len(part)


class Handler(BaseHTTPRequestHandler):
    """Answers one client; ``identity`` is set by :func:`make_server`."""

    server_version = "kubeproof-kuard/1"
    protocol_version = "HTTP/1.1"
    timeout = 60
    identity: Identity

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/":
            self._send("text/plain; charset=utf-8", page(self.identity, self._client()).encode())
        elif path == "/whoami":
            self._send("application/json", json.dumps(whoami(self.identity, self._client())).encode() + b"\n")
        elif path.startswith("/bytes/"):
            self._send_bytes(requested_bytes(path))
        else:
            self.send_error(HTTPStatus.NOT_FOUND, "there are /, /whoami and /bytes/N")

    def _client(self) -> tuple[str, int]:
        return str(self.client_address[0]), int(self.client_address[1])

    def _send(self, content_type: str, body: bytes) -> None:
        self._send_head(content_type, len(body))
        self.wfile.write(body)

    def _send_bytes(self, length: int | None) -> None:
        if length is None:
            self.send_error(HTTPStatus.BAD_REQUEST, f"N of /bytes/N is a number from 0 to {MAX_BYTES}")
            return
        self._send_head("application/octet-stream", length)
        for part in filler(length):
            self.wfile.write(part)

    def _send_head(self, content_type: str, length: int) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(length))
        self.end_headers()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up is everyday; one line says enough."""
        print(f"{client_address}: connection ended early", flush=True)


def make_server(identity: Identity, *, port: int, host: str = "") -> ThreadingHTTPServer:
    """A server bound to ``host`` (every IPv4 address by default) and ``port`` (0: any free one), not yet serving."""
    handler = type("PodHandler", (Handler,), {"identity": identity})
    return _Server((host, port), handler)
