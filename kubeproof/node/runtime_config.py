"""The files by which a container runtime is configured. Pure but for reading templates."""

import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network
from typing import Any

from kubeproof.config.cluster import Cluster
from kubeproof.config.settings import DOCKER_BRIDGE, Settings
from kubeproof.config.tables import paths
from kubeproof.config.tables.runtimes import Runtime
from kubeproof.node import proxies, templates
from kubeproof.node.images import pause_image


@dataclass(frozen=True)
class ConfigFile:
    """A file to place. The service has to be restarted for it if ``restarts``."""

    purpose: str
    path: str
    text: str
    mode: str = "644"
    restarts: bool = False


NO_PROXY = "# There is no proxy any more.\n"


def config_files(
    cluster: Cluster, present: str, *, enforcing: bool, had_proxy: bool = False, first: str | None = None
) -> tuple[ConfigFile, ...]:
    """All files of the runtime on a host.

    ``present`` is the text of its configuration now, of which Docker's keys of the host's own are kept; ``first`` is
    what it was before the first deploy, None on a host that none has been on. ``enforcing`` tells whether SELinux is to
    hold for containers, ``had_proxy`` whether an earlier deploy has told it of a proxy.
    """
    return (*_own(cluster.settings, (present, first), enforcing), *_common(cluster), *_proxy(cluster, had_proxy))


def proxy_drop_in(runtime: Runtime) -> str:
    """Where systemd is told that the runtime uses the proxy."""
    return f"{runtime.drop_in}/kubeproof-proxy.conf"


def _own(settings: Settings, texts: tuple[str, str | None], enforcing: bool) -> Iterator[ConfigFile]:
    path = settings.runtime.config
    if settings.runtime.name == "docker":
        wanted = templates.render("daemon.json.j2", settings=settings, enforcing=enforcing)
        yield ConfigFile("Configure Docker", path, merged(texts[0], wanted, texts[1]), restarts=True)
        return
    text = templates.render(
        "containerd.toml.j2", settings=settings, pause_image=pause_image(settings), enforcing=enforcing
    )
    yield ConfigFile("Configure containerd", path, text, restarts=True)
    for name, hosts in _registries(settings):
        text = templates.render("containerd-hosts.toml.j2", registry=name, hosts=hosts)
        yield ConfigFile(f"Say how {name} is reached", f"{paths.CONTAINERD_REGISTRIES}/{name}/hosts.toml", text)


def _registries(settings: Settings) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Registries that are not reached as their names say, with the URLs to try."""
    if settings.registry_mirrors:
        yield "docker.io", settings.registry_mirrors
    for registry in settings.insecure_registries:
        yield registry, (f"http://{registry}",)


def _common(cluster: Cluster) -> Iterator[ConfigFile]:
    runtime = cluster.settings.runtime
    yield ConfigFile(
        f"Have {runtime.title} drop forwarded packets by default, at boot",
        f"{runtime.drop_in}/kubeproof.conf",
        templates.render("runtime-drop-in.conf.j2", title=runtime.title),
    )
    if runtime.cri_socket:
        text = templates.render("crictl.yaml.j2", socket=runtime.cri_socket)
        yield ConfigFile("Tell crictl the runtime's socket", paths.CRICTL_CONFIG, text)


def _proxy(cluster: Cluster, had_proxy: bool) -> Iterator[ConfigFile]:
    """What was written for a proxy is overwritten when there is none any more, not removed: only a file that is newer
    than the service tells a later deploy that a restart was missed."""
    runtime = cluster.settings.runtime
    environment = proxies.environment(cluster)
    if not environment and not had_proxy:
        return
    drop_in = templates.render("proxy-drop-in.conf.j2", environment=paths.PROXY_ENVIRONMENT)
    yield ConfigFile(
        "Write the proxy's addresses", paths.PROXY_ENVIRONMENT, environment or NO_PROXY, mode="600", restarts=True
    )
    yield ConfigFile(
        f"Have {runtime.title} use the proxy",
        proxy_drop_in(runtime),
        drop_in if environment else NO_PROXY,
        restarts=True,
    )


HOSTS_CHOICE = ("storage-driver",)
"""With another one Docker would lose sight of the images and containers that it has."""
LISTS = ("insecure-registries", "registry-mirrors", "exec-opts")
"""Keys of the deploy's of which the host may have more values."""
WRITTEN = ("exec-opts", "storage-driver", "log-driver", "log-opts", "insecure-registries", "registry-mirrors")
"""All keys that the deploy writes wherever it is."""
LOG_DRIVER = "json-file"
"""What kubelet reads containers' logs of; the options of other drivers are none of its."""
CGROUP_DRIVER = "native.cgroupdriver="
DATA_ROOT = "/var/lib/docker"
CONTAINERD_ROOT = "/var/lib/containerd"
_PLURALS = {"host": "hosts", "insecure-registry": "insecure-registries"}
_ALSO_PLURAL = ("registry-mirror", "exec-opt", "log-opt", "storage-opt", "label", "dns-opt", "default-ulimit")
_SHORT = {"-H": "host", "-s": "storage-driver", "-g": "data-root", "-b": "bridge", "-G": "group", "-l": "log-level"}
"""Flags whose keys are called otherwise, and short ones (cmd/dockerd/config.go, installCommonConfigFlags)."""
PACKAGES_FLAGS = ("-H", "fd://")
"""How Docker's packages have systemd start it, Debian's and Docker's own."""


