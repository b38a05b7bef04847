"""A stand-in of the Kubernetes API over HTTPS: what an agent asks of it, answered as the API is documented.

Lists come in pages (``limit``, ``continue``) of one moment; watches begin at a resourceVersion, send bookmarks where
they are asked for, end after ``timeoutSeconds``, and are told 410 where that version is forgotten; a merge patch
changes an object ("Kubernetes API Concepts"). It is no API server: no etcd, no watch cache and no admission is behind
it, so that only its client is measured. Objects are encoded once.
"""

import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from agents.kubeapi import GONE, key

Json = dict[str, Any]
BOOKMARK_SECONDS = 60.0
"""About as often as an API server sends them."""
OK, UNAUTHORIZED, NOT_FOUND = 200, 401, 404


def encode(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def make_certificate(folder: Path, address: str) -> tuple[Path, Path]:
    """A certificate for an address, signed by itself, so that it is its own CA, and its key."""
    certificate, secret = folder / "ca.crt", folder / "server.key"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-days", "1", "-subj", "/CN=stand-in", "-addext", f"subjectAltName=IP:{address}"]
    files = ["-keyout", str(secret), "-out", str(certificate)]
    subprocess.run([*words, *files], check=True, capture_output=True)
    return certificate, secret


@dataclass
class Collection:
    """Objects of one kind with what happened to them; ``events`` are version and encoded event, in their order."""

    items: dict[str, Json] = field(default_factory=dict)
    encoded: dict[str, bytes] = field(default_factory=dict)
    events: list[tuple[int, bytes]] = field(default_factory=list)
    oldest: int = 0


@dataclass(frozen=True)
class Asked:
    """A request as it came in; ``kind`` is list, watch or patch."""

    kind: str
    path: str
    query: Mapping[str, str]


class StandIn(ThreadingHTTPServer):
    """Serves the collections at their paths, and counts requests, connections and the bytes of its answers."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], files: tuple[Path, Path], token: str) -> None:
        super().__init__(address, Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        # The handshake is left to the thread of the connection: one that hangs stops nobody else.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.token = token
        self.asked: list[Asked] = []
        self.connections = 0
        self.refused = 0
        self.bytes_sent = 0
        self.bookmark_seconds = BOOKMARK_SECONDS
        self._collections: dict[str, Collection] = {}
        self._version = 0
        self._pages: dict[str, tuple[int, list[bytes]]] = {}
        self._open: set[socket.socket] = set()
        self._changed = threading.Condition()

    def handle_error(self, request: object, client_address: object) -> None:
        """Whoever asked has gone; anything else is an error of the stand-in's."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]

    def fill(self, path: str, items: Iterable[Json]) -> None:
        """Have these objects from the beginning."""
        with self._changed:
            collection = self._collections.setdefault(path, Collection())
            for item in items:
                self._store(collection, item)
            collection.oldest = self._version

    def put(self, path: str, item: Json) -> None:
        """An object comes, or is another now."""
        with self._changed:
            collection = self._collections[path]
            kind = "MODIFIED" if key(item) in collection.items else "ADDED"
            self._tell(collection, kind, self._store(collection, item))

    def delete(self, path: str, name: str) -> Json:
        """An object goes; returns it as it was."""
        with self._changed:
            collection = self._collections[path]
            item = collection.items.pop(name)
            del collection.encoded[name]
            self._version += 1
            item["metadata"]["resourceVersion"] = str(self._version)
            self._tell(collection, "DELETED", encode(item))
            return item

    def forget(self, path: str) -> None:
        """What happened until now is no longer known: watches and pages from before are too old, and open ones end."""
        with self._changed:
            self._version += 1
            collection = self._collections[path]
            collection.oldest = self._version
            collection.events = []
            self._pages = {}
            self._changed.notify_all()

    def hang_up(self) -> None:
        """Break all watches, as a server does that dies or a network that does."""
        with self._changed:
            for connection in self._open:
                connection.shutdown(socket.SHUT_RDWR)

    def item(self, path: str, name: str) -> Json:
        return self._collections[path].items[name]

    def items(self, path: str) -> list[Json]:
        with self._changed:
            return list(self._collections[path].items.values())

    def count(self, kind: str) -> int:
        """How many requests of a kind there were."""
        return sum(asked.kind == kind for asked in self.asked)

    def page(self, path: str, query: Mapping[str, str]) -> tuple[int, bytes]:
        """Status and body of a list; ``continue`` goes on in what there was when its first page was asked for."""
        with self._changed:
            token = query.get("continue", "")
            if token:
                version, items = self._pages.pop(token, (0, []))
                if not items:
                    return GONE, encode({"kind": "Status", "code": GONE, "message": "The provided continue is too old"})
            else:
                version, items = self._version, list(self._collections[path].encoded.values())
            limit = int(query.get("limit", "0")) or len(items)
            metadata: Json = {"resourceVersion": str(version)}
            if rest := items[limit:]:
                metadata |= {"continue": f"{path} {version} {len(rest)}", "remainingItemCount": len(rest)}
                self._pages[metadata["continue"]] = version, rest
        return OK, b'{"kind":"List","metadata":%b,"items":[%b]}' % (encode(metadata), b",".join(items[:limit]))

    def patch(self, path: str, name: str, body: Json) -> bytes:
        with self._changed:
            collection = self._collections[path]
            encoded = self._store(collection, merged(collection.items[name], body))
            self._tell(collection, "MODIFIED", encoded)
            return encoded

    def news(self, path: str, version: int, until: float) -> tuple[int, list[bytes]] | None:
        """Wait until then for events after a version; None if that is too old."""
        with self._changed:
            collection = self._collections[path]
            while version >= collection.oldest:
                events = [(number, event) for number, event in collection.events if number > version]
                if events:
                    return events[-1][0], [event for _, event in events]
                if (remaining := until - time.monotonic()) <= 0:
                    return self._version, []
                self._changed.wait(remaining)
            return None

    def opened(self, connection: socket.socket) -> None:
        with self._changed:
            self._open.add(connection)

    def ended(self, connection: socket.socket) -> None:
        with self._changed:
            self._open.discard(connection)

    def _store(self, collection: Collection, item: Json) -> bytes:
        self._version += 1
        item["metadata"]["resourceVersion"] = str(self._version)
        collection.items[key(item)] = item
        collection.encoded[key(item)] = encode(item)
        return collection.encoded[key(item)]

    def _tell(self, collection: Collection, kind: str, item: bytes) -> None:
        collection.events.append((self._version, b'{"type":"%b","object":%b}\n' % (kind.encode(), item)))
        self._changed.notify_all()


class Handler(BaseHTTPRequestHandler):
    server: StandIn
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        query = dict(parse_qsl(address.query))
        if not self._allowed():
            return
        watches = query.get("watch") in ("1", "true")
        self.server.asked.append(Asked("watch" if watches else "list", address.path, query))
        if watches:
            self._watch(address.path, query)
        else:
            self._send(*self.server.page(address.path, query))

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self._allowed():
            return
        path, _, name = self.path.rpartition("/")
        self.server.asked.append(Asked("patch", path, {}))
        self._send(OK, self.server.patch(path, name, body))

    def _allowed(self) -> bool:
        allowed = self.headers["Authorization"] == f"Bearer {self.server.token}"
        if not allowed:
            self.server.refused += 1
            self._send(UNAUTHORIZED, encode({"kind": "Status", "code": UNAUTHORIZED, "message": "Unauthorized"}))
        return allowed

    def _watch(self, path: str, query: Mapping[str, str]) -> None:
        self.send_response(OK)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self.wfile.flush()
        version = int(query["resourceVersion"])
        end = time.monotonic() + float(query["timeoutSeconds"])
        bookmarks = query.get("allowWatchBookmarks") == "true"
        self.server.opened(self.connection)
        try:
            while (now := time.monotonic()) < end:
                found = self.server.news(path, version, min(end, now + self.server.bookmark_seconds))
                if found is None:
                    gone = {"kind": "Status", "code": GONE, "message": "too old resource version"}
                    self._chunk([encode({"type": "ERROR", "object": gone}) + b"\n"])
                    break
                version, events = found
                bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(version)}}}
                self._chunk(events or ([encode(bookmark) + b"\n"] if bookmarks else []))
            self.wfile.write(b"0\r\n\r\n")
        except OSError:
            self.close_connection = True  # whoever watched has gone
        finally:
            self.server.ended(self.connection)

    def _chunk(self, events: list[bytes]) -> None:
        for event in events:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
            self.server.bytes_sent += len(event)
        self.wfile.flush()

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.bytes_sent += len(body)


def merged(item: Json, patch: Json) -> Json:
    """An object after a merge patch (RFC 7386)."""
    changed = {name: value for name, value in item.items() if patch.get(name, value) is not None}
    for name, value in patch.items():
        if isinstance(value, dict):
            changed[name] = merged(item.get(name) or {}, value)
        elif value is not None:
            changed[name] = value
    return changed
