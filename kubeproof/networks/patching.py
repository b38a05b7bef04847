"""Fits a manifest to the settings of a cluster, as data. Pure.

Only what has to differ is touched; a manifest that is not built as the known ones is refused by the name of what is
missing, never half patched. Sources: flannel's Documentation/configuration.md and backends.md, flannel-io/cni-plugin's
README.md (delegate), and the comments in Calico's canal.yaml.
"""

import copy
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from kubeproof.networks import documents, references
from kubeproof.networks.networks import DEFAULT_PORT, DEFAULT_VNI, NODE_ADDRESS
from kubeproof.terminal.errors import UserError

Object = dict[str, Any]

NET_CONF = "net-conf.json"
CNI_CONF = "cni-conf.json"
INTERFACE_VARIABLE = "FLANNELD_IFACE"
"""flanneld takes every option from a variable too, unless it is among its words: FLANNELD_ and the option's name
(configuration.md; coreos/pkg, flagutil/env.go). The value may be the name of an interface or its address."""
_PLACE_OPTIONS = ("iface", "iface-regex", "iface-can-reach", "public-ip", "public-ipv6")
"""flanneld's options that say where it is (configuration.md)."""
_PLACE_VARIABLES = tuple(f"FLANNELD_{name.upper().replace('-', '_')}" for name in _PLACE_OPTIONS)
_PLACE_IN_SHELL = re.compile(rf"(?:^|[\s'\"])--?(?:{'|'.join(_PLACE_OPTIONS)})(?:[\s='\"]|$)")
_NOT_PROVEN = {
    "DirectRouting": "with which packets between neighbours are not in VXLAN, as cni_backend = 'host-gw' has it",
    "EnableIPv6": "and these clusters have IPv4 alone",
    "EnableNFTables": "and the proof reads flannel's rules from iptables",
}
"""Keys of net-conf.json and its Backend (backends.md, configuration.md) that make another network than the settings."""
POOL_VARIABLE = "CALICO_IPV4POOL_CIDR"


@dataclass(frozen=True)
class Layout:
    """Names in a project's manifests, the same in all its versions."""

    config_map: str
    daemon_set: str
    flanneld: str = "kube-flannel"
    """Container that runs flanneld."""
    felix: str = ""
    """Container that runs Calico's agent, if there is one."""
    brings: tuple[str, ...] = ()
    """Plugins that an init container puts into /opt/cni/bin, if one has that folder mounted."""


LAYOUTS = {
    "flannel": Layout("kube-flannel-cfg", "kube-flannel-ds", brings=("flannel",)),
    "canal": Layout(
        "canal-config",
        "canal",
        felix="calico-node",
        brings=("bandwidth", "calico", "calico-ipam", "flannel", "host-local", "loopback", "portmap", "tuning"),
    ),
}


@dataclass(frozen=True)
class Wishes:
    """What a manifest is fitted to: settings of the same names."""

    project: str
    pod_cidr: IPv4Network
    backend: str = "vxlan"
    vni: int = DEFAULT_VNI
    port: int = DEFAULT_PORT
    interface: str = ""
    mtu: int | None = None
    image_repository: str = ""


class _Unknown(Exception):  # noqa: N818  # becomes a UserError with the manifest's name
    """The manifest lacks something that the known ones have."""


def patch(objects: Sequence[Object], wishes: Wishes, origin: str) -> list[Object]:
    """A copy of the objects that does what is wished. Raises UserError naming what the manifest lacks."""
    patched = copy.deepcopy(list(objects))
    layout = LAYOUTS[wishes.project]
    try:
        _net_conf(patched, layout, wishes)
        _interface(patched, layout, wishes.interface)
        _mtu(patched, layout, wishes.mtu)
        if layout.felix:
            _set_variable(
                _container(patched, layout, layout.felix), POOL_VARIABLE, {"value": str(wishes.pod_cidr)}, "IP"
            )
        for container in references.containers(patched):
            container["image"] = references.in_repository(container["image"], wishes.image_repository)
    except _Unknown as unknown:
        raise UserError(
            f"cni_manifest: {origin} {unknown}, so it is none that this project can fit; leave cni_manifest empty"
        ) from None
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"cni_manifest: {origin} is built in another way than a manifest of {wishes.project} ({error!r}), leave "
            "cni_manifest empty"
        ) from None
    return patched


