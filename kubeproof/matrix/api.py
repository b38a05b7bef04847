"""The API server, asked over one TLS connection that ssh carries from the control plane host's own address.

Nothing listens anywhere for it, here or there (`kubectl proxy` would offer the administrator's rights to every user of
the host), and a request takes milliseconds where a start of kubectl takes a third of a second.
"""

import base64
import http.client
import json
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import urlencode

from kubeproof.access import remote_kubectl
from kubeproof.config.cluster import LoadedInventory
from kubeproof.config.tables import paths
from kubeproof.deploy import pyinfra_run
from kubeproof.matrix.cases import Json
from kubeproof.matrix.channel import KEEPALIVE, end, last_words
from kubeproof.terminal.errors import CommandError

REQUEST_SECONDS = 30
NOT_FOUND, CONFLICT, FORBIDDEN, INVALID = 404, 409, 403, 422
MERGE_PATCH = "application/merge-patch+json"


COLLECTIONS = {"Pod": "pods", "Service": "services"}


def collection_path(item: Json) -> str:
    """The API's path of the objects of one kind, in one namespace if they are in one."""
    if item["kind"] == "Namespace":
        return "/api/v1/namespaces"
    return f"/api/v1/namespaces/{item['metadata']['namespace']}/{COLLECTIONS[item['kind']]}"


def object_path(item: Json) -> str:
    return f"{collection_path(item)}/{item['metadata']['name']}"


class ApiError(CommandError):
    """The API server could not be reached, or refused; ``causes`` are the fields that it finds wrong."""

    def __init__(self, text: str, status: int = 0, causes: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.status = status
        self.causes = causes


class Api(Protocol):
    """What the runner needs of the API server; tests have their own."""

    def request(self, method: str, path: str, body: Json | None = None, **query: str) -> Json:
        """The object in the answer. Raises ApiError."""
        ...

    def close(self) -> None: ...


class SshApi:
    """One connection, opened when it is first needed and once more after it has died."""

    def __init__(self, loaded: LoadedInventory) -> None:
        self._loaded = loaded
        self._log = pyinfra_run.log_file("matrix-api")
        self._context: ssl.SSLContext | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: http.client.HTTPConnection | None = None

    def request(self, method: str, path: str, body: Json | None = None, **query: str) -> Json:
        """The object in the answer. Raises ApiError, also where ssh cannot be used."""
        target = f"{path}?{urlencode(query)}" if query else path
        try:
            status, data = self._exchange(method, target, body)
        except (OSError, http.client.HTTPException):
            self.close()
            try:
                status, data = self._exchange(method, target, body)
            except (OSError, http.client.HTTPException) as error:
                self.close()
                words = last_words(self._log)
                raise ApiError(f"{method} {path}: no connection by ssh: {error} {words}") from None
        return _read(method, path, status, data)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
        process, self._process = self._process, None
        if process is not None:
            end(process)

    def _exchange(self, method: str, target: str, body: Json | None) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = self._open()
        headers = {"Accept": "application/json", "User-Agent": "kubeproof"}
        if body is not None:
            headers["Content-Type"] = MERGE_PATCH if method == "PATCH" else "application/json"
        self._connection.request(method, target, None if body is None else json.dumps(body).encode(), headers)
        response = self._connection.getresponse()
        return response.status, response.read()

    def _open(self) -> http.client.HTTPConnection:
        leader = self._loaded.cluster.leader
        host, port = str(leader.address), self._loaded.cluster.settings.api_port
        if self._context is None:
            self._context = tls_context(self._loaded)
        access = self._loaded.ssh[leader.name]
        ssh_word, *options = access.command()[:-1]
        ours, theirs = socket.socketpair()
        try:
            with self._log.open("ab") as log:
                # In a session of its own: after Ctrl-C it is still needed, to put everything back.
                self._process = subprocess.Popen(
                    [ssh_word, *KEEPALIVE, *options, "-W", f"{host}:{port}", access.hostname],
                    stdin=theirs.fileno(),
                    stdout=theirs.fileno(),
                    stderr=log,
                    start_new_session=True,
                )
            theirs.close()
            ours.settimeout(REQUEST_SECONDS)
            secured = self._context.wrap_socket(ours, server_hostname=host)
        except BaseException:
            ours.close()
            theirs.close()
            raise
        connection = http.client.HTTPConnection(host, port)
        connection.sock = secured
        # Without this it would connect by itself once the other side has closed.
        connection.auto_open = 0
        return connection


def tls_context(loaded: LoadedInventory) -> ssl.SSLContext:
    """The administrator's certificate and the cluster's CA, in memory but for the moment in which ssl reads them."""
    text = remote_kubectl.capture(loaded, ["config", "view", "--raw", "-o", "json"])
    try:
        config = json.loads(text)
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        certificate = base64.b64decode(user["client-certificate-data"])
        key = base64.b64decode(user["client-key-data"])
    except (ValueError, KeyError, IndexError, TypeError) as error:
        raise ApiError(f"{paths.ADMIN_CONF}: has no client certificate ({error!r})") from None
    context = ssl.create_default_context(cadata=authority)
    # ssl takes a key from a file only; the file is the user's alone, and gone in a moment.
    with tempfile.NamedTemporaryFile(prefix="kubeproof-") as file:
        file.write(certificate + b"\n" + key)
        file.flush()
        context.load_cert_chain(Path(file.name))
    return context


def _read(method: str, path: str, status: int, data: bytes) -> Json:
    try:
        document = json.loads(data)
    except ValueError:
        document = {}
    if status < 300 and isinstance(document, dict):
        return document
    message = document.get("message") if isinstance(document, dict) else None
    causes = (document.get("details") or {}).get("causes") or () if isinstance(document, dict) else ()
    raise ApiError(f"{method} {path}: {message or f'HTTP status {status}'}", status, tuple(map(_cause, causes)))


def _cause(cause: Mapping[str, str]) -> str:
    return f"{cause.get('field', '')}: {cause.get('message', '')}"
