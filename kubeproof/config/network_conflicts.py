"""What is wrong between settings of the pod network that are right by themselves. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Network

from kubeproof.config.reading import problem
from kubeproof.networks import registry
from kubeproof.networks.flannel import DEFAULT_PORT, DEFAULT_VNI
from kubeproof.networks.network import NODE_ADDRESS, NOT_USED, Network
from kubeproof.networks.registry import NETWORKS

LONGEST_LINK = 15
"""Characters that the name of a link can have (linux/if.h, IFNAMSIZ)."""
DEFAULTS = {
    "cni_manifest": "",
    "cni_manifest_sha256": "",
    "cni_mtu": None,
    "cni_interface": NODE_ADDRESS,
    "cni_cross_subnet": False,
    "cni_block_size": 26,
    "cni_nat_outgoing": True,
}
"""Of settings that some networks do not use."""


def conflicts(values: Mapping[str, object]) -> Iterator[str]:
    """A line for each; ``values`` lacks the settings that are wrong by themselves."""
    network = NETWORKS.get(str(values.get("cni")))
    if network is None:
        return
    name = values.get("cni_backend")
    if name is not None and name not in [item.name for item in network.backends]:
        having = [other.name for other in NETWORKS.values() if any(name == item.name for item in other.backends)]
        advice = f"use {' or '.join(item.name for item in network.backends)}, or {_cni(having)}"
        yield problem("cni_backend", f"is not one of {network.name}", name, advice)
    yield from _vxlan(network, values)
    yield from _blocks(network, values)
    yield from _policy(network, values)
    yield from _unused(network, values)
    yield from _proxy_mode(network, values)
    match values:
        case {"cni_manifest": str() as manifest, "cni_manifest_sha256": str() as digest} if network.manifest:
            yield from _digest(manifest, digest)


def no_enforcement(cni: str, network_policy: bool | None) -> str | None:
    """Why policies would be accepted and have no effect, and what to do; None where they have one."""
    if not NETWORKS[cni].enforces:
        return problem(
            "cni",
            "enforces no NetworkPolicy, so policies would be accepted and have no effect",
            cni,
            f"a cluster with {_cni(_enforcing())} enforces them",
        )
    if network_policy is False:
        return (
            "network_policy: is False, so policies would be accepted and have no effect; set it to None and run "
            "./inv apply"
        )
    return None


def _cni(names: Iterable[str]) -> str:
    return f"cni = {' or '.join(map(repr, sorted(names)))}"


def _enforcing() -> list[str]:
    return [network.name for network in NETWORKS.values() if network.enforces]


def _vxlan(network: Network, values: Mapping[str, object]) -> Iterator[str]:
    backend = values.get("cni_backend", "vxlan")
    if backend != "vxlan":
        for name, default in {"vxlan_vni": DEFAULT_VNI, "vxlan_port": DEFAULT_PORT}.items():
            if values.get(name, default) != default:
                wrong = f"has no effect with cni_backend = {backend!r}, which has no VXLAN"
                yield problem(name, wrong, values[name], "remove it, or use cni_backend = 'vxlan'")
        return
    device = next((item.device for item in network.backends if item.name == backend), "")
    match values:
        case {"vxlan_vni": int() as vni} if len(device.format(vni=vni)) > LONGEST_LINK:
            largest = 10 ** (LONGEST_LINK - len(device.format(vni=""))) - 1
            wrong = f"makes the link's name {device.format(vni=vni)} longer than {LONGEST_LINK} characters"
            yield problem("vxlan_vni", wrong, vni, f"use 1 to {largest}")
    match values:
        case {"vxlan_port": int() as port, "node_port_range": str() as written}:
            first, _, last = written.partition("-")
            if int(first) <= port <= int(last):
                advice = f"choose one outside of {written} (node_port_range)"
                yield problem("vxlan_port", "is within the NodePort range", port, advice)


def _blocks(network: Network, values: Mapping[str, object]) -> Iterator[str]:
    if not network.agent.blocks:
        return
    match values:
        case {"cni_cross_subnet": True, "cni_backend": "none"}:
            wrong = "has no effect with cni_backend = 'none', which wraps no packet"
            yield problem("cni_cross_subnet", wrong, True, "set it to False, or use cni_backend = 'ipip' or 'vxlan'")
    match values:
        case {"cni_block_size": int() as bits, "pod_cidr": IPv4Network() as pods} if bits < pods.prefixlen:
            yield problem("cni_block_size", f"is larger than pod_cidr {pods}", bits, f"use {pods.prefixlen} to 32")


def _policy(network: Network, values: Mapping[str, object]) -> Iterator[str]:
    wanted = values.get("network_policy")
    if wanted is True and not network.enforces:
        wrong = f"cannot be had: {network.name} enforces no NetworkPolicy"
        yield problem("network_policy", wrong, wanted, f"use {_cni(_enforcing())}, or set it to False")
    if wanted is False and network.always_enforces:
        wrong = f"cannot be had: {network.name} always enforces NetworkPolicy"
        others = [other.name for other in NETWORKS.values() if not other.enforces]
        yield problem("network_policy", wrong, wanted, f"set it to None, or use {_cni(others)}")


def _unused(network: Network, values: Mapping[str, object]) -> Iterator[str]:
    for name, default in DEFAULTS.items():
        if network.effects.get(name, NOT_USED) == NOT_USED and values.get(name, default) != default:
            using = [other.name for other in NETWORKS.values() if other.effects.get(name, NOT_USED) != NOT_USED]
            advice = f"set it to {default!r}, or use {_cni(using)}"
            yield problem(name, f"has no effect with cni = {network.name!r}", values[name], advice)


def _proxy_mode(network: Network, values: Mapping[str, object]) -> Iterator[str]:
    """Where policies are looked for at hooks, or in an order, that packets to Services do not keep to."""
    mode, aspects = values.get("kube_proxy_mode"), network.backends[0].aspects
    if mode == "ipvs" and "podnet-policies" in aspects and values.get("network_policy") is not False:
        # IPVS sends on at INPUT what it takes (ip_vs_nat_xmit): FORWARD, where podnet judges, sees the answers only.
        wrong = f"would bring packets to pods past the policies of {network.name}"
        advice = "use iptables, set network_policy to False, or use another network"
        yield problem("kube_proxy_mode", wrong, mode, advice)
    if mode == "nftables" and "felix" in aspects:
        # Calico documentation, "Calico nftables data plane": both have to be in the same mode.
        wrong = f"needs {network.title} in its nftables mode, which is not set up here"
        yield problem("kube_proxy_mode", wrong, mode, "use iptables or ipvs, or another network")


def _digest(manifest: str, digest: str) -> Iterator[str]:
    if digest and not manifest:
        yield problem("cni_manifest_sha256", "is set without cni_manifest", digest, "name the manifest that it is of")
    if "://" in manifest and not digest and registry.by_url(manifest) is None:
        yield problem(
            "cni_manifest_sha256",
            f"is empty, and {manifest} is not a manifest that this project knows the sum of",
            "",
            "set it to the SHA-256 of the manifest that you have looked at",
        )
