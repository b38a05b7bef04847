"""The lab's image registry on its gateway (plain HTTP), and getting images into it."""

import http
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from kubeproof.terminal.console import step
from kubeproof.terminal.errors import CommandError
from lab import paths, shell
from lab.mirror import cache, daemons
from lab.mirror.daemons import Daemon

if TYPE_CHECKING:
    from lab.settings import LabSettings

SERVICE = "docker-registry"
"""Debian's system service and system user of that name; the service must not run, the lab starts the program itself."""
PROGRAM = "/usr/bin/docker-registry"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
REQUEST_SECONDS = 10
MOST_NAMES = 1000
"""What the registry lists at once at most (catalog.maxentries); the lab has about ten images."""


def daemon(lab: "LabSettings") -> Daemon:
    """The registry with the lab's own configuration; the system's in /etc/docker/registry is never read."""
    file = paths.MIRROR / "registry.yml"
    return Daemon(
        name=SERVICE,
        command=(PROGRAM, "serve", str(file)),
        user=SERVICE,
        address=lab.gateway,
        port=lab.registry_port,
        config=lambda: {file: render(lab.gateway, lab.registry_port, storage())},
        writable=(storage(),),
        # Otherwise it would wait for a tracing service that is not there.
        env={"OTEL_TRACES_EXPORTER": "none"},
    )


def storage() -> Path:
    return paths.CACHE / "registry"


def render(address: IPv4Address, port: int, storage: Path) -> str:
    """The registry's configuration (distribution 2.8, docs/configuration.md)."""
    document = {
        "version": 0.1,
        "log": {"level": "warn", "formatter": "text", "accesslog": {"disabled": True}},
        "storage": {
            "filesystem": {"rootdirectory": str(storage)},
            "delete": {"enabled": False},
            "cache": {"blobdescriptor": "inmemory"},
        },
        "http": {"addr": f"{address}:{port}", "headers": {"X-Content-Type-Options": ["nosniff"]}},
    }
    return yaml.safe_dump(document, sort_keys=False)


@dataclass(frozen=True)
class Shelf:
    """Images of an OCI layout: its tags, each with a full reference ``host:port/name:tag``."""

    layout: Path
    images: Mapping[str, str]

    def digests(self) -> dict[str, str]:
        if not self.images:
            return {}
        digests = layout_digests(json.loads((self.layout / "index.json").read_text()))
        return {reference: digests[tag] for tag, reference in self.images.items()}


def fill(server: Daemon, *shelves: Shelf) -> int:
    """Bring the running registry to hold the images of these shelves and no others, and return how many it lacked.

    Raises CommandError if the registry does not answer.
    """
    wanted = {reference: digest for shelf in shelves for reference, digest in shelf.digests().items()}
    held = held_by(f"{server.address}:{server.port}")
    if is_outdated(held, wanted):
        # Deleting single images would take the registry's garbage collection, and filling it anew takes seconds.
        _empty(server)
        held = {}
    missing = {
        reference: f"oci:{shelf.layout}:{tag}"
        for shelf in shelves
        for tag, reference in shelf.images.items()
        if reference not in held
    }
    if missing:
        names = ", ".join(sorted(reference.partition("/")[2] for reference in missing))
        with step(f"images into the registry: {names}"):
            for reference, image in missing.items():
                _copy(image, reference)
    return len(missing)


def put(shelf: Shelf) -> None:
    """Copy a shelf's images into the running registry, whatever else it holds."""
    for tag, reference in shelf.images.items():
        _copy(f"oci:{shelf.layout}:{tag}", reference)


def is_outdated(held: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    """Whether a registry holds anything that is not wanted; both map references to digests."""
    return any(wanted.get(reference) != digest for reference, digest in held.items())


def held_by(host: str) -> dict[str, str]:
    """Reference -> digest of every image that the registry at ``host:port`` has."""
    names = json.loads(_ask(host, f"_catalog?n={MOST_NAMES}")[0] or "{}").get("repositories") or []
    found = {}
    for name in names:
        for tag in json.loads(_ask(host, f"{name}/tags/list")[0] or "{}").get("tags") or []:
            found[f"{host}/{name}:{tag}"] = _ask(host, f"{name}/manifests/{tag}")[1].get("Docker-Content-Digest", "")
    return found


def layout_digests(index: Mapping[str, object]) -> dict[str, str]:
    """Tag -> digest from the index.json of an OCI layout."""
    manifests = index.get("manifests")
    found: dict[str, str] = {}
    for manifest in manifests if isinstance(manifests, list) else ():
        tag = manifest.get("annotations", {}).get("org.opencontainers.image.ref.name")
        if tag:
            found[tag] = manifest["digest"]
    return found


_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""The registry is on this machine: a proxy set in the environment must not be asked for it."""


def _ask(host: str, path: str) -> tuple[str, Mapping[str, str]]:
    """Body and headers of an answer; both empty where the registry has nothing there."""
    request = urllib.request.Request(f"http://{host}/v2/{path}", headers={"Accept": MANIFEST_TYPE})
    try:
        with _opener.open(request, timeout=REQUEST_SECONDS) as answer:
            return answer.read().decode(), answer.headers
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.NOT_FOUND:
            return "", {}
        raise CommandError(f"registry {host}: {path}: {error}") from error
    except OSError as error:
        raise CommandError(f"registry {host}: does not answer ({error})") from error


def _empty(server: Daemon) -> None:
    daemons.stop(server)
    cache.remove(storage())
    daemons.start(server)


def _copy(source: str, reference: str) -> None:
    # The lab's registry speaks plain HTTP on a bridge of this machine; digests are checked after all.
    quiet = ["--quiet", "--dest-tls-verify=false", "--preserve-digests"]
    shell.run(["skopeo", "copy", *quiet, source, f"docker://{reference}"], env={"NO_PROXY": "*", "no_proxy": "*"})
