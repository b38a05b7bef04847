"""The API over ssh: a TLS server of this machine, and an `ssh` that carries bytes and answers for kubectl."""

import base64
import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest

from kubeproof.config.cluster import Cluster, LoadedInventory, Node, SshAccess
from kubeproof.config.settings import parse
from kubeproof.matrix.api import ApiError, SshApi
from tests.unit.samples import SETTINGS
from tests.unit.serving import serving

SSH = f"""#!{sys.executable}
import os, select, socket, sys
words = sys.argv[1:]
if "-W" not in words:
    print(open(os.environ["TEST_CONFIG"]).read())
    sys.exit()
host, _, port = words[words.index("-W") + 1].partition(":")
with open(os.environ["TEST_CALLS"], "a") as calls:
    calls.write(" ".join(words) + "\\n")
connection = socket.create_connection((host, int(port)))
while True:
    readable, _, _ = select.select([0, connection], [], [])
    if connection in readable:
        data = connection.recv(65536)
        if not data:
            sys.exit()
        os.write(1, data)
    if 0 in readable:
        data = os.read(0, 65536)
        if not data:
            sys.exit()
        connection.sendall(data)
"""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = json.loads(self.rfile.read(length)) if length else None
        if self.path == "/invalid":
            causes = [{"field": "spec.ingress", "message": "too strange"}]
            self.send(422, {"message": "is invalid", "details": {"causes": causes}})
        elif self.path == "/hangup":
            self.close_connection = True
            self.send(200, {"bye": True})
        else:
            content = self.headers.get("Content-Type", "")
            self.send(200, {"method": self.command, "path": self.path, "body": body, "type": content})

    do_GET = do_POST = do_PATCH = do_DELETE = answer  # noqa: N815  # http.server's names

    def send(self, status: int, document: Any) -> None:
        data = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


def certificates(folder: Path) -> tuple[Path, Path]:
    """One certificate for all: CA, server, and client."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1",
         "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )  # fmt: skip
    return key, certificate


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshApi]:
    key, certificate = certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
    context.load_cert_chain(certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    encoded = {name: base64.b64encode(file.read_bytes()).decode() for name, file in (("c", certificate), ("k", key))}
    config = {
        "clusters": [{"cluster": {"certificate-authority-data": encoded["c"]}}],
        "users": [{"user": {"client-certificate-data": encoded["c"], "client-key-data": encoded["k"]}}],
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    ssh = tmp_path / "ssh"
    ssh.write_text(SSH)
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("TEST_CONFIG", str(tmp_path / "config.json"))
    monkeypatch.setenv("TEST_CALLS", str(tmp_path / "calls"))
    monkeypatch.setattr("kubeproof.deploy.pyinfra_run.log_file", lambda name: tmp_path / f"{name}.log")
    made = SshApi(inventory(server.server_address[1]))
    with serving(server):
        yield made
        made.close()


def inventory(port: int) -> LoadedInventory:
    leader = Node("leader", IPv4Address("127.0.0.1"), "control-plane")
    # Any free port will do, also one in the range of NodePorts.
    settings = replace(parse(SETTINGS), api_port=port)
    return LoadedInventory(Path("x"), Cluster(settings, (leader,)), {"leader": SshAccess("leader", user="root")})


def calls(tmp_path: Path) -> list[str]:
    return (tmp_path / "calls").read_text().splitlines()


def test_one_connection_carries_all_requests(api: SshApi, tmp_path: Path) -> None:
    assert api.request("GET", "/api/v1/pods")["method"] == "GET"
    posted = api.request("POST", "/x", {"a": [1]}, dryRun="All")
    assert (posted["path"], posted["body"], posted["type"]) == ("/x?dryRun=All", {"a": [1]}, "application/json")
    assert api.request("PATCH", "/x", {})["type"] == "application/merge-patch+json"
    (call,) = calls(tmp_path)
    assert "-l root" in call
    assert call.endswith(" leader")


def test_refusals_have_their_causes(api: SshApi) -> None:
    with pytest.raises(ApiError, match="GET /invalid: is invalid") as caught:
        api.request("GET", "/invalid")
    assert (caught.value.status, caught.value.causes) == (422, ("spec.ingress: too strange",))


def test_a_connection_that_ended_is_made_again(api: SshApi, tmp_path: Path) -> None:
    assert api.request("GET", "/hangup") == {"bye": True}
    assert api.request("GET", "/y")["path"] == "/y"
    assert api._process is not None
    api._process.kill()
    api._process.wait()
    assert api.request("GET", "/z")["path"] == "/z"
    assert len(calls(tmp_path)) == 3


def test_without_ssh_there_is_one_clear_line(api: SshApi, tmp_path: Path) -> None:
    api.request("GET", "/x")
    api.close()
    (tmp_path / "ssh").write_text("#!/bin/sh\nexit 255\n")
    with pytest.raises(ApiError, match="no connection by ssh") as caught:
        api.request("GET", "/x")
    assert "\n" not in str(caught.value)


def test_nothing_secret_stays_behind(api: SshApi, tmp_path: Path) -> None:
    before = set(Path("/tmp").glob("kubeproof-*"))  # noqa: S108  # looked into, not written to
    api.request("GET", "/x")
    assert set(Path("/tmp").glob("kubeproof-*")) <= before  # noqa: S108
    assert "PRIVATE" not in "".join(file.read_text() for file in tmp_path.glob("*.log"))
