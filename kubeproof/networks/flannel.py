"""flannel, as its project publishes it. Pure.

Sources: flannel's Documentation/configuration.md and backends.md, flannel-io/cni-plugin's README.md (delegate);
flannel's README ("For Kubernetes v1.17+", in all versions).
"""

import copy
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kubeproof.networks import network
from kubeproof.networks.manifest import Manifest, Object, Pinned, UnknownManifestError, set_variable, variables, written
from kubeproof.networks.network import NODE_ADDRESS, VXLAN_OVERHEAD, Agent, Artifacts, Backend, Carrier, Network

if TYPE_CHECKING:
    from kubeproof.config.settings import Settings

FLANNELD = "kube-flannel"
"""Container that runs flanneld."""
DEVICE = "flannel.{vni}"
DEFAULT_VNI = 1
DEFAULT_PORT = 8472
"""flannel's VNI, and the kernel's UDP port, where net-conf.json names none (backends.md)."""
UDP_DEVICE, UDP_PORT = "flannel0", 8285
UDP_OVERHEAD = 28
"""Bytes of the headers of IPv4 and UDP, by which flanneld itself wraps packets (flannel, pkg/backend/udp)."""
_NET_CONF = "net-conf.json"
_CNI_CONF = "cni-conf.json"
_INTERFACE_VARIABLE = "FLANNELD_IFACE"
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
_URL = "https://raw.githubusercontent.com/flannel-io/flannel/{}/Documentation/kube-flannel.yml"


