"""Fits a manifest to the settings of a cluster, as data. Pure.

Only what has to differ is touched; a manifest that is not built as the known ones is refused by the name of what is
missing, never half patched. Sources: flannel's Documentation/configuration.md and backends.md, flannel-io/cni-plugin's
README.md (delegate), and the comments in Calico's canal.yaml.
"""

import copy
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network
from typing import Any

from kubeproof.cni import references
from kubeproof.cni.networks import DEFAULT_PORT, DEFAULT_VNI, NODE_ADDRESS
from kubeproof.errors import UserError

Object = dict[str, Any]

NET_CONF = "net-conf.json"
CNI_CONF = "cni-conf.json"
INTERFACE_VARIABLE = "FLANNELD_IFACE"
"""flanneld takes every option from a variable too: FLANNELD_ and the option's name (configuration.md). The value may be
the name of an interface or its address."""
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


def config_map(objects: Sequence[Object], project: str) -> Object:
    """The data of the project's ConfigMap. Raises UserError if there is none."""
    try:
        return _data(list(objects), LAYOUTS[project])
    except _Unknown as unknown:
        raise UserError(f"cni_manifest: {unknown}, leave cni_manifest empty") from None


def _net_conf(objects: list[Object], layout: Layout, wishes: Wishes) -> None:
    data = _data(objects, layout)
    config = _json(data, NET_CONF, layout)
    before = copy.deepcopy(config)
    backend = config.get("Backend")
    if "Network" not in config or not isinstance(backend, dict) or "Type" not in backend:
        raise _Unknown(f"has no Network and Backend.Type in {NET_CONF}")
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
    """By name with flannel's option or Canal's canal_iface; by each node's own address with flanneld's variable."""
    flanneld = _container(objects, layout, layout.flanneld)
    if interface == NODE_ADDRESS:
        # Kubelet is told each node's address (node-ip), the API hands it on.
        _set_variable(flanneld, INTERFACE_VARIABLE, {"valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}})
    elif interface and layout.felix:
        data = _data(objects, layout)
        if "canal_iface" not in data:
            raise _Unknown(f"has no canal_iface in ConfigMap {layout.config_map}")
        data["canal_iface"] = interface
    elif interface:
        words = flanneld.get("args")
        if not isinstance(words, list):
            raise _Unknown(f"has no args in container {layout.flanneld}")
        flanneld["args"] = [*(word for word in words if not str(word).startswith("--iface=")), f"--iface={interface}"]


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
