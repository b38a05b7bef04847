"""The lab's image registry on its gateway (plain HTTP), and getting images into it."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from kubeproof.console import step
from lab import paths, shell
from lab.mirror.daemons import Daemon

if TYPE_CHECKING:
    from lab.settings import LabSettings

PACKAGES = ("docker-registry", "skopeo")
"""Debian packages that this module needs on the lab's machine."""

SERVICE = "docker-registry"
"""Debian's system service and system user of that name; the service must not run, the lab starts the program itself."""
PROGRAM = "/usr/bin/docker-registry"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
REQUEST_SECONDS = 10


def daemon(lab: "LabSettings") -> Daemon:
    """The registry with the lab's own configuration; the system's in /etc/docker/registry is never read."""
    file = paths.MIRROR / "registry.yml"
    storage = paths.CACHE / "registry"
    return Daemon(
        name=SERVICE,
        command=(PROGRAM, "serve", str(file)),
        user=SERVICE,
        address=lab.gateway,
        port=lab.registry_port,
        config={file: render(lab.gateway, lab.registry_port, storage)},
        writable=(storage,),
        # Otherwise it would wait for a tracing service that is not there.
        env={"OTEL_TRACES_EXPORTER": "none"},
    )


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


def push(layout: Path, images: Mapping[str, str]) -> int:
    """Bring the registry to hold these images, and return how many it lacked.

    ``layout`` is an OCI layout; ``images`` maps its tags to full references ``host:port/name:tag``.
    """
    wanted = layout_digests(json.loads((layout / "index.json").read_text()))
    missing = {tag: reference for tag, reference in images.items() if digest_of(reference) != wanted[tag]}
    if missing:
        with step(f"images into the registry: {', '.join(sorted(_name(text) for text in missing.values()))}"):
            for tag, reference in missing.items():
                _copy(f"oci:{layout}:{tag}", reference)
    return len(missing)


def digest_of(reference: str) -> str:
    """Digest of the manifest that the registry has for ``host:port/name:tag``, or an empty text."""
    host, _, rest = reference.partition("/")
    name, _, tag = rest.rpartition(":")
    request = urllib.request.Request(
        f"http://{host}/v2/{name}/manifests/{tag}", method="HEAD", headers={"Accept": MANIFEST_TYPE}
    )
    try:
        with _opener.open(request, timeout=REQUEST_SECONDS) as answer:
            return str(answer.headers.get("Docker-Content-Digest", ""))
    except urllib.error.HTTPError:
        return ""


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


def _copy(source: str, reference: str) -> None:
    # The lab's registry speaks plain HTTP on a bridge of this machine; digests are checked after all.
    quiet = ["--quiet", "--dest-tls-verify=false", "--preserve-digests"]
    shell.run(["skopeo", "copy", *quiet, source, f"docker://{reference}"], env={"NO_PROXY": "*", "no_proxy": "*"})


def _name(reference: str) -> str:
    return reference.partition("/")[2]
