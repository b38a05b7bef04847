"""Calico alone, as its project publishes it: routes by BGP or by its agent, blocks of addresses of its own. Pure.

Sources: the comments in calico.yaml; "Configuring calico/node", "Configure IP autodetection", "Overlay networking" and
"Kubernetes requirements" below each version's system requirements (docs.tigera.io).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kubeproof.networks import network
from kubeproof.networks.manifest import Manifest, Object, Pinned, UnknownManifestError, set_variable
from kubeproof.networks.network import (
    HAIRPIN,
    NODE_ADDRESS,
    VXLAN_OVERHEAD,
    Agent,
    Artifacts,
    Backend,
    Carrier,
    Network,
)

if TYPE_CHECKING:
    from kubeproof.config.settings import Settings

POD_LINK = f"cali{'[0-9a-f]' * 11}"
"""A pod's link on the node: cali and the begin of a hash (libcalico-go, names/workloadendpoint.go)."""
FELIX = "calico-node"
"""Container that runs Calico's agent."""
IPIP_DEVICE, VXLAN_DEVICE = "tunl0", "vxlan.calico"
IPIP_OVERHEAD = 20
"""Bytes that IP in IP adds: another header of IPv4 (RFC 2003)."""
BGP = Carrier("BGP", "tcp", 179)
"""By it nodes tell each other their blocks (RFC 4271), but with VXLAN."""
IPIP = Carrier("IP in IP", "ipencap", accepted_in=("cali-INPUT", "cali-OUTPUT"))
"""Of nodes that felix knows (felix, rules/static.go)."""
BLOCK_BITS = range(20, 33)
"""Prefix lengths that a block can have (IPPool, blockSize)."""
EVIDENCE = ("/run/calico/*", "/var/lib/calico/nodename", "/var/lib/cni/networks/k8s-pod-network")
# kubelet makes them for its pods.
DIRECTORIES = ("/run/calico", "/run/nodeagent", "/var/lib/calico", "/var/log/calico")
PLUGINS = (
    "/opt/cni/bin/calico",
    "/opt/cni/bin/calico-ipam",
    # The installer of Calico's image, which copies all that it has.
    "/opt/cni/bin/install",
    # Calico's volume driver (up to v3.23).
    "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/nodeagent~uds",
)
CHAINS, COMMENTS, SETS = ("cali-",), ("cali:",), ("cali[46]0*",)
BRINGS = ("bandwidth", "calico", "calico-ipam", "flannel", "host-local", "loopback", "portmap", "tuning")
POLICY_RESOURCES = ("networkpolicies.crd.projectcalico.org", "globalnetworkpolicies.crd.projectcalico.org")
# Felix lists them once a second for ever, and calico-node never gets ready.
KNOWN = {"1.20": "its agent needs EndpointSlices of discovery.k8s.io/v1, which the API has from 1.21 on"}
_URL = "https://raw.githubusercontent.com/projectcalico/calico/{}/manifests/{}.yaml"
_IPIP, _VXLAN = "CALICO_IPV4POOL_IPIP", "CALICO_IPV4POOL_VXLAN"
_BLOCK_SIZE, _NAT = "CALICO_IPV4POOL_BLOCK_SIZE", "CALICO_IPV4POOL_NAT_OUTGOING"
_CROSS_SUBNET = "CrossSubnet"


def pinned(project: str, sums: Mapping[str, str]) -> tuple[Pinned, ...]:
    """The manifests PROJECT.yaml of Calico's releases that are known, with their sums by version."""
    address = {version: _URL.format(version, project) for version in sums}
    (old, old_sum), (new, new_sum) = sums.items()
    return (
        Pinned(project, old, address[old], old_sum, "1.20", named=("1.22", "1.25"), known=KNOWN),
        # Its CustomResourceDefinitions have rules in CEL with isCIDR, which API servers know from 1.31 on
        # (Kubernetes documentation, "Common Expression Language in Kubernetes").
        Pinned(project, new, address[new], new_sum, "1.31", named=("1.34", "1.36")),
    )


