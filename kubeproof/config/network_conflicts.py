"""What is wrong between settings of the pod network that are right by themselves. Pure."""

from collections.abc import Iterable, Iterator, Mapping

from kubeproof.config.reading import problem
from kubeproof.networks import catalogue
from kubeproof.networks.effects import NOT_USED
from kubeproof.networks.flannel import DEFAULT_PORT, DEFAULT_VNI
from kubeproof.networks.network import NODE_ADDRESS, Network
from kubeproof.networks.registry import NETWORKS

LONGEST_LINK = 15
"""Characters that the name of a link can have (linux/if.h, IFNAMSIZ)."""
DEFAULTS = {"cni_manifest": "", "cni_manifest_sha256": "", "cni_mtu": None, "cni_interface": NODE_ADDRESS}
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
    yield from _policy(network, values)
    yield from _unused(network, values)
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
        if network.effects.get(name) == NOT_USED and values.get(name, default) != default:
            using = [other.name for other in NETWORKS.values() if other.effects.get(name, NOT_USED) != NOT_USED]
            advice = f"set it to {default!r}, or use {_cni(using)}"
            yield problem(name, f"has no effect with cni = {network.name!r}", values[name], advice)


def _digest(manifest: str, digest: str) -> Iterator[str]:
    if digest and not manifest:
        yield problem("cni_manifest_sha256", "is set without cni_manifest", digest, "name the manifest that it is of")
    if "://" in manifest and not digest and catalogue.by_url(manifest) is None:
        yield problem(
            "cni_manifest_sha256",
            f"is empty, and {manifest} is not a manifest that this project knows the sum of",
            "",
            "set it to the SHA-256 of the manifest that you have looked at",
        )
