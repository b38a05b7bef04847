"""Which places hosts fetch packages and images from, and whether they reach them. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from kubeproof.config.cluster import Cluster, Node
from kubeproof.config.settings import Settings
from kubeproof.config.tables.runtimes import full_reference
from kubeproof.config.tables.systems import ARCHITECTURES, System, system_of
from kubeproof.node import images, proxies
from kubeproof.node.finding import Finding
from kubeproof.node.image_registry import DOCKER_HUB, DOCKER_HUB_SERVER
from kubeproof.rules.before_deploy.inspection import Asked, Inspection, of_each_host
from kubeproof.rules.rule import either_rule, error_rule
from kubeproof.state.node import NodeState

ANSWER_SECONDS = 5
"""How long a place may take to answer before it counts as not reached."""
UNTRIED = "untried"
"""The answer where a host has no program to ask with."""
CONNECTED = "connected"
_REGISTRY_ANSWERS = ("200", "301", "302", "307", "308", "401", "403", "404", "405")
"""A registry may ask who wants something, or have no entrance of its own at /v2/; what is refused is pulled later."""
_REPOSITORY_ANSWERS = ("200", "301", "302", "304", "307", "308")
_SETTINGS = {"packages": "kubernetes_apt_url or kubernetes_rpm_url", "images": "image_repository and the other images"}

package_source = either_rule(
    "package-source",
    "the host reaches the Kubernetes packages (error) and its system's archives (warning)",
    "Kubernetes cannot be installed",
)
image_source = either_rule(
    "image-source",
    "the host reaches the registries of its images; a warning if it cannot be tried",
    "images cannot be pulled",
)
missing_images = error_rule(
    "missing-images",
    "registries have the images that hosts will pull, as far as they can be asked without credentials",
    "so that image cannot be pulled",
)


@dataclass(frozen=True)
class Source:
    url: str
    kind: str
    """"packages", "images", or "manifest" for one image."""
    proxied: bool


def places(cluster: Cluster, node: Node, facts: NodeState, network_images: Sequence[str]) -> tuple[Source, ...]:
    """What a host of this role and system fetches from, each place once; its system's own archives are not among it."""
    settings, system = cluster.settings, system_of(facts.system)
    urls = [(url, "packages") for url in (_packages(settings, system, facts.architecture) if system else ())]
    urls += [(url, "images") for url in _registries(settings, node, network_images)]
    used = proxies.is_used(settings)
    return tuple(Source(url, kind, used and not proxies.is_direct(cluster, url)) for url, kind in dict.fromkeys(urls))


def manifests(cluster: Cluster, urls: Iterable[str]) -> tuple[Source, ...]:
    """The same for images, by the URLs of their manifests."""
    used = proxies.is_used(cluster.settings)
    return tuple(Source(url, "manifest", used and not proxies.is_direct(cluster, url)) for url in dict.fromkeys(urls))


def _packages(settings: Settings, system: System, architecture: str) -> Iterator[str]:
    if system.manager == "apt":
        urls, index = [settings.kubernetes_apt_url or settings.era.repository("deb")], "InRelease"
    else:
        urls, index = [settings.kubernetes_rpm_url or settings.era.repository("rpm")], "repodata/repomd.xml"
        urls.append(settings.runtime_rpm_url or system.runtime_url)
    machine = next((machine for machine, name in ARCHITECTURES.items() if name == architecture), architecture)
    for url in urls:
        if url:
            yield f"{url.replace('$basearch', machine).rstrip('/')}/{index}"


def _registries(settings: Settings, node: Node, network_images: Sequence[str]) -> Iterator[str]:
    for image in images.images_for(node.role, settings, network_images):
        named = full_reference(image).partition("/")[0]
        registry = DOCKER_HUB_SERVER if named == DOCKER_HUB else named
        yield f"{'http' if registry in settings.insecure_registries else 'https'}://{registry}/v2/"


@of_each_host
def findings(inspection: Inspection, node: Node, _: NodeState) -> Iterator[Finding]:
    """Places that hosts which are no nodes yet do not reach."""
    for item in inspection.sources.get(node.name, ()):
        if item.kind == "manifest":
            # Whatever else it says, it may have the image for who shows credentials.
            if item.answer == "404":
                remedy = "correct image_repository, the tag or the image that is set, or put it there"
                yield missing_images.finding(f"does not get {item.source} (404)", remedy)
        elif item.answer == UNTRIED:
            yield _untried(item)
        elif not _reached(item):
            yield _unreached(item)


def _reached(item: Asked) -> bool:
    fine = _REGISTRY_ANSWERS if item.kind == "images" else _REPOSITORY_ANSWERS
    return item.answer == CONNECTED or item.answer in fine


def _untried(item: Asked) -> Finding:
    found, breaks, remedy = f"could not ask for {item.source}", "so nothing is known of it", "install curl there"
    if item.kind == "images":
        return image_source.finding(found, remedy, breaks=breaks, severity="warning")
    return package_source.finding(found, remedy, breaks=breaks, severity="warning")


def _unreached(item: Asked) -> Finding:
    found = f"does not get {item.source} ({item.answer})"
    advice = f"try `curl -ILm {ANSWER_SECONDS} {item.source}` there"
    if item.kind == "archive":
        breaks = "an archive of its own system, and packages may be missing"
        return package_source.finding(found, advice, breaks=breaks, severity="warning")
    advice += f", set http_proxy, or correct {_SETTINGS[item.kind]}"
    if item.kind == "images":
        return image_source.finding(found, advice, breaks="so images cannot be pulled")
    return package_source.finding(found, advice, breaks="so Kubernetes cannot be installed")
