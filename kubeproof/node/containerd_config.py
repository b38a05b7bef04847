"""containerd's configuration on a host that no deploy has been on: what of it is somebody's own. Pure."""

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from kubeproof.node.docker_config import CONTAINERD_ROOT

_CRI = ("io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images", "cri")
"""The plugin's names in versions 1 to 3 of the configuration."""


def own_settings(text: str) -> tuple[str, ...]:
    """What differs from a default in a way that matters, such as "root = '/data'"; empty if that cannot be read."""
    try:
        config = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError:
        return ()
    return tuple(dict.fromkeys(_own(config)))


def _own(config: Mapping[str, Any]) -> Iterator[str]:
    if str(config.get("root") or CONTAINERD_ROOT).rstrip("/") != CONTAINERD_ROOT:
        yield f"root = {config['root']!r}"
    if config.get("imports"):
        yield "imports"
    plugins = _table(config.get("plugins"))
    for plugin in (_table(plugins.get(name)) for name in _CRI):
        containerd = _table(plugin.get("containerd"))
        if (default := containerd.get("default_runtime_name") or "runc") != "runc":
            yield f"default_runtime_name = {default!r}"
        yield from (f"the runtime {name}" for name in _table(containerd.get("runtimes")) if name != "runc")
        registry = _table(plugin.get("registry"))
        yield from (f"the registry's {name}" for name in ("mirrors", "configs", "auths") if registry.get(name))


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
