"""A manifest and the settings of a cluster put together: what is applied, pulled and waited for. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kubeproof.networks import api, documents, plugins, references
from kubeproof.terminal.errors import UserError

if TYPE_CHECKING:
    from kubeproof.config.settings import Settings

Object = dict[str, Any]


@dataclass(frozen=True)
class NetworkPlan:
    """What a pod network needs."""

    text: str
    """The objects to apply, as YAML; empty for a network whose objects are a template of this project."""
    images: tuple[str, ...]
    """What its pods start from, as the nodes pull it."""
    published: tuple[str, ...]
    """The same images as their project publishes them, in the same order."""
    workloads: tuple[str, ...]
    """Workloads that have to be ready, as kind/namespace/name."""
    namespaces: tuple[str, ...]
    host_plugins: tuple[str, ...]
    """CNI plugins that have to be on every host beside those that the network brings."""
    ports: tuple[int, ...]
    """TCP ports of the hosts that its pods listen on."""
    notes: tuple[str, ...]
    """What was done differently than the manifest says, for people."""
    host_paths: tuple[tuple[str, str], ...] = ()
    """Path and type of what has to be on every host for kubelet to start its pods."""
    doubt: tuple[str, str] | None = None
    """Why it may not run with this Kubernetes, and what comes of that (catalogue.doubt)."""


def pods_mtu(settings: "Settings", tunnel_mtu: int | None) -> int | None:
    """What a packet of a pod can have, in bytes; None leaves that to the network.

    ``tunnel_mtu`` is what the hosts leave for one, where that is known.
    """
    return settings.cni_mtu or (None if settings.network.finds_mtu else tunnel_mtu)


def of_template(settings: "Settings") -> NetworkPlan:
    """A network whose objects are a template of this project."""
    network = settings.network
    images = tuple(str(getattr(settings, name)) for name in network.image_settings)
    namespaces = network.agent.namespaces
    workloads = tuple(f"daemonset/{namespace}/{network.agent.daemon_set}" for namespace in namespaces)
    return NetworkPlan("", images, images, workloads, namespaces, (), (), ())


def build(text: str, settings: "Settings", origin: str, tunnel_mtu: int | None = None) -> NetworkPlan:
    """Read, adapt and patch a manifest. Raises UserError; ``origin`` names the manifest there."""
    manifest = settings.network.manifest
    if manifest is None:
        raise LookupError(f"{settings.cni} is none of a manifest")
    objects = documents.load(text, origin)
    try:
        adapted = api.adapt(objects, settings.kubernetes_minor, origin)
        patched = manifest.patch(adapted.objects, settings, pods_mtu(settings, tunnel_mtu), origin)
        notes = (*adapted.notes, *manifest.left_out(adapted.objects, settings))
        return NetworkPlan(
            text=documents.dump(patched),
            images=references.images(patched),
            published=references.images(adapted.objects),
            workloads=tuple(_workloads(patched)),
            namespaces=tuple(dict.fromkeys(workload.split("/")[1] for workload in _workloads(patched))),
            host_plugins=plugins.needed_of_host(patched, manifest, origin),
            ports=tuple(sorted(set(_ports(patched)))),
            notes=tuple(f"{origin}: {note}" for note in notes),
            host_paths=references.host_paths(patched),
        )
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, RecursionError) as error:
        raise UserError(
            f"cni_manifest: {origin} has an object that is built in another way than Kubernetes' own ({error!r}), "
            "correct it or leave cni_manifest empty"
        ) from None


def _workloads(objects: Sequence[Object]) -> Iterator[str]:
    for item in objects:
        if item["kind"] in ("DaemonSet", "Deployment"):
            metadata = item["metadata"]
            yield f"{item['kind'].lower()}/{metadata.get('namespace', 'default')}/{metadata['name']}"


def _ports(objects: Sequence[Object]) -> Iterator[int]:
    """Ports that pods in the hosts' network name, and those that they are probed at."""
    for spec in references.pod_specs(objects):
        if not spec.get("hostNetwork"):
            continue
        for container in spec["containers"]:
            yield from (port["containerPort"] for port in container.get("ports") or ())
            for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
                port = container.get(probe, {}).get("httpGet", {}).get("port")
                if isinstance(port, int):
                    yield port
