"""Whether registries have the images that hosts will pull, asked before any host is changed."""

import functools
import http
import json
import re
import ssl
import urllib.error
import urllib.parse
import urllib.request
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any

from kubeproof.config.settings import Settings
from kubeproof.config.tables.runtimes import full_reference
from kubeproof.networks.plan import NetworkPlan
from kubeproof.node.finding import Finding

REQUEST_SECONDS = 10
DOCUMENT_BYTES = 1 << 22
"""Registries take manifests of up to 4 MiB (OCI distribution specification)."""
AT_ONCE = 16
DOCKER_HUB, DOCKER_HUB_SERVER = "docker.io", "registry-1.docker.io"
MANIFEST_TYPES = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
"""Kinds of manifests that container runtimes take (OCI distribution and image specifications)."""


def missing(settings: Settings, network: NetworkPlan, lacks: Callable[[str], bool] | None = None) -> list[Finding]:
    """One finding if the registry of cni_image_repository lacks images of the network; else empty.

    ``lacks`` says so of a reference. None: the registry is asked, and one that cannot be asked from here, or wants
    credentials, is left to the nodes.
    """
    if not network.text or not settings.cni_image_repository:
        return []
    says_no = lacks or (lambda image: _has(settings, image) is False)
    lacking = [published for image, published in zip(network.images, network.published, strict=True) if says_no(image)]
    if not lacking:
        return []
    return [
        Finding(
            "missing-images",
            "",
            f"{settings.cni_image_repository} (cni_image_repository) lacks {', '.join(lacking)}",
            "so the pod network cannot start",
            f"in the lab add what is missing with `./inv mirror.add {' '.join(lacking)}` (from a machine that reaches "
            "these registries, or with NAME=FILE from an archive), elsewhere with skopeo copy, or use cni = 'podnet'",
        )
    ]


def url_of(image: str, scheme: str) -> str:
    """Where a registry has an image's manifest (OCI distribution specification, "Pulling manifests")."""
    name, at, digest = image.partition("@")
    registry, _, path = name.partition("/")
    path, colon, tag = path.partition(":")
    reference = digest if at else tag if colon else "latest"
    return f"{scheme}://{registry}/v2/{path}/manifests/{reference}"


def lacking(settings: Settings, images: Iterable[str]) -> tuple[list[str], list[str]]:
    """Which of the images their registries lack, and of which nothing can be said from here. Asks all at once.

    A registry that cannot be reached from here, or that wants credentials, may well answer hosts.
    """
    wanted = list(dict.fromkeys(images))
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        answers = dict(zip(wanted, pool.map(functools.partial(_has, settings), wanted), strict=True))
    return [image for image in wanted if answers[image] is False], [image for image in wanted if answers[image] is None]


def absent(images: Iterable[str], host: str = "") -> list[Finding]:
    """A finding for each registry that lacks some of the images. Pure."""
    by_registry: dict[str, list[str]] = defaultdict(list)
    for image in map(full_reference, images):
        registry, _, path = image.partition("/")
        by_registry[registry].append(path)
    return [
        Finding(
            "missing-images",
            host,
            f"{registry} lacks {', '.join(paths)}",
            "so hosts that need that cannot pull it",
            "correct image_repository, the tag or the image that is set, or put it there (in the lab by `./inv "
            f"mirror.build` or `./inv mirror.add {' '.join(paths)}`)",
        )
        for registry, paths in by_registry.items()
    ]


def unbuilt(settings: Settings, wanted: Mapping[str, Iterable[str]]) -> list[Finding]:
    """A finding for each architecture that images are not built for; ``wanted`` has the images of its hosts by name.

    What a registry does not tell from here is left to the hosts.
    """
    asked = list(dict.fromkeys(image for images in wanted.values() for image in images))
    with ThreadPoolExecutor(max_workers=AT_ONCE) as pool:
        built = dict(zip(asked, pool.map(functools.partial(architectures, settings), asked), strict=True))
    found = {
        name: [image for image in images if built[image] and name not in built[image]]
        for name, images in wanted.items()
    }
    return [
        Finding(
            "missing-images",
            "",
            f"{', '.join(dict.fromkeys(images))}: not built for {name}, which hosts are",
            "so pods of that do not start there",
            "name images whose index has every architecture of the hosts; `./inv mirror.build` builds for amd64 alone",
        )
        for name, images in found.items()
        if images
    ]