def left_out(objects: Sequence[Object], wishes: Wishes) -> list[str]:
    """What a manifest asks for and the settings overrule, for people: a copy of the objects is looked at."""
    copied, layout = copy.deepcopy(list(objects)), LAYOUTS[wishes.project]
    before = _json(_data(copied, layout), NET_CONF, layout)["Backend"]["Type"]
    told = [f"Backend.Type {before} becomes {wishes.backend} (cni_backend)"] if before != wishes.backend else []
    if wishes.interface:
        removed = _without_place(_container(copied, layout, layout.flanneld))
        told += [f"flanneld's {word} is left out (cni_interface is {wishes.interface})" for word in removed]
    return told


def config_map(objects: Sequence[Object], project: str) -> Object:
    """The data of the project's ConfigMap. Raises UserError if there is none."""
    try:
        return _data(list(objects), LAYOUTS[project])
    except _Unknown as unknown:
        raise UserError(f"cni_manifest: {unknown}, leave cni_manifest empty") from None


def in_use(text: str, project: str) -> dict[str, str]:
    """Settings that a ConfigMap has, given as the YAML that was applied; empty where it cannot be read.

    The network's agents read it when they start, and are not started again when it changes. An MTU that is not set is
    an empty text.
    """
    layout = LAYOUTS[project]
    try:
        data = _data(documents.load(text, "it"), layout)
        backend = _json(data, NET_CONF, layout)["Backend"]
        found = {"cni_backend": backend["Type"]}
        if backend["Type"] == "vxlan":
            found["vxlan_vni"] = backend.get("VNI", DEFAULT_VNI)
            found["vxlan_port"] = backend.get("Port", DEFAULT_PORT)
        if layout.felix:
            found["cni_mtu"] = data["veth_mtu"]
        else:
            plugins = _json(data, CNI_CONF, layout)["plugins"]
            found["cni_mtu"] = next(item for item in plugins if item["type"] == "flannel")["delegate"].get("mtu", "")
    except (_Unknown, UserError, KeyError, TypeError, AttributeError, StopIteration):
        return {}
    return {name: str(value) for name, value in found.items()}


def _net_conf(objects: list[Object], layout: Layout, wishes: Wishes) -> None:
    data = _data(objects, layout)
    config = _json(data, NET_CONF, layout)
    before = copy.deepcopy(config)
    backend = config.get("Backend")
    if "Network" not in config or not isinstance(backend, dict) or "Type" not in backend:
        raise _Unknown(f"has no Network and Backend.Type in {NET_CONF}")
    for key, why in _NOT_PROVEN.items():
        if config.get(key) is True or (wishes.backend == "vxlan" and backend.get(key) is True):
            raise _Unknown(f"has {key} in {NET_CONF}, {why}")
    config["Network"] = str(wishes.pod_cidr)
    backend["Type"] = wishes.backend
    is_vxlan = wishes.backend == "vxlan"
    for key, value, default in (("VNI", wishes.vni, DEFAULT_VNI), ("Port", wishes.port, DEFAULT_PORT)):
        if not is_vxlan:
            backend.pop(key, None)
        elif value != default or key in backend:
            backend[key] = value
    if config != before:
        data[NET_CONF] = _written(config)


