"""A manifest and the settings of a cluster put together: what is applied, pulled and waited for. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kubeproof.config.settings import Settings
from kubeproof.networks import api, documents, patching, plugins, references
from kubeproof.networks.networks import NETWORKS
from kubeproof.terminal.errors import UserError

Object = dict[str, Any]


@dataclass(frozen=True)
class PodNetwork:
    """What a pod network of a manifest needs."""

    text: str
    """The objects to apply, as YAML; empty for podnet, whose objects are a template of this project."""
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


def wishes_of(settings: Settings, tunnel_mtu: int | None = None) -> patching.Wishes:
    """What the settings want a manifest to be.

    ``tunnel_mtu`` is what a packet may have between the hosts. flannel works it out by itself; Calico takes the hosts'
    own MTU, because it knows nothing of flannel's tunnel (felix, dataplane/linux/int_dataplane.go, determinePodMTU).
    """
    mtu = settings.cni_mtu or (None if NETWORKS[settings.cni].bridge else tunnel_mtu)
    return patching.Wishes(
        project=settings.cni,
        pod_cidr=settings.pod_cidr,
        backend=settings.cni_backend,
        vni=settings.vxlan_vni,
        port=settings.vxlan_port,
        interface=settings.cni_interface,
        mtu=mtu,
        image_repository=settings.cni_image_repository,
    )


def of_podnet(settings: Settings) -> PodNetwork:
    """This project's own network."""
    images = (settings.podnet_image,)
    return PodNetwork("", images, images, ("daemonset/kube-system/podnet",), ("kube-system",), (), (), ())


def build(text: str, settings: Settings, origin: str, tunnel_mtu: int | None = None) -> PodNetwork:
    """Read, adapt and patch a manifest. Raises UserError; ``origin`` names the manifest there."""
    objects = documents.load(text, origin)
    try:
        return _built(objects, settings, origin, tunnel_mtu)
    except (KeyError, TypeError, AttributeError, ValueError, IndexError, RecursionError) as error:
        raise UserError(
            f"cni_manifest: {origin} has an object that is built in another way than Kubernetes' own ({error!r}), "
            "correct it or leave cni_manifest empty"
        ) from None


def _built(objects: Sequence[Object], settings: Settings, origin: str, tunnel_mtu: int | None) -> PodNetwork:
    adapted = api.adapt(objects, settings.kubernetes_minor, origin)
    wishes = wishes_of(settings, tunnel_mtu)
    patched = patching.patch(adapted.objects, wishes, origin)
    notes = (*adapted.notes, *patching.left_out(adapted.objects, wishes))
    return PodNetwork(
        text=documents.dump(patched),
        images=references.images(patched),
        published=references.images(adapted.objects),
        workloads=tuple(_workloads(patched)),
        namespaces=tuple(dict.fromkeys(workload.split("/")[1] for workload in _workloads(patched))),
        host_plugins=plugins.needed_of_host(patched, settings.cni, origin),
        ports=tuple(sorted(set(_ports(patched)))),
        notes=tuple(f"{origin}: {note}" for note in notes),
        host_paths=references.host_paths(patched),
    )


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