def architectures(settings: Settings, image: str) -> frozenset[str]:
    """Architectures that a registry has an image for, as Kubernetes calls them; empty where it does not tell."""
    for url in places(settings, image):
        if manifest := _document(url):
            try:
                return frozenset(_architectures(url, manifest))
            except (AttributeError, TypeError):
                break
    return frozenset()


def _architectures(url: str, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Of an index, or of the one image that there is (OCI image specification)."""
    for item in manifest.get("manifests", ()):
        yield item.get("platform", {}).get("architecture", "")
    if digest := manifest.get("config", {}).get("digest"):
        yield from filter(None, [_document(f"{url.partition('/manifests/')[0]}/blobs/{digest}").get("architecture")])


def places(settings: Settings, image: str) -> list[str]:
    """URLs at which a runtime looks for an image's manifest, one after the other. Pure."""
    image = full_reference(image)
    registry, _, path = image.partition("/")
    scheme = "http" if registry in settings.insecure_registries else "https"
    if registry != DOCKER_HUB:
        return [url_of(image, scheme)]
    mirrors = [mirror.rstrip("/").partition("://") for mirror in settings.registry_mirrors]
    urls = [url_of(f"{place}/{path}", mirror_scheme) for mirror_scheme, _, place in mirrors]
    return [*urls, url_of(f"{DOCKER_HUB_SERVER}/{path}", scheme)]


def _has(settings: Settings, image: str) -> bool | None:
    """Whether one of the places has an image; None if none has, and not all have said that they lack it."""
    answers = []
    for url in places(settings, image):
        answers.append(_answer(url))
        if answers[-1]:
            return True
    return False if all(answer is False for answer in answers) else None


def _answer(url: str, token: str = "") -> bool | None:
    """Whether there is a manifest; None if that is not known. Registries that let anybody in want a token all the same
    (distribution specification, "Token Authentication")."""
    try:
        with _opener(url).open(_request(url, "HEAD", token), timeout=REQUEST_SECONDS):
            return True
    except urllib.error.HTTPError as error:
        if error.code == http.HTTPStatus.UNAUTHORIZED and not token and (given := _token(error)):
            return _answer(url, given)
        return False if error.code == http.HTTPStatus.NOT_FOUND else None
    except (OSError, HTTPException, ValueError):
        return None


def _document(url: str, token: str = "") -> dict[str, Any]:
    """What a registry has there, in JSON; empty if it does not give that to anybody."""
    try:
        with _opener(url).open(_request(url, "GET", token), timeout=REQUEST_SECONDS) as answer:
            found = json.loads(answer.read(DOCUMENT_BYTES))
    except urllib.error.HTTPError as error:
        given = _token(error) if error.code == http.HTTPStatus.UNAUTHORIZED and not token else ""
        return _document(url, given) if given else {}
    except (OSError, HTTPException, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _request(url: str, method: str, token: str) -> urllib.request.Request:
    headers = {"Accept": ", ".join(MANIFEST_TYPES), **({"Authorization": f"Bearer {token}"} if token else {})}
    return urllib.request.Request(url, headers=headers, method=method)  # noqa: S310  # http only where that is set


def _token(refusal: urllib.error.HTTPError) -> str:
    """What the registry's own server of tokens gives to anybody; empty if it gives none."""
    words = dict(re.findall(r'(\w+)="([^"]*)"', refusal.headers.get("WWW-Authenticate", "")))
    # Not from an encrypted place to one that is not.
    if not words.get("realm", "").startswith(("https://", f"{refusal.url.partition('://')[0]}://")):
        return ""
    query = urllib.parse.urlencode({key: words[key] for key in ("service", "scope") if key in words})
    try:
        with _opener(words["realm"]).open(f"{words['realm']}?{query}", timeout=REQUEST_SECONDS) as answer:
            found = json.loads(answer.read(1 << 16))
    except (OSError, HTTPException, ValueError):
        return ""
    return str(found.get("token") or found.get("access_token") or "") if isinstance(found, dict) else ""


def _opener(url: str) -> urllib.request.OpenerDirector:
    """What is served without TLS is near, as the lab's: a proxy is not asked for it."""
    return _opener_of(url.startswith("http:"))


@functools.cache
def _opener_of(plain: bool) -> urllib.request.OpenerDirector:
    if plain:
        return urllib.request.build_opener(urllib.request.ProxyHandler({}))
    # Without a context of its own it reads all certificates of this machine for each request (Python 3.11).
    return urllib.request.build_opener(urllib.request.HTTPSHandler(context=ssl.create_default_context()))