@dataclass(frozen=True)
class FlannelManifest(Manifest):
    """A manifest whose DaemonSet runs flanneld: flannel's kube-flannel.yml, and Canal's."""

    def fit(self, objects: list[Object], settings: "Settings", mtu: int | None) -> None:
        data = self.data(objects)
        self._set_net_conf(data, settings)
        if settings.cni_backend == "udp":
            # It opens /dev/net/tun, which a container only has if it is given all devices.
            self.container(objects, FLANNELD)["securityContext"] = {"privileged": True}
        if settings.cni_interface:
            self._set_interface(objects, settings.cni_interface)
        if mtu is not None:
            self.set_mtu(data, mtu)

    def overruled(self, objects: list[Object], settings: "Settings") -> list[str]:
        before = self.json(self.data(objects), _NET_CONF)["Backend"]["Type"]
        wanted, interface = settings.cni_backend, settings.cni_interface
        told = [f"Backend.Type {before} becomes {wanted} (cni_backend)"] if before != wanted else []
        told += ["flanneld is privileged (cni_backend udp: it needs /dev/net/tun)"] if wanted == "udp" else []
        removed = _without_place(self.container(objects, FLANNELD)) if interface else []
        return [*told, *(f"flanneld's {word} is left out (cni_interface is {interface})" for word in removed)]

    def told(self, data: Object) -> dict[str, object]:
        backend = self.json(data, _NET_CONF)["Backend"]
        found = {"cni_backend": backend["Type"]}
        if backend["Type"] == "vxlan":
            found["vxlan_vni"] = backend.get("VNI", DEFAULT_VNI)
            found["vxlan_port"] = backend.get("Port", DEFAULT_PORT)
        return {**found, "cni_mtu": self.mtu_of(data)}

    def set_mtu(self, data: Object, mtu: int) -> None:
        """Of the pods' interfaces: the delegate's mtu of flannel's plugin."""
        config = self.json(data, _CNI_CONF)
        plugin = next((item for item in config.get("plugins", ()) if item.get("type") == "flannel"), None)
        if plugin is None:
            raise UnknownManifestError(f"has no plugin of type flannel in {_CNI_CONF}")
        plugin.setdefault("delegate", {})["mtu"] = mtu
        data[_CNI_CONF] = written(config)

    def mtu_of(self, data: Object) -> object:
        """What ``set_mtu`` has set, or an empty text."""
        plugins = self.json(data, _CNI_CONF)["plugins"]
        return next(item for item in plugins if item["type"] == "flannel")["delegate"].get("mtu", "")

    def _set_net_conf(self, data: Object, settings: "Settings") -> None:
        config = self.json(data, _NET_CONF)
        before = copy.deepcopy(config)
        backend, is_vxlan = config.get("Backend"), settings.cni_backend == "vxlan"
        if "Network" not in config or not isinstance(backend, dict) or "Type" not in backend:
            raise UnknownManifestError(f"has no Network and Backend.Type in {_NET_CONF}")
        for key, why in _NOT_PROVEN.items():
            if config.get(key) is True or (is_vxlan and backend.get(key) is True):
                raise UnknownManifestError(f"has {key} in {_NET_CONF}, {why}")
        config["Network"] = str(settings.pod_cidr)
        backend["Type"] = settings.cni_backend
        wanted = (("VNI", settings.vxlan_vni, DEFAULT_VNI), ("Port", settings.vxlan_port, DEFAULT_PORT))
        for key, value, default in wanted:
            if not is_vxlan:
                backend.pop(key, None)
            elif value != default or key in backend:
                backend[key] = value
        if config != before:
            data[_NET_CONF] = written(config)

    def _set_interface(self, objects: list[Object], interface: str) -> None:
        """By flanneld's variable; options among its words would win over it."""
        flanneld = self.container(objects, FLANNELD)
        _without_place(flanneld)
        # Kubelet is told each node's address (node-ip), the API hands it on. Canal's canal_iface would be read at the
        # next start only: a variable is part of the pods, and another one replaces them.
        by_address = {"valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}}
        set_variable(flanneld, _INTERFACE_VARIABLE, by_address if interface == NODE_ADDRESS else {"value": interface})


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
                raise UnknownManifestError(f"starts flanneld by a text for a shell that says where it is ({word!r})")
            else:
                kept.append(word)
        if kept != (flanneld.get(key) or []):
            flanneld[key] = kept
    names = {item.get("name") for item in variables(flanneld)}
    removed += [name for name in _PLACE_VARIABLES if name in names and name != _INTERFACE_VARIABLE]
    if flanneld.get("env"):
        flanneld["env"] = [item for item in variables(flanneld) if item.get("name") not in _PLACE_VARIABLES]
    return removed


def announced_mac(annotations: Mapping[str, str]) -> str | None:
    """The MAC of a node's VXLAN link as flanneld tells the others."""
    try:
        mac = json.loads(annotations.get("flannel.alpha.coreos.com/backend-data", "")).get("VtepMAC")
    except (ValueError, AttributeError):
        return None
    return str(mac) if mac else None


NETWORK = Network(
    name="flannel",
    title="flannel",
    summary="flannel, by {backend}",
    backends=(
        Backend(
            "vxlan",
            device=DEVICE,
            aspects=("subnet-env", "vxlan", "onlink-routes", "bridge", "rules-by-effect", "iptables-policies"),
            overhead=VXLAN_OVERHEAD,
        ),
        Backend(
            "host-gw",
            device=DEVICE,
            aspects=("subnet-env", "node-routes", "bridge", "rules-by-effect", "iptables-policies"),
        ),
        Backend(
            "udp",
            device=UDP_DEVICE,
            aspects=("subnet-env", "tun", "bridge", "rules-by-effect", "iptables-policies"),
            overhead=UDP_OVERHEAD,
            carriers=(Carrier("flannel's packets", "udp", UDP_PORT),),
        ),
    ),
    agent=Agent(
        daemon_set="kube-flannel-ds",
        container=FLANNELD,
        label=("app", "flannel"),
        namespaces=("kube-system", "kube-flannel"),
        pod_cidr_query="get configmaps -A -l app=flannel -o jsonpath='{.items[*].data.net-conf\\.json}'",
        announced_mac=announced_mac,
    ),
    artifacts=Artifacts(
        links=("cni0", "flannel.*", UDP_DEVICE),
        directories=("/run/flannel",),
        # Not all of /var/lib/cni: podman has its addresses there too.
        evidence=("/run/flannel/subnet.env", "/var/lib/cni/flannel", "/var/lib/cni/networks/cbr0"),
        plugins=("/opt/cni/bin/flannel",),
        chains=("FLANNEL-",),
        comments=("flanneld ",),
    ),
    conflist="10-flannel.conflist",
    effects={
        "cni_manifest": network.applied("its objects are applied"),
        "cni_manifest_sha256": network.nothing("a manifest is held against it before it is used"),
        "cni_image_repository": network.IN_PODS,
        "cni_interface": network.IN_PODS,
        "cni_mtu": network.refused(),
        "cni_backend": network.refused(),
        "vxlan_vni": network.refused(),
        "vxlan_port": network.refused(),
        "network_policy": network.nothing("flannel enforces none, and True is refused with the settings"),
    },
    manifest=FlannelManifest(
        project="flannel",
        config_map="kube-flannel-cfg",
        daemon_set="kube-flannel-ds",
        cni_config=_CNI_CONF,
        brings=("flannel",),
        pinned=(
            # PodSecurityPolicy is gone in 1.25, and the flannel plugin has to be on the host: v0.20.2 goes before it
            # everywhere, this one is there for those who name it.
            Pinned(
                "flannel",
                "v0.14.0",
                _URL.format("v0.14.0"),
                "adffe27e66ce9e39af59f313711bee5ea88ce161683da7a089a7301093736646",
                "1.17",
                "1.24",
                named=("1.17", ""),
                run=("1.20",),
            ),
            # The first that brings its plugin with it. Its client library is that of 1.24.
            Pinned(
                "flannel",
                "v0.20.2",
                _URL.format("v0.20.2"),
                "f6ef2b47f01ce900f156d7acf728b983b6e12c0c52e4fbbc33687ef95e28e25b",
                "1.17",
                named=("1.17", ""),
                run=("1.20",),
            ),
            # It would fit 1.17 too; the program is of a time that has not seen a 1.24 API server.
            Pinned(
                "flannel",
                "v0.28.9",
                _URL.format("v0.28.9"),
                "e875824be2f552b45711dbda91af81b17eb961d00025d914d9fef18fad8f09c0",
                "1.25",
                named=("1.17", ""),
            ),
        ),
    ),
    leaves_neighbours=True,
)