def set_mtu(data: Object, mtu: int, config_map: str) -> None:
    """Of pods and of Calico's tunnels."""
    if "veth_mtu" not in data:
        raise UnknownManifestError(f"has no veth_mtu in ConfigMap {config_map}")
    data["veth_mtu"] = str(mtu)


@dataclass(frozen=True)
class CalicoManifest(Manifest):
    """Calico's calico.yaml."""

    def fit(self, objects: list[Object], settings: "Settings", mtu: int | None) -> None:
        data, felix = self.data(objects), self.container(objects, FELIX)
        if "calico_backend" not in data:
            raise UnknownManifestError(f"has no calico_backend in ConfigMap {self.config_map}")
        data["calico_backend"] = _router(settings)
        set_variable(felix, "CALICO_IPV4POOL_CIDR", {"value": str(settings.pod_cidr)}, after="IP")
        for name, value in _pool(settings).items():
            # Only the first start makes the pool. From the ConfigMap it can be told later what it was made with.
            data[name] = value
            reference = {"configMapKeyRef": {"name": self.config_map, "key": name}}
            set_variable(felix, name, {"valueFrom": reference}, after="CALICO_IPV4POOL_CIDR")
        if settings.cni_backend == "vxlan":
            set_variable(felix, "FELIX_VXLANVNI", {"value": str(settings.vxlan_vni)})
            set_variable(felix, "FELIX_VXLANPORT", {"value": str(settings.vxlan_port)})
            _without_bird(felix)
        if settings.cni_interface:
            method = _autodetection(settings.cni_interface)
            set_variable(felix, "IP_AUTODETECTION_METHOD", {"value": method}, after="IP")
        if mtu is not None:
            set_mtu(data, mtu, self.config_map)

    def overruled(self, objects: list[Object], settings: "Settings") -> list[str]:
        before, wanted = self.data(objects)["calico_backend"], _router(settings)
        told = [f"calico_backend {before} becomes {wanted} (cni_backend)"] if before != wanted else []
        given = {item.get("name"): item.get("value") for item in self.container(objects, FELIX).get("env") or ()}
        pool = _pool(settings)
        return [
            *told,
            *(
                f"{name} {given[name]} becomes {pool[name]} (cni_backend, cni_cross_subnet)"
                for name in (_IPIP, _VXLAN)
                if given.get(name) not in (None, pool[name])
            ),
        ]

    def told(self, data: Object) -> dict[str, object]:
        modes = {"ipip": data[_IPIP], "vxlan": data[_VXLAN]}
        mtu = str(data["veth_mtu"])
        return {
            "cni_backend": next((name for name, mode in modes.items() if mode != "Never"), "none"),
            "cni_cross_subnet": _CROSS_SUBNET in modes.values(),
            "cni_block_size": data[_BLOCK_SIZE],
            "cni_nat_outgoing": data[_NAT] == "true",
            "cni_mtu": "" if mtu == "0" else mtu,
        }


def _router(settings: "Settings") -> str:
    """Who sets routes to other nodes: BIRD, by BGP, or with VXLAN felix alone."""
    return "vxlan" if settings.cni_backend == "vxlan" else "bird"


def _pool(settings: "Settings") -> dict[str, str]:
    mode = _CROSS_SUBNET if settings.cni_cross_subnet else "Always"
    return {
        _IPIP: mode if settings.cni_backend == "ipip" else "Never",
        _VXLAN: mode if settings.cni_backend == "vxlan" else "Never",
        _BLOCK_SIZE: str(settings.cni_block_size),
        _NAT: "true" if settings.cni_nat_outgoing else "false",
    }


