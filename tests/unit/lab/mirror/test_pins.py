"""Digests of images are pinned on first use: skopeo is tried with a registry that is a stand-in of a public one.

It answers as the OCI distribution specification and Docker's of token authentication say: TLS, a bearer token for each
repository, and a tag that can be moved.
"""

import gzip
import hashlib
import http
import json
import shutil
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import IPv4Address
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from kubeproof.terminal.errors import CommandError, UserError
from lab import paths
from lab.mirror import additions, pins
from lab.mirror.registry import layout_digests
from tests.unit.serving import serving

PATH = "project/image"
SCOPE = f"repository:{PATH}:pull"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
needs_skopeo = pytest.mark.skipif(not shutil.which("skopeo"), reason="needs skopeo, which the lab's machine has")


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


class Registry(ThreadingHTTPServer):
    """One repository: what it has by digest, and what its tag points to."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.blobs: dict[str, tuple[str, bytes]] = {}
        self.tags: dict[str, str] = {}
        self.asked: list[str] = []
        self.refused = 0

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def keep(self, kind: str, content: bytes) -> dict[str, object]:
        """Have content, and return its descriptor."""
        self.blobs[digest_of(content)] = kind, content
        return {"mediaType": kind, "digest": digest_of(content), "size": len(content)}

    def publish(self, tag: str, word: str) -> str:
        """Have a tag point to a list with one image, whose only content is a word; returns the list's digest."""
        platform = {"architecture": "amd64", "os": "linux"}
        content = word.encode() * 512
        layer = self.keep(LAYER, gzip.compress(content))
        rootfs = {"type": "layers", "diff_ids": [digest_of(content)]}
        config = self.keep(CONFIG, json.dumps({**platform, "config": {}, "rootfs": rootfs}).encode())
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]}
        image = self.keep(MANIFEST, json.dumps(manifest).encode())
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [{**image, "platform": platform}]}
        self.tags[tag] = str(self.keep(INDEX, json.dumps(index).encode())["digest"])
        return self.tags[tag]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Registry

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path == "/token":
            scopes = parse_qs(parts.query).get("scope", [])
            return self.answer(200, "application/json", json.dumps({"token": f"for {' '.join(scopes)}"}).encode())
        if self.headers.get("Authorization") != f"Bearer for {SCOPE}":
            self.server.refused += 1
            realm = f'Bearer realm="https://{self.server.host}/token",service="stand-in",scope="{SCOPE}"'
            return self.answer(401, "application/json", b"{}", {"WWW-Authenticate": realm})
        name = parts.path.removeprefix(f"/v2/{PATH}/").partition("/")[2]
        self.server.asked.append(name)
        kind, content = self.server.blobs.get(self.server.tags.get(name, name), ("", b""))
        digest = {"Docker-Content-Digest": self.server.tags.get(name, name)}
        return self.answer(200 if kind else 404, kind or "text/plain", content, digest)

    do_HEAD = do_GET  # noqa: N815  # the name that http.server looks for

    def answer(self, code: int, kind: str, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(http.HTTPStatus(code))
        sent = {"Content-Type": kind, "Content-Length": str(len(content)), **(headers or {})}
        for name, text in {**sent, "Docker-Distribution-Api-Version": "registry/2.0"}.items():
            self.send_header(name, text)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def certificate(folder: Path) -> Path:
    """A key and a certificate of 127.0.0.1, signed by itself, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stand-in")])
    address = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / "certificate.pem"
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    monkeypatch.setattr(paths, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(pins, "FILE", tmp_path / "images.lock")
    file = certificate(tmp_path)
    # Go's programs trust it then, and nothing else.
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    monkeypatch.setenv("NO_PROXY", "*")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    server = Registry()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with serving(server):
        yield server


def add(server: Registry) -> str:
    """Add the image by its tag, and return the digest of what is kept."""
    name = f"{server.host}/{PATH}:v1"
    additions.add([name], paths.CACHE)
    return layout_digests(json.loads((additions.layout() / "index.json").read_text()))[additions.tag_of(name)]


@needs_skopeo
def test_the_first_use_pins_what_the_tag_points_to(registry: Registry) -> None:
    digest = registry.publish("v1", "first")
    kept = add(registry)
    assert pins.FILE.read_text() == f"{pins.HEADER}{registry.host}/{PATH}:v1 {digest}\n"
    assert registry.blobs[kept][0] == MANIFEST
    assert registry.refused > 0


@needs_skopeo
def test_a_tag_that_was_moved_changes_nothing(registry: Registry) -> None:
    registry.publish("v1", "first")
    kept = add(registry)
    registry.publish("v1", "second")
    registry.asked.clear()
    assert add(registry) == kept
    assert "v1" not in registry.asked


@needs_skopeo
def test_other_content_below_the_pinned_digest_is_refused(registry: Registry) -> None:
    digest = registry.publish("v1", "first")
    add(registry)
    registry.publish("v1", "second")
    registry.blobs[digest] = registry.blobs[registry.tags["v1"]]
    with pytest.raises(CommandError, match="skopeo copy"):
        add(registry)


@needs_skopeo
def test_what_cannot_be_had_is_not_pinned(registry: Registry) -> None:
    registry.publish("v1", "first")
    del registry.blobs[next(digest for digest, (kind, _) in registry.blobs.items() if kind == LAYER)]
    with pytest.raises(CommandError, match="skopeo copy"):
        add(registry)
    assert not pins.FILE.exists()
    registry.tags.clear()
    with pytest.raises(CommandError, match="skopeo inspect"):
        add(registry)
    assert additions.names() == set()


def test_each_line_that_pins_nothing_is_told(tmp_path: Path) -> None:
    digest = f"sha256:{'0' * 64}"
    file = tmp_path / "images.lock"
    assert pins.read(file) == {}
    file.write_text(f"a/b:1 {digest}\na/b:1 {digest}\na/b {digest}\na/b:2 sha256:0\n")
    with pytest.raises(UserError) as error:
        pins.read(file)
    assert [line.partition(": ")[2].partition(",")[0] for line in error.value.problems] == [
        "line 2 pins an image a second time",
        "line 3 is not NAME:TAG sha256:DIGEST",
        "line 4 is not NAME:TAG sha256:DIGEST",
    ]


def test_pins_stay_and_are_sorted(tmp_path: Path) -> None:
    file = tmp_path / "images.lock"
    for name in ("b:1", "a:1", "b:1"):
        pins.add(file, name, f"sha256:{len(file.read_text()) if file.exists() else 0:064}")
    assert [line.split()[0] for line in file.read_text().splitlines()] == ["#", "a:1", "b:1"]
    assert pins.read(file)["b:1"].endswith("00")
