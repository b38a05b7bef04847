"""Which CNI plugins a manifest's network calls, and which of them have to be on the hosts. Pure."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from kubeproof.networks import references
from kubeproof.networks.manifest import Manifest
from kubeproof.terminal.errors import UserError

Object = dict[str, Any]

FOLDER = "/opt/cni/bin"
"""Where kubelet and containerd look for plugins."""
PACKAGED = frozenset({"bandwidth", "bridge", "firewall", "host-local", "loopback", "portmap", "tuning"})
"""What the package kubernetes-cni (or containernetworking-plugins) has in every version that a deploy may meet. The
flannel plugin left it with 1.0 (containernetworking/plugins, release notes)."""
DELEGATES = {"flannel": ("bridge", "host-local")}
"""What a plugin calls by itself unless told otherwise (flannel-io/cni-plugin, README.md)."""
ALWAYS = ("loopback",)
"""Container runtimes call it for every pod."""
_PLACEHOLDER = re.compile(r"__[A-Z_]+__")
"""What Calico's installer fills in; it stands for a number outside of quotes, for text within."""


def needed_of_host(objects: Sequence[Object], manifest: Manifest, origin: str) -> tuple[str, ...]:
    """Names of plugins that nothing in the manifest brings, sorted. Raises UserError if it has no configuration."""
    return tuple(sorted(set(_called(objects, manifest, origin)) - set(_brought(objects, manifest))))


def unpackaged(plugins: Sequence[str]) -> tuple[str, ...]:
    """Those that no package of the deploy brings either."""
    return tuple(name for name in plugins if name not in PACKAGED)


def _called(objects: Sequence[Object], manifest: Manifest, origin: str) -> Iterator[str]:
    text = manifest.cni_configuration(objects)
    try:
        configuration = json.loads(_PLACEHOLDER.sub("0", text))
        kinds = [str(plugin["type"]) for plugin in configuration["plugins"]]
        kinds += [str(plugin["ipam"]["type"]) for plugin in configuration["plugins"] if "ipam" in plugin]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"cni_manifest: {origin} has no CNI configuration that can be read ({error!r})") from None
    yield from ALWAYS
    for kind in kinds:
        yield kind
        yield from DELEGATES.get(kind, ())


def _brought(objects: Sequence[Object], manifest: Manifest) -> tuple[str, ...]:
    """Those of the project's installer, where an init container has the host's folder."""
    for spec in references.pod_specs(objects):
        volumes = {
            volume["name"] for volume in spec.get("volumes") or () if volume.get("hostPath", {}).get("path") == FOLDER
        }
        for container in spec.get("initContainers") or ():
            if volumes & {mount["name"] for mount in container.get("volumeMounts") or ()}:
                return manifest.brings
    return ()