def _without_bird(felix: Object) -> None:
    """calico-node would wait for a BIRD that does not run."""
    for probe in ("livenessProbe", "readinessProbe"):
        action = felix.get(probe, {}).get("exec")
        if action:
            action["command"] = [word for word in action["command"] if word not in ("-bird-live", "-bird-ready")]


def _autodetection(interface: str) -> str:
    """The value takes regular expressions, of which any part of a name may match."""
    return "kubernetes-internal-ip" if interface == NODE_ADDRESS else f"interface=^{re.escape(interface)}$"


def _tunnel_address(annotations: Mapping[str, str]) -> str | None:
    """The address of a node's tunnel, as calico-node takes one of the node's blocks for it."""
    names = ("projectcalico.org/IPv4IPIPTunnelAddr", "projectcalico.org/IPv4VXLANTunnelAddr")
    return next((annotations[name] for name in names if annotations.get(name)), None)


_ASPECTS = ("pod-links", "blocks", "rules-by-effect", "felix")
NETWORK = Network(
    name="calico",
    title="Calico",
    summary="Calico, by {backend}",
    backends=(
        Backend("vxlan", VXLAN_DEVICE, aspects=("vxlan", *_ASPECTS), overhead=VXLAN_OVERHEAD),
        Backend("ipip", IPIP_DEVICE, aspects=("ipip", *_ASPECTS), overhead=IPIP_OVERHEAD, carriers=(BGP, IPIP)),
        Backend("none", VXLAN_DEVICE, aspects=_ASPECTS, carriers=(BGP,)),
    ),
    agent=Agent(
        daemon_set="calico-node",
        container=FELIX,
        label=("k8s-app", "calico-node"),
        pod_cidr_query="get ippools.crd.projectcalico.org -o jsonpath='{.items[*].spec.cidr}'",
        pod_cidr_pattern=r"([\d.]+/\d+)",
        announced_mac=lambda annotations: annotations.get("projectcalico.org/VXLANTunnelMACAddr"),
        tunnel_address=_tunnel_address,
        blocks="blockaffinities.crd.projectcalico.org",
    ),
    artifacts=Artifacts(
        links=(POD_LINK, VXLAN_DEVICE),
        directories=DIRECTORIES,
        evidence=EVIDENCE,
        plugins=PLUGINS,
        chains=CHAINS,
        comments=COMMENTS,
        sets=SETS,
    ),
    conflist="10-calico.conflist",
    more_files=("calico-kubeconfig",),
    effects={
        "cni_manifest": network.applied("its objects are applied"),
        "cni_manifest_sha256": network.nothing("a manifest is held against it before it is used"),
        "cni_image_repository": network.IN_PODS,
        "cni_interface": network.IN_PODS,
        "cni_mtu": network.refused(),
        "cni_backend": network.refused(),
        "cni_cross_subnet": network.refused(),
        "cni_block_size": network.refused(),
        "cni_nat_outgoing": network.refused(),
        # Felix makes its link anew where one of the two differs.
        "vxlan_vni": network.IN_PODS,
        "vxlan_port": network.IN_PODS,
        "network_policy": network.nothing("calico always enforces them, and False is refused with the settings"),
    },
    manifest=CalicoManifest(
        project="calico",
        config_map="calico-config",
        daemon_set="calico-node",
        cni_config="cni_network_config",
        brings=BRINGS,
        pinned=pinned(
            "calico",
            {
                "v3.24.6": "1e8825b3bc56bd1b2a7565783630a97a09a4fd9f92767d013e4201cf8f88812c",
                "v3.32.1": "a1df919d9721cf667accdc3e72848911b0cb25cfab7d2478ad0c996302c95744",
            },
        ),
    ),
    bridge=False,
    # Calico looks for the hosts' MTU at interfaces of usual names alone (felix, MTUIfacePattern).
    finds_mtu=False,
    enforces=True,
    always_enforces=True,
    policy_resources=POLICY_RESOURCES,
    known=(HAIRPIN,),
)
