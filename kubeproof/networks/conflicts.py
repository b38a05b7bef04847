"""What is wrong between settings of the pod network that are right by themselves. Pure."""

from collections.abc import Iterator, Mapping

from kubeproof.config.reading import problem
from kubeproof.networks import catalogue
from kubeproof.networks.networks import DEFAULT_PORT, DEFAULT_VNI, NETWORKS, NODE_ADDRESS, Network

LARGEST_NAMED_VNI = 9_999_999
"""flannel.VNI is the name of a link, and such a name has at most 15 characters (linux/if.h, IFNAMSIZ)."""


def conflicts(values: Mapping[str, object]) -> Iterator[str]:
    """A line for each; ``values`` lacks the settings that are wrong by themselves."""
    network = NETWORKS.get(str(values.get("cni")))
    if network is None:
        return
    yield from _backend(network, values)
    yield from _vxlan(network, values)
    yield from _policy(network, values)
    yield from _manifest(network, values)


def _backend(network: Network, values: Mapping[str, object]) -> Iterator[str]:
    backend = values.get("cni_backend")
    if backend is not None and backend not in network.backends:
        advice = f"use {' or '.join(network.backends)}, or cni = 'flannel'"
        yield problem("cni_backend", f"is not one of {network.name}", backend, advice)


def _vxlan(network: Network, values: Mapping[str, object]) -> Iterator[str]:
    defaults = {"vxlan_vni": DEFAULT_VNI, "vxlan_port": DEFAULT_PORT}
    if values.get("cni_backend") == "host-gw":
        for name, default in defaults.items():
            if values.get(name, default) != default:
                advice = "remove it, or use cni_backend = 'vxlan'"
                yield problem(
                    name, "has no effect with cni_backend = 'host-gw', which has no VXLAN", values[name], advice
                )
        return
    match values:
        case {"vxlan_vni": int() as vni} if network.upstream and vni > LARGEST_NAMED_VNI:
            wrong = f"makes the link's name flannel.{vni} longer than 15 characters"
            yield problem("vxlan_vni", wrong, vni, f"use 1 to {LARGEST_NAMED_VNI}")
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
        yield problem("network_policy", wrong, wanted, "use cni = 'canal' or 'podnet', or set it to False")
    if wanted is False and network.always_enforces:
        wrong = f"cannot be had: {network.name} always enforces NetworkPolicy"
        yield problem("network_policy", wrong, wanted, "set it to None, or use cni = 'flannel'")


def _manifest(network: Network, values: Mapping[str, object]) -> Iterator[str]:
    unused: dict[str, object] = {
        "cni_manifest": "",
        "cni_manifest_sha256": "",
        "cni_image_repository": "",
        "cni_mtu": None,
    }
    if not network.upstream:
        unused["cni_interface"] = NODE_ADDRESS
        for name, default in unused.items():
            # The repository of images does no harm: the lab names its own for whatever network is chosen.
            if values.get(name, default) != default and name != "cni_image_repository":
                advice = f"set it to {default!r}, or use cni = 'flannel' or 'canal'"
                yield problem(name, f"has no effect with cni = {network.name!r}", values[name], advice)
        return
    match values:
        case {"cni_manifest": str() as manifest, "cni_manifest_sha256": str() as digest}:
            yield from _digest(manifest, digest)


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