def _interface(objects: list[Object], layout: Layout, interface: str) -> None:
    """By flanneld's variable; options among its words would win over it."""
    if not interface:
        return
    flanneld = _container(objects, layout, layout.flanneld)
    _without_place(flanneld)
    # Kubelet is told each node's address (node-ip), the API hands it on. Canal's canal_iface would be read at the next
    # start only: a variable is part of the pods, and another one replaces them.
    by_address = {"valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}
    _set_variable(flanneld, INTERFACE_VARIABLE, by_address if interface == NODE_ADDRESS else {"value": interface})


def _without_place(flanneld: Object) -> list[str]:
    """Take out whatever says where flanneld is, and return it. Go takes -x and --x, with =value or in the next word."""
    removed: list[str] = []
    value_follows = False
    for key in ("command", "args"):
        kept = []
        for word in flanneld.get(key) or ():
            name, equals, _ = str(word).lstrip("-").partition("=")
            if value_follows:
                removed[-1] += f" {word}"
                value_follows = False
            elif str(word).startswith("-") and name in _PLACE_OPTIONS:
                removed.append(str(word))
                value_follows = not equals
            elif len(str(word).split()) > 1 and _PLACE_IN_SHELL.search(str(word)):
                raise _Unknown(f"starts flanneld by a text for a shell that says where it is ({word!r})")
            else:
                kept.append(word)
        if kept != (flanneld.get(key) or []):
            flanneld[key] = kept
    names = {item.get("name") for item in _variables(flanneld)}
    removed += [name for name in _PLACE_VARIABLES if name in names and name != INTERFACE_VARIABLE]
    if flanneld.get("env"):
        flanneld["env"] = [item for item in _variables(flanneld) if item.get("name") not in _PLACE_VARIABLES]
    return removed


def _mtu(objects: list[Object], layout: Layout, mtu: int | None) -> None:
    """Of the pods' interfaces: the delegate's mtu of flannel's plugin, veth_mtu of Canal."""
    if mtu is None:
        return
    data = _data(objects, layout)
    if layout.felix:
        if "veth_mtu" not in data:
            raise _Unknown(f"has no veth_mtu in ConfigMap {layout.config_map}")
        data["veth_mtu"] = str(mtu)
        return
    config = _json(data, CNI_CONF, layout)
    plugin = next((item for item in config.get("plugins", ()) if item.get("type") == "flannel"), None)
    if plugin is None:
        raise _Unknown(f"has no plugin of type flannel in {CNI_CONF}")
    plugin.setdefault("delegate", {})["mtu"] = mtu
    data[CNI_CONF] = _written(config)


def _written(config: Object) -> str:
    return json.dumps(config, indent=2) + "\n"


def _json(data: Object, key: str, layout: Layout) -> Object:
    if key not in data:
        raise _Unknown(f"has no key {key} in ConfigMap {layout.config_map}")
    try:
        config = json.loads(data[key])
    except ValueError as error:
        raise _Unknown(f"has a {key} that is no JSON ({error})") from None
    if not isinstance(config, dict):
        raise _Unknown(f"has a {key} that is no JSON object")
    return config


def _one(objects: list[Object], kind: str, name: str) -> Object:
    found = [item for item in objects if (item["kind"], item["metadata"]["name"]) == (kind, name)]
    if len(found) != 1:
        raise _Unknown(f"has {'no' if not found else 'more than one'} {kind} {name}")
    return found[0]


def _data(objects: list[Object], layout: Layout) -> Object:
    data = _one(objects, "ConfigMap", layout.config_map).get("data")
    if not isinstance(data, dict):
        raise _Unknown(f"has no data in ConfigMap {layout.config_map}")
    return data


def _container(objects: list[Object], layout: Layout, name: str) -> Object:
    spec = _one(objects, "DaemonSet", layout.daemon_set)["spec"]["template"]["spec"]
    for container in spec.get("containers") or ():
        if container.get("name") == name:
            found: Object = container
            return found
    raise _Unknown(f"has no container {name} in DaemonSet {layout.daemon_set}")


def _set_variable(container: Object, name: str, value: Object, after: str = "") -> None:
    """Set an environment variable: in its place if it is there, else after another one or at the end."""
    variables = list(_variables(container))
    names = [item.get("name") for item in variables]
    if name in names:
        variables[names.index(name)] = {"name": name, **value}
    else:
        place = names.index(after) + 1 if after in names else len(variables)
        variables.insert(place, {"name": name, **value})
    container["env"] = variables


def _variables(container: Object) -> Iterator[Object]:
    yield from container.get("env") or ()
