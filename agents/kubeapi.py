"""A list-and-watch client of the Kubernetes API for the agents, on the standard library.

Debian's python3-kubernetes needs 44 MiB resident for its import alone, in every agent on every node; this needs 8.
The API's own contract is all that is used: list by pages, watch from a resourceVersion, bookmarks, 410 Gone, merge
patch (Kubernetes documentation, "Kubernetes API Concepts").
"""

import http.client
import json
import logging
import os
import random
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import urlencode

log = logging.getLogger(__name__)

T = TypeVar("T")
Json = dict[str, Any]
Connect = Callable[[], http.client.HTTPConnection]

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where kubelet mounts a pod's token and the cluster's CA."""
REQUEST_SECONDS = 30
PAGE = 500
"""Objects in one answer to a list, as client-go asks for: a list of all pods of a large cluster fits in no agent."""
WATCH_SECONDS = 480
"""How long at most the API server is asked to keep a watch open; after that it is opened again where it ended."""
RETRY_SECONDS = (0.5, 1, 2, 5)
"""Longest waits after the first, second … failure in a row; the last one repeats."""
GONE = 410


class ApiError(Exception):
    """The API server could not be reached or refused; the text says which request and why."""

    def __init__(self, text: str, status: int = 0) -> None:
        super().__init__(text)
        self.status = status


class Api:
    """Requests to one API server with a service account's token, read anew each time since kubelet rotates it."""

    def __init__(self, connect: Connect, token_file: Path, where: str = "the API server") -> None:
        self._connect = connect
        self._token_file = token_file
        self.where = where

    @classmethod
    def in_cluster(cls, environment: Mapping[str, str] = os.environ) -> "Api":
        """The API server at KUBERNETES_SERVICE_HOST:KUBERNETES_SERVICE_PORT; ApiError where the pod has no token."""
        host = environment.get("KUBERNETES_SERVICE_HOST", "")
        port = environment.get("KUBERNETES_SERVICE_PORT", "443")
        if not host or not (SERVICE_ACCOUNT / "token").exists():
            raise ApiError("no service account here: run this as a pod with automountServiceAccountToken left on")
        context = ssl.create_default_context(cafile=str(SERVICE_ACCOUNT / "ca.crt"))

        def connect() -> http.client.HTTPConnection:
            return http.client.HTTPSConnection(host, int(port), timeout=REQUEST_SECONDS, context=context)

        return cls(connect, SERVICE_ACCOUNT / "token", f"{host}:{port}")

    def list(self, path: str, take: Callable[[Json], None]) -> str:
        """Hand over all objects of a collection, one after the other; no more than a page of them is held at a time.

        Returns the resourceVersion that all of them are of. ApiError with status 410 if that is too old for the rest.
        """
        query = {"limit": str(PAGE)}
        with self._connected(f"GET {path} at {self.where}") as connection:
            while True:
                answer = json.load(self._send(connection, "GET", f"{path}?{urlencode(query)}"))
                for item in answer.pop("items", None) or ():
                    take(item)
                metadata: Json = answer["metadata"]
                if not metadata.get("continue"):
                    return str(metadata["resourceVersion"])
                query["continue"] = metadata["continue"]

    def merge_patch(self, path: str, body: Json) -> Json:
        """Change the named fields of an object (RFC 7386)."""
        kind = {"Content-Type": "application/merge-patch+json"}
        with self._connected(f"PATCH {path} at {self.where}") as connection:
            answer: Json = json.load(self._send(connection, "PATCH", path, json.dumps(body), kind))
            return answer

    def watch(self, path: str, version: str) -> Iterator[Json]:
        """Events after ``version`` until the server ends the watch; ApiError with status 410 if that is too old."""
        query = {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(round(_spread(WATCH_SECONDS))),
        }
        with self._connected(f"watch of {path} at {self.where} ended") as connection:
            connection.connect()
            _notice_a_dead_peer(connection.sock)
            for line in self._send(connection, "GET", f"{path}?{urlencode(query)}"):
                event: Json = json.loads(line)
                if event["type"] == "ERROR":
                    status = event.get("object", {})
                    raise ApiError(f"watch of {path}: {status.get('message', status)}", int(status.get("code", 0)))
                yield event

    @contextmanager
    def _connected(self, what: str) -> Iterator[http.client.HTTPConnection]:
        """A connection for as long as it is used; ApiError with ``what`` and the reason if it fails."""
        connection = self._connect()
        try:
            yield connection
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ApiError(f"{what}: {_reason(error)}") from error
        finally:
            connection.close()

    def _send(
        self,
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        token = self._token_file.read_text().strip()
        connection.request(
            method, path, body, {"Authorization": f"Bearer {token}", "Accept": "application/json", **(headers or {})}
        )
        response = connection.getresponse()
        if response.status >= http.client.BAD_REQUEST:
            what = f"{method} {path.partition('?')[0]} at {self.where}"
            raise ApiError(f"{what}: {response.status} {_message(response.read())}", response.status)
        return response


class Follower(Generic[T]):
    """Keeps what matters of every object of one collection as the API server has it.

    ``read`` reduces an object to that; ``changed`` is called (in the follower's thread) when a reduced object comes,
    goes or differs, so that a kubelet's heartbeat wakes nobody.
    """

    def __init__(self, api: Api, path: str, read: Callable[[Json], T], changed: Callable[[], None]) -> None:
        self._api = api
        self._path = path
        self._read = read
        self._changed = changed
        self._objects: dict[str, T] | None = None
        self._version = ""
        self._failures = 0
        self._stopped = threading.Event()

    def objects(self) -> Mapping[str, T] | None:
        """``namespace/name`` (or ``name``) -> reduced object; None before the first list. Never changed in place."""
        return self._objects

    def start(self) -> None:
        threading.Thread(target=self.run, name=f"watch {self._path}", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        """Follow until stopped: list, then watch, each time from where the last watch ended.

        A connection that broke is no reason to list again, which costs an API server most: there may be hundreds of
        agents. A resourceVersion that is lost is one; so are two failures in a row, since nobody knows whether the
        server that comes back then has the same history.
        """
        while not self._stopped.is_set():
            try:
                if not self._version:
                    self._list()
                self._follow()
                self._failures = 0
                continue
            except ApiError as error:
                if error.status == GONE:
                    log.info("%s: resourceVersion is too old, listing again", self._path)
                    self._version = ""
                    continue
                log.warning("%s; trying again", error)
                if self._failures:
                    self._version = ""
            except Exception:
                # Whatever it was: a follower that ends would leave its agent with stale data, and nobody would know.
                log.exception("%s: trying again", self._path)
                self._version = ""
            self._stopped.wait(_spread(RETRY_SECONDS[min(self._failures, len(RETRY_SECONDS) - 1)]))
            self._failures += 1

    def _list(self) -> None:
        objects: dict[str, T] = {}

        def take(item: Json) -> None:
            objects[key(item)] = self._read(item)

        version = self._api.list(self._path, take)
        self._failures = 0
        if objects != self._objects:
            self._publish(objects)
        self._version = version

    def _follow(self) -> None:
        """One watch, to its end."""
        for event in self._api.watch(self._path, self._version):
            item, known = event["object"], self._objects or {}
            if event["type"] == "DELETED" and key(item) in known:
                self._publish({name: value for name, value in known.items() if name != key(item)})
            elif event["type"] in {"ADDED", "MODIFIED"}:
                # Compared by itself: most of what changes does not matter, and there may be thousands of others.
                name, value = key(item), self._read(item)
                if name not in known or known[name] != value:
                    self._publish({**known, name: value})
            self._version = str(item["metadata"]["resourceVersion"])
            self._failures = 0
            if self._stopped.is_set():
                break

    def _publish(self, objects: dict[str, T]) -> None:
        self._objects = objects
        self._changed()


def key(item: Json) -> str:
    """Name of an object in its collection: ``namespace/name``, or ``name`` for those without a namespace."""
    metadata = item["metadata"]
    return "/".join(part for part in (metadata.get("namespace"), metadata["name"]) if part)


def _spread(seconds: float) -> float:
    """Half of that time at least, so that all agents of a cluster do not come at once."""
    return random.uniform(seconds / 2, seconds)  # noqa: S311 (nothing is secret)


def _notice_a_dead_peer(connection: socket.socket) -> None:
    """A control plane that is switched off closes nothing: without keep-alive its watchers wait for minutes."""
    connection.settimeout(WATCH_SECONDS + REQUEST_SECONDS)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
