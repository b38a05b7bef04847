"""Docker's configuration on a host: the deploy's keys, beside those of whoever had Docker there before. Pure."""

import json
from collections.abc import Sequence
from ipaddress import IPv4Interface, IPv4Network
from typing import Any

from kubeproof.config.settings import DOCKER_BRIDGE

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
