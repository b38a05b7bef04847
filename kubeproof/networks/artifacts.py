"""What pod networks and kube-proxy leave on a host: how each is recognised, and what of it a reset takes away. Pure."""

from collections.abc import Callable
from fnmatch import fnmatchcase

from kubeproof.networks.network import Artifacts
from kubeproof.networks.registry import NETWORKS

CONFIGURATIONS = "/etc/cni/net.d"
"""Kubelet and container runtimes take the first file here by name (kubernetes#107127)."""
CONFIGURATION_ENDINGS = (".conf", ".conflist", ".json")


def _of_all(part: Callable[[Artifacts], tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(item for network in NETWORKS.values() for item in part(network.artifacts)))


IPVS_LINK = "kube-ipvs0"
"""kube-proxy's in its mode ipvs, with the addresses of Services."""
LINKS = (*_of_all(lambda network: network.links), IPVS_LINK)
"""Patterns of the shell. KERNELS_LINK is none of them: the kernel makes it with its module, nobody can delete it."""
DIRECTORIES = _of_all(lambda network: network.directories)
EVIDENCE = _of_all(lambda network: network.evidence)
PLUGINS = _of_all(lambda network: network.plugins)
CHAINS = _of_all(lambda network: network.chains)
COMMENTS = _of_all(lambda network: network.comments)
SETS = (*_of_all(lambda network: network.sets), "KUBE-*")
PROXY_TABLE = "kube-proxy"
"""kube-proxy's in its mode nftables, of the families ip and ip6."""
NFT_TABLES = (*_of_all(lambda network: network.nft_tables), PROXY_TABLE)
OWN_CONFIGURATIONS = tuple(name for item in NETWORKS.values() for name in (item.conflist, *item.more_files))
CONFIGURATION_FILES = tuple(
    f"{CONFIGURATIONS}/{name}"
    for network in NETWORKS.values()
    for name in (network.conflist, *network.more_files, f".{network.conflist}.tmp")
)
"""Configurations of all networks that the deploy may have made."""

OTHERS_LINKS = {
    **dict.fromkeys(("kube-bridge", "kube-dummy-if"), "kube-router"),
    **dict.fromkeys(("weave", "vethwe-*"), "Weave"),
    **dict.fromkeys(("cilium_*", "lxc_health"), "Cilium"),
    "antrea-*": "Antrea",
    **dict.fromkeys(("ovn-k8s-*", "ovn0"), "OVN-Kubernetes"),
    # Kubelet's own network plugin with dockershim, until 1.23 (pkg/kubelet/dockershim/network/kubenet).
    "cbr0": "kubenet",
    **dict.fromkeys(("flannel-v6.*", "flannel-wg*"), "flannel"),
    **dict.fromkeys(("vxlan-v6.calico", "wireguard.cali", "wg-v6.cali", "bpfin.cali"), "Calico"),
}
"""Links of networks that this project does not make, and whose they are: recognised, never removed."""
OTHERS_EVIDENCE = ("/var/lib/cni/networks/kubenet",)
OTHERS_CHAINS = ("WEAVE",)
SERVICE_LINKS = ("nodelocaldns",)
"""The link of a cache of names that a cluster may have, which has addresses of Services."""
KERNELS_LINK = "tunl0"
"""Of IP in IP, which Calico takes as it is."""
OTHERS_CONFIGURATIONS = ("05-cilium.conflist", "10-weave.conflist", "10-kuberouter.conflist")


def is_link(name: str) -> bool:
    """Whether a pod network, or a Service, has made a link of this name."""
    return any(fnmatchcase(name, pattern) for pattern in (*LINKS, *OTHERS_LINKS, *SERVICE_LINKS))


def titled(link: str) -> str:
    """A link for people, with the network that it is of, where this project does not make that."""
    owner = next((owner for pattern, owner in OTHERS_LINKS.items() if fnmatchcase(link, pattern)), "")
    return f"link {link}" + (f" of {owner}" if owner else "")


def is_own_link(name: str) -> bool:
    """Whether a deploy may have made a link of this name."""
    return any(fnmatchcase(name, pattern) for pattern in LINKS)
