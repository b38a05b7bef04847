"""A list-and-watch client of the Kubernetes API for the agents, on the standard library.

Debian's python3-kubernetes needs 44 MiB resident for its import alone, in every agent on every node; this needs 8.
The API's own contract is all that is used: list, watch from a resourceVersion, bookmarks, 410 Gone, merge patch
(Kubernetes documentation, "Kubernetes API Concepts").
"""

import http.client
import json
import logging
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
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
WATCH_SECONDS = 240
"""How long the API server is asked to keep a watch open; after that it is opened again where it ended."""
RETRY_SECONDS = (0.5, 1, 2, 5)
"""Waits after the first, second … failure in a row; the last one repeats."""
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

    def get(self, path: str) -> Json:
        """The object or list at an API path such as ``/api/v1/nodes``."""
        return self._whole("GET", path)

    def merge_patch(self, path: str, body: Json) -> Json:
        """Change the named fields of an object (RFC 7386)."""
        return self._whole("PATCH", path, json.dumps(body), {"Content-Type": "application/merge-patch+json"})

    def watch(self, path: str, version: str) -> Iterator[Json]:
        """Events after ``version`` until the server ends the watch; ApiError with status 410 if that is too old."""
        query = {
            "watch": "1",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(WATCH_SECONDS),
        }
        connection = self._connect()
        try:
            connection.connect()
            _notice_a_dead_peer(connection.sock)
            for line in self._send(connection, "GET", f"{path}?{urlencode(query)}"):
                event: Json = json.loads(line)
                if event["type"] == "ERROR":
                    status = event.get("object", {})
                    raise ApiError(f"watch of {path}: {status.get('message', status)}", int(status.get("code", 0)))
                yield event
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ApiError(f"watch of {path} at {self.where} ended: {_reason(error)}") from error
        finally:
            connection.close()

    def _whole(self, method: str, path: str, body: str | None = None, headers: Mapping[str, str] | None = None) -> Json:
        connection = self._connect()
        try:
            answer: Json = json.load(self._send(connection, method, path, body, headers))
            return answer
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise ApiError(f"{method} {path} at {self.where}: {_reason(error)}") from error
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
            raise ApiError(
                f"{method} {path} at {self.where}: {response.status} {_message(response.read())}", response.status
            )
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
        self._stopped = threading.Event()

    def objects(self) -> Mapping[str, T] | None:
        """``namespace/name`` (or ``name``) -> reduced object; None before the first list. Never changed in place."""
        return self._objects

    def start(self) -> None:
        threading.Thread(target=self.run, name=f"watch {self._path}", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def run(self) -> None:
        """Follow until stopped: list, watch, and again whenever the connection or the resourceVersion is lost."""
        failures = 0
        while not self._stopped.is_set():
            try:
                version = self._list()
                failures = 0
                while not self._stopped.is_set():
                    version = self._follow(version)
            except ApiError as error:
                if error.status == GONE:
                    log.info("%s: resourceVersion is too old, listing again", self._path)
                    continue
                log.warning("%s; trying again", error)
            except Exception:
                # Whatever it was: a follower that ends would leave its agent with stale data, and nobody would know.
                log.exception("%s: trying again", self._path)
            self._stopped.wait(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
            failures += 1

    def _list(self) -> str:
        answer = self._api.get(self._path)
        self._publish({key(item): self._read(item) for item in answer.get("items") or ()})
        return str(answer["metadata"]["resourceVersion"])

    def _follow(self, version: str) -> str:
        for event in self._api.watch(self._path, version):
            item = event["object"]
            version = str(item["metadata"]["resourceVersion"])
            if event["type"] == "DELETED":
                self._publish({name: value for name, value in (self._objects or {}).items() if name != key(item)})
            elif event["type"] in {"ADDED", "MODIFIED"}:
                self._publish({**(self._objects or {}), key(item): self._read(item)})
            if self._stopped.is_set():
                break
        return version

    def _publish(self, objects: dict[str, T]) -> None:
        if objects != self._objects:
            self._objects = objects
            self._changed()


def key(item: Json) -> str:
    """Name of an object in its collection: ``namespace/name``, or ``name`` for those without a namespace."""
    metadata = item["metadata"]
    return "/".join(part for part in (metadata.get("namespace"), metadata["name"]) if part)


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