def problem(text: str) -> str:
    """Why a configuration that is on a host cannot be added to; empty if it can, or if there is none."""
    try:
        _keys(text)
    except ValueError as error:
        return str(error)
    return ""


def keys(text: str) -> dict[str, Any]:
    """What is configured; nothing if that cannot be read, which :func:`problem` tells."""
    return {} if problem(text) else _keys(text)


def merged(present: str, wanted: str, first: str | None = None) -> str:
    """``wanted`` with what only ``present`` has, texts of JSON objects; just ``wanted`` if that is nothing.

    Lists, and options of logs, are those of both. ``first`` is the text from before the first deploy, where there was
    one: then what lists have besides is taken from that, since ``present`` may have what an earlier deploy wanted.
    Raises ValueError if one of them is no JSON object.
    """
    has, wants = _keys(present), _keys(wanted)
    others = has if first is None else _keys(first)
    result = {**has, **wants, **{key: has[key] for key in HOSTS_CHOICE if key in has}}
    result |= {key: _together(wants[key], others.get(key) or ()) for key in LISTS if key in wants}
    if "log-opts" in wants and others.get("log-driver", LOG_DRIVER) == LOG_DRIVER:
        result["log-opts"] = {**(others.get("log-opts") or {}), **wants["log-opts"]}
    return wanted if result == wants else json.dumps(result, indent=2) + "\n"


def _together(wanted: Sequence[str], others: Sequence[str]) -> list[str]:
    """The deploy's first, in which order mirrors are asked, and of the driver of control groups its own alone."""
    have = {value.rstrip("/") for value in wanted}
    more = [value for value in others if value.rstrip("/") not in have and not value.startswith(CGROUP_DRIVER)]
    return [*wanted, *dict.fromkeys(more)]


def replaced(text: str) -> dict[str, tuple[str, str]]:
    """What of the host's own the deploy cannot keep, by key: the value, and what it becomes instead."""
    has = keys(text)
    found = {}
    if has.get("log-driver", LOG_DRIVER) != LOG_DRIVER:
        found["log-driver"] = (str(has["log-driver"]), LOG_DRIVER)
    return found


def data_root(text: str) -> str:
    """Where Docker keeps images and containers: with containerd's own store they are in containerd's folder."""
    has = keys(text)
    features = has.get("features")
    if isinstance(features, dict) and features.get("containerd-snapshotter") is True:
        return CONTAINERD_ROOT
    return str(has.get("data-root") or has.get("graph") or DATA_ROOT).rstrip("/") or DATA_ROOT


def bridge(text: str) -> IPv4Network | None:
    """The network of Docker's own bridge; None if it is to have no bridge."""
    has = keys(text)
    try:
        return None if has.get("bridge") == "none" else IPv4Interface(has["bip"]).network
    except (KeyError, ValueError):
        return DOCKER_BRIDGE


def twice(text: str, flags: Sequence[str]) -> list[str]:
    """Keys that are configured, or will be by a deploy, and are also named by ``flags`` of the program.

    Docker does not start then. Without flags Docker is not there yet, and gets those of its package.
    """
    named = {_key(word) for word in flags or PACKAGES_FLAGS if word.startswith("-")}
    return [key for key in dict.fromkeys((*keys(text), *WRITTEN)) if key in named]


def _key(word: str) -> str:
    flag = word.partition("=")[0]
    name = next((name for short, name in _SHORT.items() if flag.startswith(short)), flag.lstrip("-"))
    return _PLURALS.get(name, f"{name}s" if name in _ALSO_PLURAL else name)


def _keys(text: str) -> dict[str, Any]:
    # Docker takes a byte order mark since 23, and what the deploy writes has none.
    text = text.removeprefix("\ufeff")
    found = json.loads(text, parse_constant=_refuse) if text.strip() else {}
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")
    for key in LISTS:
        value = found.get(key) or []
        if not (isinstance(value, list) and all(isinstance(item, str) for item in value)):
            raise ValueError(f"{key} is not a list of strings")
    if not isinstance(found.get("log-opts") or {}, dict):
        raise ValueError("log-opts is not an object")
    return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_CRI = ("io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images", "cri")
"""The plugin's names in versions 1 to 3 of the configuration."""


def own_settings(text: str) -> tuple[str, ...]:
    """What differs from a default in a way that matters, such as "root = '/data'"; empty if that cannot be read."""
    try:
        config = tomllib.loads(text.removeprefix("\ufeff"))
    except tomllib.TOMLDecodeError:
        return ()
    return tuple(dict.fromkeys(_deviations(config)))


def _deviations(config: Mapping[str, Any]) -> Iterator[str]:
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
